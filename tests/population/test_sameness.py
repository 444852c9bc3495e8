"""Members of one group are the same in everything but the values of their arrays."""

from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import etude as et
from etude.population.sameness import difference, same

DATA = et.ArrayData(jnp.ones((4, 3)), 2)


class Layer(eqx.Module):
    w: jax.Array
    power: int = eqx.field(static=True, default=1)
    activation: object = eqx.field(static=True, default=jnp.tanh)


def mean(model, batch, context):
    return jnp.mean(model.activation(batch @ model.w) ** model.power)


LEARNER = et.Learner(et.Gradient(mean), optax.sgd(0.1))


def trainer(init, vary):
    phase = et.Phase("fit", LEARNER, DATA, et.Steps(2))
    return et.Trainer(phases=phase, population=et.Population(init, vary=vary), progress=False)


def seeded(key):
    return int(jax.random.key_data(key)[-1])


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda n: {"power": n + 1}, r"got 2 at \.power, expected 1\. Let only"),
        (lambda n: {"activation": [jnp.tanh, jnp.sin][n]}, r"got .*sin.* at \.activation, exp"),
        (lambda n: {"activation": lambda x: x + n}, r"got .* at \.activation, expected "),
        (lambda n: {"activation": jax.jit(lambda x: x)}, r"functions and objects once, outside"),
    ],
    ids=["static", "function", "closure", "object"],
)
def test_a_static_part_that_depends_on_the_seed_is_refused(make, match):
    with pytest.raises(et.ModelError, match=r"for member 1 \(seed 1\) than for member 0.*" + match):
        trainer(lambda key: Layer(jnp.ones(3), **make(seeded(key))), {"seed": [0, 1]})


def test_a_function_that_init_makes_anew_is_the_same():
    def init(key):
        scale = 2.0
        return Layer(jax.random.normal(key, (3,)), activation=lambda x: x * scale)

    trainer(init, {"seed": [0, 1]})


def test_settings_that_are_equal_but_of_another_type_are_other_settings():
    def init(key, power):
        kinds = {int: jnp.tanh, bool: jnp.sin, float: jnp.cos}
        return Layer(jnp.ones(3), activation=kinds[type(power)])

    found = trainer(init, {"power": [1, True, 1, 1.0]}).fit()
    kinds = [one.activation for one in found.model]
    assert kinds == [jnp.tanh, jnp.sin, jnp.tanh, jnp.cos]


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (1, 1.0, False),
        ([1, (2, "a")], [1, (2, "a")], True),
        ({"a": 1}, {"a": True}, False),
        (float("nan"), float("nan"), True),
        (np.ones(2), np.ones(2), True),
        (np.ones(2), np.zeros(2), False),
        (partial(max, 1), partial(max, 1), True),
        (partial(max, 1), partial(max, 2), False),
        (object(), object(), False),
    ],
    ids=range(9),
)
def test_what_is_the_same(one, other, expected):
    assert same(one, other) is expected


def test_functions_that_close_over_themselves():
    def made(step):
        def down(n):
            return n if n < 0 else down(n - step)

        return down

    assert same(made(1), made(1))
    assert not same(made(1), made(2))


def test_where_two_models_differ():
    model = {"a": [jnp.ones(2), 3], "b": None}
    assert difference(model, {"a": [jnp.zeros(2), 3], "b": None}) is None
    assert difference(model, {"a": [jnp.ones(3), 3], "b": None}) == (
        "['a'][0]",
        "float32[2]",
        "float32[3]",
    )
    assert difference(model, {"a": [jnp.ones(2), 3.0], "b": None})[0] == "['a'][1]"
    assert difference(model, {"a": (jnp.ones(2), 3), "b": None}) == ("['a']", "list", "tuple")
    assert difference(model, {"a": [jnp.ones(2), 3], "b": 1}) == ("['b']", "NoneType", "int")
    assert difference(model, {"a": [jnp.ones(2), 3]}) == ("['b']", "NoneType", "nothing")


def test_random_keys_are_compared_by_their_values():
    """As those that a function of `init` closes over."""
    one, other = jax.random.key(0), jax.random.key(1)
    assert same(one, jax.random.key(0))
    assert not same(one, other)
    assert not same(one, jax.random.key_data(one))

    def init(key):
        return Layer(jnp.ones(3), activation=lambda x: x + jax.random.normal(key))

    with pytest.raises(et.ModelError, match=r"got .* at \.activation, expected "):
        trainer(init, {"seed": [0, 1]})


def test_a_resume_knows_functions_by_their_names(tmp_path):
    def init(key, activation):
        return Layer(jnp.ones(3), activation=activation)

    def made(*activations):
        vary = {"activation": activations}
        phase = et.Phase("fit", LEARNER, DATA, et.Steps(1))
        population = et.Population(init, vary=vary)
        return et.Trainer(phases=phase, population=population, run=tmp_path / "run", progress=False)

    made(jnp.tanh, jnp.sin).fit()
    made(jnp.tanh, jnp.sin).resume()
    with pytest.raises(et.ResumeError, match=r"population\.0\.activation: got 'sin', expected 'ta"):
        made(jnp.sin, jnp.tanh).resume()
