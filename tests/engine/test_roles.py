"""What each leaf is, whatever library made the model, against a table written by hand."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import etude as et
from etude.engine.leaf_roles import Role, inference, names, roles, selected
from etude.engine.part import Part

PARAMETER, STATISTIC, CARRIED, FIXED = Role


def table(model):
    return dict(zip(names(model), roles(model), strict=True))


def test_plain_leaves():
    model = {
        "complex": jnp.ones(1, complex),
        "count": jnp.int32(0),
        "flag": jnp.array(True),
        "half": jnp.ones(1, jnp.bfloat16),
        "host": np.ones(1, np.float64),
        "key": jax.random.key(0),
        "name": "text",
        "number": 1.5,
        "scalar": np.float32(2),
    }
    assert table(model) == {
        "['complex']": PARAMETER, "['count']": CARRIED, "['flag']": CARRIED, "['half']": PARAMETER,
        "['host']": PARAMETER, "['key']": CARRIED, "['name']": FIXED, "['number']": FIXED,
        "['scalar']": PARAMETER,
    }  # fmt: skip


def test_the_outermost_box_decides():
    inner = {"a": et.Fixed(jnp.ones(1)), "b": et.Carry(jnp.ones(1)), "c": jnp.ones(1)}
    assert set(roles(et.Carry(inner))) == {CARRIED}
    assert set(roles(et.Fixed(inner))) == {FIXED}
    assert roles(inner) == [FIXED, CARRIED, PARAMETER]


def test_an_equinox_state_is_carried():
    norm, state = eqx.nn.make_with_state(eqx.nn.BatchNorm)(3, "batch", mode="ema")
    assert set(roles(state)) == {CARRIED}
    assert [r for r, leaf in zip(roles(norm), jax.tree.leaves(norm), strict=True)
            if isinstance(leaf, jax.Array)] == [PARAMETER, PARAMETER]  # fmt: skip


def test_flax_variables_go_by_their_kind():
    nnx = pytest.importorskip("flax.nnx")
    model = {
        "norm": nnx.BatchNorm(2, rngs=nnx.Rngs(0)),
        "drop": nnx.Dropout(0.5, rngs=nnx.Rngs(1)),
        "cache": nnx.Cache(jnp.ones(2)),
    }
    found = table(model)
    kinds = {name: found[name] for name in found if any(
        part in name for part in ("scale", "bias", "mean", "var", "cache"))}  # fmt: skip
    by_kind = {role: sorted(name.split(".")[-1] for name, r in kinds.items() if r is role)
               for role in Role}  # fmt: skip
    assert len(by_kind[PARAMETER]) == 2
    assert len(by_kind[STATISTIC]) == 2
    assert len(by_kind[CARRIED]) == 1
    streams = [role for name, role in found.items() if "drop" in name and "key" in name]
    assert streams
    assert set(streams) == {CARRIED}


def test_who_may_move_what():
    """The rows of the page on leaf roles, for an owner with and without an optimizer."""
    model = {"a": jnp.ones(1), "b": jnp.ones(1), "c": et.Carry(1.0), "f": et.Fixed(jnp.ones(1))}

    def moved(**options):
        learner = et.Learner(lambda *_: et.Proposal(), where=lambda m: m["a"], **options)
        part = Part.of(learner, model)
        paths = names(model)
        flags = jax.tree.leaves(part.moved), jax.tree.leaves(part.trained)
        return [[path for path, flag in zip(paths, one, strict=True) if flag] for one in flags]

    assert moved(optimizer=optax.sgd(0.1)) == [["['c'].value"], ["['a']"]]
    assert moved() == [["['a']", "['c'].value"], ["['a']"]]


def test_where_selects_by_structure():
    model = {"x": 1, "y": (jnp.ones(1), jnp.ones(2))}
    assert selected(model, lambda m: m["y"]) == (1, 2)
    assert selected(model, None) == {"x": 0, "y": (1, 2)}
    for where, message in [
        (lambda m: m["z"], "fails: KeyError"),
        (lambda m: 3, "selects nothing"),
        (lambda m: jnp.ones(1), "selects nothing"),
    ]:
        with pytest.raises(et.ModelError, match=message):
            selected(model, where)


def test_inference_mode_leaves_the_model_alone():
    dropout = eqx.nn.Dropout(0.5)
    assert inference(dropout).inference
    assert not dropout.inference
