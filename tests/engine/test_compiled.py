"""Equal phases compile nothing; whatever changes what a step computes compiles anew."""

import copy
import pickle

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import etude as et
from etude.engine.compiled import LIMIT, Compiled

X = jnp.asarray(np.random.default_rng(0).normal(size=(12, 3)).astype("f4"))


class Traced:
    """A loss that counts how often it is traced."""

    def __init__(self):
        self.count = 0

    def __call__(self, model, batch, context):
        self.count += 1
        value = jnp.mean((batch @ model["w"] - 1.0) ** 2)
        return value * (1 + context.progress).astype(value.dtype)


def phase(learner, data, name="fit", length=5, **options):
    return et.Phase(name, learner, data, et.Steps(length), **options)


def fit(phases, model=None, **options):
    model = {"w": jnp.zeros(3)} if model is None else model
    return et.Trainer(model, phases, progress=False, **options).fit()


@pytest.fixture
def shared():
    loss = Traced()
    return loss, et.Learner(et.Gradient(loss), optax.sgd(0.1)), et.ArrayData(X, 4)


@pytest.mark.parametrize("executor", ["loop", "dispatch"])
def test_many_phases_of_one_learner_are_traced_as_one(shared, executor):
    loss, learner, data = shared
    fit(phase(learner, data), executor=executor)
    once = loss.count
    fit([phase(learner, data, f"p{i}", 3 + i) for i in range(5)], executor=executor)
    fit(phase(learner, data), executor=executor, seed=7)
    assert loss.count == once


def test_hosted_data_are_traced_once_as_well():
    loss = Traced()
    learner = et.Learner(et.Gradient(loss), optax.sgd(0.1))
    data = et.AccessData(list(np.asarray(X)), 4)
    fit(phase(learner, data))
    once = loss.count
    fit(phase(learner, data, "again", 9), seed=3)
    assert loss.count == once


@pytest.mark.parametrize("executor", ["loop", "dispatch"])
def test_phases_of_other_lengths_give_what_they_give_alone(shared, executor):
    """The length is an argument of the program: `progress` is of the phase and not of the first."""
    _, learner, data = shared
    apart = []
    for length in (3, 11):
        alone = et.Learner(et.Gradient(Traced()), optax.sgd(0.1))
        apart.append(fit(phase(alone, data, "a", length), executor=executor).model["w"])
    for length, expected in zip((3, 11), apart, strict=True):
        found = fit(phase(learner, data, "a", length), executor=executor).model["w"]
        assert np.array_equal(found, expected)


def test_what_a_step_depends_on_is_told_apart(shared):
    """Each of these changes the result, and would be wrong with the program before it."""
    loss, learner, data = shared

    def result(**changes):
        found = fit(phase(changes.pop("learner", learner), changes.pop("data", data),
                          **changes.pop("options", {})), **changes)  # fmt: skip
        return np.asarray(found.model["w"]).tolist()

    def halved(batch, key):
        return batch / 2

    base = result()
    assert result(options={"augment": halved}) != base
    assert result(data=et.ArrayData(X, 3)) != base
    assert result(data=et.ArrayData(2 * X, 4)) != base
    assert result(learner=et.Learner(et.Gradient(loss), optax.sgd(0.2))) != base
    with jax.enable_x64(True):
        twice = et.ArrayData(np.asarray(X, np.float64), 4)
        wide = fit(phase(learner, twice), {"w": jnp.zeros(3)}).model["w"]
        assert wide.dtype == jnp.float64
    assert result() == base


def test_constants_of_a_model_are_told_apart():
    class Scaled(eqx.Module):
        w: jax.Array
        scale: float
        name: str = eqx.field(static=True, default="a")

    def loss(model, batch, context):
        return jnp.mean((batch @ model.w * model.scale - 1.0) ** 2)

    learner, data = et.Learner(et.Gradient(loss), optax.sgd(0.1)), et.ArrayData(X, 4)
    found = [fit(phase(learner, data), Scaled(jnp.zeros(3), scale)).model.w for scale in (1.0, 2.0)]
    assert not np.array_equal(*found)
    assert np.array_equal(found[0], fit(phase(learner, data), Scaled(jnp.zeros(3), 1.0)).model.w)


def test_a_skipped_step_is_not_the_program_that_stops():
    def loss(model, batch, context):
        return jnp.where(context.step == 2, jnp.nan, jnp.mean((batch @ model["w"]) ** 2))

    learner, data = et.Learner(et.Gradient(loss), optax.sgd(0.1)), et.ArrayData(X, 4)
    with pytest.raises(et.NonFiniteError):
        fit(phase(learner, data))
    assert fit(phase(learner, data), nonfinite="skip").reason.name == "LENGTH"


def test_few_are_kept_and_copies_are_empty():
    kept = Compiled()
    for number in range(2 * LIMIT):
        kept.get(number, lambda: "made")
    assert kept.get(2 * LIMIT - 1, lambda: "made again") == "made"
    assert kept.get(0, lambda: "made again") == "made again"
    for twin in (copy.deepcopy(kept), pickle.loads(pickle.dumps(kept))):
        assert twin.get(0, lambda: "its own") == "its own"


def test_what_cannot_be_compared_is_made_each_time():
    kept = Compiled()
    assert kept.get(("loop", []), lambda: 1) == 1
    assert kept.get(("loop", []), lambda: 2) == 2


def test_validations_of_equal_phases_are_traced_once():
    counts = {"loss": 0, "measure": 0}

    def loss(model, batch, context):
        counts["loss"] += 1
        return jnp.mean((batch @ model["w"] - 1.0) ** 2)

    def measure(model, batch, context):
        counts["measure"] += 1
        return {"size": jnp.sum(model["w"])}

    held = et.ArrayData(X, 6, shuffle=False)
    learner, data = et.Learner(et.Gradient(loss), optax.sgd(0.1)), et.ArrayData(X, 4)
    validations = [et.Validation(held), et.Validation(held, measure, name="sum")]

    def trained(name, seed=0):
        return fit(phase(learner, data, name, validation=validations), seed=seed).metrics

    first, once = trained("a"), dict(counts)
    assert trained("a") == first
    assert trained("b", seed=3) != first
    assert counts == once
    assert fit(phase(learner, data, validation=et.Validation(held, lambda m, b, c: {"one": 1.0}))
               ).metrics == {"valid/one": 1.0}  # fmt: skip
