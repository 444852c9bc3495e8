"""Every setting that changes the bits is in the fingerprint, by name; what changes none is not."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import etude as et
from etude.augment import compose, gaussian_noise, on_inputs, sometimes
from etude.optim import OptimizerConfig, WarmingDecay
from etude.training.constants import constants
from etude.training.fingerprint import _flat, compare, described, fingerprint

MODEL = {"a": jnp.zeros(2), "b": jnp.zeros(())}
DATA = et.ArrayData(jnp.ones((12, 2)), 4)


def loss(model, batch, context):
    return jnp.mean((batch.astype(model["a"].dtype) @ model["a"] - model["b"]) ** 2)


def learner(**options):
    return et.Learner(et.Gradient(loss), options.pop("optimizer", optax.adam(0.1)), **options)


VALIDATION = et.Validation(DATA, every=et.Steps(4))
PHASE = et.Phase("fit", learner(), DATA, et.Steps(20), VALIDATION)


def of(phase=PHASE, **options):
    trainer = et.Trainer(MODEL, phase, progress=False, **options)
    return fingerprint(trainer.settings)


TRAINER = et.Trainer(MODEL, PHASE, progress=False)
BEFORE = fingerprint(TRAINER.settings)


def changed(**fields):
    """What differs between the phase and one with other fields."""
    return compare(BEFORE, of(dataclasses.replace(PHASE, **fields)))


LEARNERS = {
    "repeat": (learner(repeat=2), 1, 2),
    "accumulate": (learner(accumulate=2), 1, 2),
    "clip_norm": (learner(clip_norm=1.0), None, 1.0),
    "clip_value": (learner(clip_value=1.0), None, 1.0),
    "project": (learner(project=lambda part: part), None, "function"),
    "ema": (learner(ema=0.5), None, 0.5),
    "watch": (learner(watch="loss"), None, "loss"),
    "trains": (learner(where=lambda m: m["a"]), "['a'], ['b']", "['a']"),
    "optimizer.0.b1": (learner(optimizer=optax.adam(0.1, b1=0.8)), 0.9, 0.8),
    "optimizer.1.step_size": (learner(optimizer=optax.adam(0.2)), -0.1, -0.2),
}


@pytest.mark.parametrize("name", LEARNERS)
def test_settings_of_a_learner(name):
    other, before, after = LEARNERS[name]
    assert changed(learners=other) == {f"phases.fit.learner.{name}": (before, after)}


def test_the_decay_of_an_average_that_warms_up():
    found = changed(learners=learner(ema=WarmingDecay(0.5)))
    assert found["phases.fit.learner.ema.decay"] == ("(absent)", 0.5)


def test_the_precision_of_a_learner_and_what_it_casts():
    half = learner(precision="bfloat16", inputs=lambda batch: batch)
    assert changed(learners=half) == {
        "phases.fit.learner.precision": ("float32", "bfloat16"),
        "phases.fit.learner.inputs": (None, "function"),
    }


def test_settings_of_a_phase():
    assert changed(length=et.Epochs(7)) == {"phases.fit.length": (20, 21)}
    assert changed(length=et.Steps(20)) == {}
    assert changed(limit=et.Seconds(5)) == {"phases.fit.limit": (None, 5)}
    assert changed(keep=et.Best("valid/loss")).keys() >= {"phases.fit.keep.metric"}
    goal = et.AtMost("valid/loss", 0.5)
    assert changed(goal=goal)["phases.fit.goal.0.value"][1] == 0.5
    assert changed(goal=goal) == changed(goal=[goal])
    assert changed(augment=lambda batch, key: batch) == {
        "phases.fit.augment": (None, "function")
    }  # fmt: skip
    every = et.Validation(DATA, every=et.Steps(5))
    assert changed(validation=every) == {"phases.fit.validation.every": (4, 5)}
    rescue = et.Rescue(dataclasses.replace(PHASE, name="mend"), et.Fallen("valid/loss", 0.1))
    names = changed(rescue=rescue)
    assert names["phases.fit.rescue.when.tolerance"][1] == 0.1
    assert names["phases.mend.length"][1] == 20


def test_sizes_and_order_of_data():
    def data(source):
        return changed(data=source)

    ones = jnp.ones((12, 2))
    assert data(et.ArrayData(ones * 2, 4)) == {}  # contents are not compared
    assert data(et.ArrayData(ones, 4, shuffle=False)) == {
        "phases.fit.data.shuffle": ("jax.random.permutation", False)
    }
    assert data(et.ArrayData(ones, 4, shuffle="exact")) == {}  # few samples are drawn as they were
    many = jnp.ones((300, 2))
    sources = et.ArrayData(many, 4), et.ArrayData(many, 4, shuffle="exact")
    assert compare(*(of(dataclasses.replace(PHASE, data=source)) for source in sources)) == {
        "phases.fit.data.shuffle": ("feistel, 12 rounds", "jax.random.permutation")
    }
    assert data(et.ArrayData(jnp.ones((11, 2)), 4)) == {"phases.fit.data.samples": (12, 11)}
    assert data(et.ArrayData(ones, 6)).keys() == {
        "phases.fit.data.batch_size", "phases.fit.data.steps_per_epoch"
    }  # fmt: skip
    dropped = et.ArrayData(jnp.ones((11, 2)), 4, drop_last=True)
    assert data(dropped)["phases.fit.data.steps_per_epoch"] == (3, 2)
    rows = list(np.ones((12, 2), np.float32))
    hosted = data(et.AccessData(rows, 4))
    assert hosted["phases.fit.data.type"] == ("ArrayData", "AccessData")
    workers = dataclasses.replace(PHASE, data=et.AccessData(rows, 4, workers=2))
    assert compare(of(dataclasses.replace(PHASE, data=et.AccessData(rows, 4))), of(workers)) == {}


def test_combined_sources_say_theirs():
    def combined(size, weight):
        sources = {"x": et.ArrayData(jnp.ones((12, 2)), size), "y": DATA}
        return fingerprint_of_source(et.Turns(sources, {"x": weight, "y": 1}))

    assert compare(combined(4, 1), combined(4, 2))["pattern"] == ("x y", "x y x")
    assert combined(3, 1)["sources"]["x"]["batch_size"] == 3


def fingerprint_of_source(source):
    return dict(source.fingerprint())


def test_numerics_seed_policy_and_callbacks():
    with jax.enable_x64(True):
        assert compare(BEFORE, fingerprint(TRAINER.settings)) == {"enable_x64": (False, True)}
    with jax.default_prng_impl("rbg"):
        after = fingerprint(TRAINER.settings)
    assert compare(BEFORE, after) == {"default_prng_impl": ("threefry2x32", "rbg")}
    assert compare(BEFORE, of(seed=1)) == {"seed": (0, 1)}
    assert compare(BEFORE, of(nonfinite="skip")) == {"nonfinite": ("stop", "skip")}
    patient = of(callbacks=[et.EarlyStopping(patience=3)])
    eager = of(callbacks=[et.EarlyStopping(patience=2)])
    assert compare(patient, eager) == {"callbacks.EarlyStopping.patience": (3, 2)}
    both = [of(callbacks=[et.EarlyStopping(patience=n), et.EarlyStopping()]) for n in (2, 3)]
    assert compare(*both) == {"callbacks.EarlyStopping.patience": (2, 3)}
    both = [of(callbacks=[et.EarlyStopping(), et.EarlyStopping(patience=n)]) for n in (2, 3)]
    assert compare(*both) == {"callbacks.EarlyStopping[1].patience": (2, 3)}
    watching = of(callbacks=[et.callbacks.Timing(), et.ModelCheckpoint(et.Steps(2))])
    assert compare(BEFORE, watching) == {}


def test_fields_that_are_functions_count_by_presence():
    @dataclasses.dataclass
    class Later:  # as a field that a learner may get one day
        project: object = None
        decay: float = 0.5

    assert described(Later()) == {"type": "Later", "project": None, "decay": 0.5}
    assert described(Later(lambda m: m))["project"] == "function"


def noisy(std):
    return on_inputs(partial(gaussian_noise, std=std))


MADE = {
    "partial": lambda x: partial(gaussian_noise, std=x),
    "in a maker": noisy,
    "composed": lambda x: compose(noisy(0.1), sometimes(noisy(0.1), x)),
    "argument": lambda x: partial(noisy, x),
}


@pytest.mark.parametrize("name", MADE)
def test_what_a_function_was_made_with_is_read(name):
    make = MADE[name]
    first, again, other = (_flat(described(make(x)), "augment") for x in (0.25, 0.25, 0.5))
    assert compare(first, again) == {}
    assert list(compare(first, other).values()) == [(0.25, 0.5)]


SCHEDULES = {
    "cosine": (optax.cosine_decay_schedule, {"init_value": 0.1, "decay_steps": 100, "alpha": 0.0}),
    "linear": (
        optax.linear_schedule, {"init_value": 0.1, "end_value": 0.0, "transition_steps": 10},
    ),
    "exponential": (
        optax.exponential_decay, {"init_value": 0.1, "transition_steps": 10, "decay_rate": 0.5},
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", SCHEDULES)
@pytest.mark.parametrize("injected", [False, True])
def test_each_constant_of_a_schedule_is_read(kind, injected):
    make, settings = SCHEDULES[kind]
    sgd = optax.inject_hyperparams(optax.sgd) if injected else optax.sgd

    def read(**changes):
        return constants(sgd(make(**{**settings, **changes})))

    assert compare(read(), read()) == {}
    for name, value in settings.items():
        (pair,) = compare(read(), read(**{name: value + 1})).values()
        assert pair == (value, value + 1)


OPTIMIZERS = {
    "adamw": lambda x: optax.adamw(0.1, weight_decay=x),
    "sgd": lambda x: optax.sgd(0.1, momentum=x),
    "chain": lambda x: optax.chain(optax.clip(x), optax.adam(0.1)),
    "masked": lambda x: optax.masked(optax.sgd(x), {"a": True, "b": False}),
    "injected": lambda x: optax.inject_hyperparams(optax.adam)(learning_rate=x),
    "array": lambda x: optax.inject_hyperparams(optax.adam)(learning_rate=jnp.float32(x)),
    "every": lambda x: optax.MultiSteps(optax.sgd(x), 3).gradient_transformation(),
    "named": lambda x: optax.partition({"p": optax.sgd(x)}, {"a": "p", "b": "p"}),
    "config": lambda x: OptimizerConfig(
        optimizer_type="adamw", learning_rate=0.1, weight_decay=x
    ).build(),
    "rate": lambda x: OptimizerConfig(optimizer_type="sgd", learning_rate=x).build(),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_constants_are_read_whatever_holds_them(name):
    make, first, second = OPTIMIZERS[name], 0.25, 0.5
    assert compare(constants(make(first)), constants(make(first))) == {}
    differences = compare(constants(make(first)), constants(make(second)))
    assert (first, second) in [(abs(old), abs(new)) for old, new in differences.values()]


def test_labels_of_a_partition_and_defaults_of_a_schedule_are_read():
    labels = [
        constants(optax.partition({"a": optax.sgd(0.1), "b": optax.adam(0.1)}, {"w": label}))
        for label in "ab"
    ]
    assert list(compare(*labels).values()) == [("a", "b")]
    rates = [constants(optax.sgd(lambda step, rate=rate: rate)) for rate in (0.1, 0.2)]
    assert list(compare(*rates).values()) == [(0.1, 0.2)]

    def beside(run):
        return lambda step: 0.1 if run else 0.2

    assert compare(*[constants(optax.sgd(beside(run))) for run in "ab"]) == {}


def test_parts_without_constants_are_told_apart():
    plain, centred = optax.sgd(0.1), optax.chain(optax.centralize(), optax.sgd(0.1))
    assert compare(constants(plain), constants(centred))


def test_what_cannot_be_read_is_left_out():
    state = {"self": None}
    state["self"] = state  # a cycle

    def init(params):
        return state and object

    def update(updates, state, params=None):
        return updates, state

    assert constants(optax.GradientTransformation(init, update)) == {}
