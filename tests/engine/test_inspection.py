"""What is no model is refused before training, with the leaf named."""

import dataclasses
import re

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import etude as et
from etude.engine.inspection import inspect

W = jnp.ones(2)


@dataclasses.dataclass
class Unregistered:
    weight: object
    name: str = "x"


@jax.tree_util.register_pytree_node_class
class Insisting:
    def __init__(self, a):
        if a.shape != (2,):
            raise ValueError("two numbers, please")
        self.a = a

    def tree_flatten(self):
        return (self.a,), None

    @classmethod
    def tree_unflatten(cls, aux, children):
        return cls(*children)


class Cyclic(nnx.Module):
    def __init__(self):
        self.linear = nnx.Linear(2, 2, rngs=nnx.Rngs(0))
        self.child = Child(self)


class Child(nnx.Module):
    def __init__(self, parent):
        self.parent = nnx.data(parent)


BIG = 2**40 + 7


@pytest.mark.parametrize(
    ("leaf", "match"),
    [
        (np.array(["a"]), "Leaf ['z'] is an array of <U1 values, not of numbers"),
        (np.array([None]), "Leaf ['z'] is an array of object values"),
        (np.array([1.0], ">f4"), "Leaf ['z'] is of type '>f4'"),
        (np.array([BIG, 1]), f"Leaf ['z'] holds integers from 1 to {BIG}, which do not fit int32"),
        (np.int64(-BIG), f"Leaf ['z'] holds integers from -{BIG}"),
        (np.uint32([2**31]).astype(np.uint64) * 4, "which do not fit uint32"),
        (et.Fixed(np.array(["a"])), "Leaf ['z'].value is an array of <U1"),
        (Unregistered(W), "['z'] is a Unregistered, a dataclass that JAX does not know"),
        (Unregistered({"deep": [W]}), "its arrays (weight) would never be trained"),
        (Insisting(W), "cannot be rebuilt with anything but arrays in it (AttributeError"),
        (W, "shares one array between ['w'] and ['z']"),
        ([[W]], "shares one array between ['w'] and ['z'][0][0]"),
        (Cyclic, "The model holds itself: ['z'].child.parent is ['z']"),
    ],
)
def test_what_is_no_model_is_refused_with_its_leaf(leaf, match):
    leaf = leaf() if leaf is Cyclic else leaf
    learner = et.Learner(et.Gradient(lambda m, b, c: m["w"].sum()), optax.sgd(0.1))
    phase = et.Phase("fit", learner, et.ArrayData(np.ones(4), 2), et.Steps(1))
    with pytest.raises(et.ConfigurationError, match=re.escape(match)):
        et.Trainer({"w": W, "z": leaf}, phase, progress=False)


def test_a_list_that_holds_itself():
    model = [W]
    model.append(model)
    with pytest.raises(et.ModelError, match=r"holds itself: \[1\] is the model itself"):
        inspect(model)


def test_what_is_a_model_passes():
    shared = jnp.zeros(2)
    net = eqx.nn.MLP(2, 2, 2, 1, key=jax.random.key(0))
    inspect(
        {
            "w": W,
            "constant": Unregistered("no array"),
            "fixed": et.Fixed(Unregistered(W)),
            "carried": et.Carry(W),
            "ids": (shared.astype(int), np.array([7], np.int64)),
            "online": net,
            "target": et.Carry(net),
            "function": jax.nn.relu,
            "key": jax.random.key(0),
            "nothing": (None, None, (), ()),
            "half": np.ones(2, jnp.bfloat16),
            "double": np.ones(2),
        }
    )
    inspect(eqx.nn.make_with_state(eqx.nn.BatchNorm)(2, "batch", mode="batch"))
    inspect(nnx.Linear(2, 2, rngs=nnx.Rngs(0)))


def test_tied_weights_by_equinox_stay_tied():
    """The cure that the refusal names."""

    class Auto(eqx.Module):
        pair: eqx.nn.Shared

        def __init__(self):
            a, b = (eqx.nn.Linear(3, 3, use_bias=False, key=jax.random.key(i)) for i in range(2))
            self.pair = eqx.nn.Shared((a, b), lambda p: p[1].weight, lambda p: p[0].weight)

        def __call__(self, x):
            a, b = self.pair()
            return b(jax.nn.tanh(a(x)))

    def loss(model, x, context):
        return jnp.mean((jax.vmap(model)(x) - x) ** 2)

    x = np.random.default_rng(0).normal(size=(8, 3))
    learner = et.Learner(et.Gradient(loss), optax.sgd(0.5))
    phase = et.Phase("fit", learner, et.ArrayData(x, 8), et.Steps(3))
    trained = et.Trainer(Auto(), phase, progress=False).fit().model
    a, b = trained.pair()
    assert (a.weight == b.weight).all()
    assert (a.weight != Auto().pair()[0].weight).any()
    assert len([x for x in jax.tree.leaves(trained) if eqx.is_array(x)]) == 1


def test_numbers_in_carry_become_arrays_that_fit():
    carried = et.Carry({"a": 1, "b": 0.5, "c": True, "d": "text", "e": np.ones(2)})
    assert {k: getattr(v, "dtype", None) for k, v in carried.value.items()} == {
        "a": jnp.int32, "b": jnp.float32, "c": jnp.bool_, "d": None, "e": np.float64,
    }  # fmt: skip
    assert not carried.value["b"].weak_type
    with pytest.raises(et.ModelError, match=f"{BIG}.* does not fit int32"):
        et.Carry(BIG)
