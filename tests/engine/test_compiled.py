"""Programs are compiled once for what lowers to the same text, and no program is ever stale."""

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


def loss(model, batch, context):
    value = jnp.mean((batch @ model["w"] - 1.0) ** 2)
    return value * (1 + context.progress).astype(value.dtype)


def learner_of(rule=loss, **options):
    return et.Learner(et.Gradient(rule), optax.sgd(0.1), **options)


def phase(learner, data, name="fit", length=5, **options):
    return et.Phase(name, learner, data, et.Steps(length), **options)


def fit(phases, model=None, **options):
    model = {"w": jnp.zeros(3)} if model is None else model
    return et.Trainer(model, phases, progress=False, **options).fit()


def programs(learner):
    return len(learner.compiled._kept)


def test_equal_phases_trainings_and_seeds_compile_nothing():
    learner, data = learner_of(), et.ArrayData(X, 4)
    fit([phase(learner, data, "a"), phase(learner, data, "b")])
    once = programs(learner)
    fit([phase(learner, data, f"p{i}", 3 + i) for i in range(4)])
    fit(phase(learner, et.ArrayData(X + 1, 4)), seed=7)
    assert programs(learner) == once


@pytest.mark.parametrize("executor", ["loop", "dispatch", "hosted"])
def test_validations_and_dispatched_steps_are_kept_as_well(executor):
    data = [{"x": row} for row in np.asarray(X)]
    source = et.AccessData(data, 5) if executor == "hosted" else et.ArrayData({"x": X}, 5)
    learner = learner_of(lambda model, batch, context: loss(model, batch["x"], context))

    def train(factor):
        def measure(model, batch, context):
            return {"loss": factor * loss(model, batch["x"], context)}

        validation = et.Validation(et.ArrayData({"x": X}, 5), measure, every=et.Steps(2))
        chosen = None if executor == "hosted" else executor
        one = et.Phase("fit", learner, source, et.Steps(4), validation)
        return fit(one, executor=chosen).metrics["valid/loss"]

    first = train(1.0)
    once = programs(learner)
    assert train(1.0) == first
    assert programs(learner) == once
    # Batches of three samples are measured by the new measure, too.
    assert train(3.0) == pytest.approx(3 * first)


def test_phases_of_other_lengths_give_what_they_give_alone():
    """The length is an argument of the program: `progress` is of the phase and not of the first."""
    learner, data = learner_of(), et.ArrayData(X, 4)
    apart = [fit(phase(learner_of(), data, "a", length)).model["w"] for length in (3, 11)]
    for length, expected in zip((3, 11), apart, strict=True):
        assert np.array_equal(fit(phase(learner, data, "a", length)).model["w"], expected)


def test_what_a_step_depends_on_is_told_apart():
    """Each of these changes the result, and would be wrong with the program before it."""
    learner, data = learner_of(), et.ArrayData(X, 4)

    def result(data=data, learner=learner, **options):
        return np.asarray(fit(phase(learner, data, **options)).model["w"]).tolist()

    base = result()
    assert result(augment=lambda batch, key: batch / 2) != base
    assert result(data=et.ArrayData(X, 3)) != base
    assert result(data=et.ArrayData(2 * X, 4)) != base
    with jax.enable_x64(True):
        double = et.ArrayData(np.asarray(X, np.float64), 4)
        assert fit(phase(learner, double), {"w": jnp.zeros(3)}).model["w"].dtype == jnp.float64
    assert result() == base


def test_what_a_loss_reads_may_change_between_trainings():
    factor = {"now": 1.0}

    def scaled(model, batch, context):
        return factor["now"] * loss(model, batch, context)

    learner, data = learner_of(scaled), et.ArrayData(X, 4)
    first = fit(phase(learner, data)).model["w"]
    factor["now"] = 0.5
    assert not np.array_equal(fit(phase(learner, data)).model["w"], first)


def test_what_losses_and_measures_read_may_change_between_fits_of_one_trainer():
    factor = {"now": 1.0}

    def scaled(model, batch, context):
        return factor["now"] * loss(model, batch, context)

    data = et.ArrayData(X, 4)
    validation = et.Validation(data, lambda m, b, c: {"factor": factor["now"] + 0 * b.mean()})
    twice = [phase(learner_of(scaled), data, name, validation=validation) for name in "ab"]
    trainer = et.Trainer({"w": jnp.zeros(3)}, twice, progress=False)
    first = trainer.fit()
    factor["now"] = 0.5
    second = trainer.fit()
    assert (first.metrics["valid/factor"], second.metrics["valid/factor"]) == (1.0, 0.5)
    expected = fit([phase(learner_of(scaled), data, name) for name in "ab"]).model["w"]
    assert np.array_equal(second.model["w"], expected)


def test_phases_that_share_all_their_parts_are_traced_once():
    traced = []

    def counted(model, batch, context):
        traced.append(1)
        return loss(model, batch, context)

    learner, data = learner_of(counted), et.ArrayData(X, 4)
    fit([phase(learner, data, f"p{i}", 3 + i) for i in range(2)])
    once = len(traced)
    traced.clear()
    fit([phase(learner, data, f"p{i}", 3 + i) for i in range(6)])
    assert len(traced) == once


@pytest.mark.parametrize("part", ["augment", "hyper", "data", "learner"])
def test_phases_that_differ_in_one_part_are_told_apart(part):
    def scaled(model, batch, context):
        factor = context.hyper["factor"] if context.hyper else 1.0
        return factor * loss(model, batch, context)

    def phases(learners):
        data, other = et.ArrayData(X, 4), et.ArrayData(X / 2, 4)
        first = phase(learners[0], data, "a")
        changed = {
            "augment": phase(learners[1], data, "b", augment=lambda batch, key: batch / 2),
            "hyper": phase(learners[1], data, "b", hyper={"factor": 0.5}),
            "data": phase(learners[1], other, "b"),
            "learner": phase(learner_of(scaled, clip_norm=1e-3), data, "b"),
        }
        return [first, changed[part]]

    one = learner_of(scaled)
    together = fit(phases([one, one])).model["w"]
    assert np.array_equal(together, fit(phases([learner_of(scaled) for _ in "ab"])).model["w"])
    alike = fit([phase(one, et.ArrayData(X, 4), name) for name in "ab"]).model["w"]
    assert not np.array_equal(together, alike)


def test_functions_of_the_host_are_told_apart():
    """The text of a program does not say which function of Python it calls."""

    def times(factor):
        shape = jax.ShapeDtypeStruct((4, 3), jnp.float32)
        return lambda batch, key: jax.pure_callback(lambda x: np.asarray(x) * factor, shape, batch)

    def reporting(model, batch, context):
        return loss(model, batch, context), {"mean": jnp.abs(batch).mean()}

    learner, data = learner_of(reporting), et.ArrayData(X, 4, shuffle=False)
    factors = (np.float32(1), np.float32(100))
    phases = [phase(learner, data, f"p{i}", 1, augment=times(f)) for i, f in enumerate(factors)]
    small, large = fit(phases).history["train/mean"].value
    assert large == pytest.approx(100 * small, rel=1e-6)


def test_other_metrics_than_when_the_trainer_was_made_are_refused():
    names = {"now": ["a"]}

    def reporting(model, batch, context):
        return loss(model, batch, context), dict.fromkeys(names["now"], 1.0)

    trainer = et.Trainer(
        {"w": jnp.zeros(3)}, phase(learner_of(reporting), et.ArrayData(X, 4)), progress=False
    )
    for other in ([], ["b"], ["a", "b"]):
        names["now"] = other
        with pytest.raises(et.RuleError, match="than when its trainer was made"):
            trainer.fit()


def test_where_may_select_another_part_between_trainings():
    part = {"now": "a"}
    learner = et.Learner(
        et.Gradient(lambda m, b, c: jnp.mean((b @ (m["a"] + m["b"]) - 1.0) ** 2)),
        optax.adam(0.1),
        where=lambda m: m[part["now"]],
    )
    data = et.ArrayData(X, 4)
    moved = []
    for name in ("a", "b"):
        part["now"] = name
        found = fit(phase(learner, data), {"a": jnp.zeros(3), "b": jnp.zeros(3)}).model
        moved.append([key for key in found if np.any(np.asarray(found[key]))])
    assert moved == [["a"], ["b"]]


class Scaled(eqx.Module):
    w: jax.Array
    leaf: object = 1.0
    static: object = eqx.field(static=True, default=1.0)

    def factor(self):
        """Tells apart what is equal to Python: True and 1, 3 and 3.0, 0.0 and -0.0."""
        kind = {bool: 2.0, int: 3.0, float: 5.0}
        factors = [kind[type(one)] + (np.signbit(one) * 7.0) for one in (self.leaf, self.static)]
        return factors[0] * factors[1]


@pytest.mark.parametrize("field", ["leaf", "static"])
@pytest.mark.parametrize("pair", [(True, 1), (3, 3.0), (0.0, -0.0)], ids=["true", "three", "zero"])
def test_constants_that_are_equal_to_python_are_told_apart(field, pair):
    def scaled(model, batch, context):
        return jnp.mean((batch @ model.w * model.factor() - 1.0) ** 2) / 400

    def trained(learner, value):
        return fit(phase(learner, et.ArrayData(X, 4)), Scaled(jnp.zeros(3), **{field: value})).model

    learner = learner_of(scaled)
    measure = et.Evaluation(lambda m, b, c: {"factor": jnp.float32(m.factor())})
    for value in pair:
        expected = trained(learner_of(scaled), value)
        found = trained(learner, value)
        assert np.array_equal(found.w, expected.w)
        assert type(getattr(found, field)) is type(value)
        assert measure(expected, et.ArrayData(X, 4))["factor"] == float(expected.factor())


def test_an_object_in_a_model_may_be_changed():
    class Setting:
        scale = 1.0

    setting = Setting()

    def scaled(model, batch, context):
        return jnp.mean((batch @ model.w * model.static.scale - 1.0) ** 2)

    learner, model = learner_of(scaled), Scaled(jnp.zeros(3), static=setting)
    measure = et.Evaluation(lambda m, b, c: {"scale": jnp.float32(m.static.scale)})
    data = et.ArrayData(X, 4)
    first = fit(phase(learner, data), model).model.w, measure(model, data)
    setting.scale = 3.0
    again = fit(phase(learner, data), model).model.w, measure(model, data)
    assert not np.array_equal(first[0], again[0])
    assert (first[1], again[1]) == ({"scale": 1.0}, {"scale": 3.0})


def test_a_skipped_step_is_not_the_program_that_stops():
    def failing(model, batch, context):
        return jnp.where(context.step == 2, jnp.nan, jnp.mean((batch @ model["w"]) ** 2))

    learner, data = learner_of(failing), et.ArrayData(X, 4)
    with pytest.raises(et.NonFiniteError):
        fit(phase(learner, data))
    assert fit(phase(learner, data), nonfinite="skip").reason.name == "LENGTH"


def test_no_data_are_kept():
    """A learner that is trained on fresh data again and again holds none of them."""
    learner = learner_of()
    for number in range(3):
        fit(phase(learner, et.ArrayData(X + number, 4)))
    held = sum(leaf.shape == X.shape for leaf in jax.live_arrays())
    fit(phase(learner, et.ArrayData(X + 9, 4)))
    assert sum(leaf.shape == X.shape for leaf in jax.live_arrays()) <= held + 1


def test_few_are_kept_and_copies_are_empty():
    kept = Compiled()
    found = [kept.program(lambda x, n=n: x + n, jnp.ones(2)) for n in range(LIMIT + 2)]
    assert kept.program(lambda x: x + (LIMIT + 1), jnp.ones(2)) is found[-1]
    assert kept.program(lambda x: x + 0, jnp.ones(2)) is not found[0]
    for twin in (copy.deepcopy(kept), pickle.loads(pickle.dumps(kept))):
        assert not twin._kept


def test_places_are_told_apart():
    kept = Compiled()
    device = jax.devices()[0]
    assert kept.program(jnp.sin, jnp.ones(2)) is not kept.program(
        jnp.sin, jax.device_put(jnp.ones(2), device)
    )
