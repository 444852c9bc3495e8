"""What cannot be a population is refused by name, before anything is trained."""

import re
import threading

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import optax
import pytest
from crowd import DATA, LEARNER, RATES, X, init, loss, phase, trainer

import etude as et

RATE = {"rate": RATES}


@pytest.fixture
def unchecked():
    """Values as the code of users without annotations has them."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


def refused(match, *phases, error=et.ConfigurationError, **options):
    with pytest.raises(error, match=match):
        trainer(list(phases) or phase(), **{"vary": RATE, **options})


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"members": 0}, r"members is a whole number from 1; got 0"),
        ({"members": True}, r"members is a whole number from 1; got True"),
        ({"members": 2, "team": 0}, r"team is a whole number of members from 1; got 0"),
        ({}, r"say how many members there are"),
        ({"vary": {}}, r"say how many members there are"),
        ({"vary": {"rate": "ab"}}, r"vary\['rate'\] has one value for each member; got 'ab'"),
        ({"vary": {"rate": {0.1, 0.2}}}, r"vary\['rate'\] has one value for each member; got {0"),
        (
            {"init": lambda key, seed=0: 1, "vary": {"seed": [0, 1]}},
            r"not given to the argument 'seed' of init",
        ),
        ({"vary": {"rate": []}}, r"vary\['rate'\] is empty"),
        ({"vary": {"rate": [1.0], "seed": [1, 2]}}, r"got 1 of 'rate', 2 of 'seed', expected 1"),
        ({"members": 3, "vary": {"rate": [0.1, 0.2]}}, r"got 2 of 'rate', expected 3"),
        ({"vary": {"seed": [0, 1.5]}}, r"a seed is a whole number from 0, below .*; got 0.0"),
        ({"vary": {"seed": [-1]}}, r"a seed is a whole number from 0, below 2\*\*63; got -1"),
        ({"vary": {"seed": [0, 2**63]}}, r"below 2\*\*63; got 9223372036854775808"),
        (
            {"vary": {"rate": [0.1, float("nan")]}},
            r"vary\['rate'\] has nan for member 1. NaN",
        ),
        (
            {"vary": {"rate": [0.1, "b"]}},
            r"\['rate'\] has 'b' for member 1. What init",
        ),
        ({"vary": {"rate": [0.1, None]}}, r"\['rate'\] has None for member 1"),
        ({"vary": {"rate": [0.1, jnp.tanh]}}, r"\['rate'\] has .*tanh.* for member 1"),
        ({"vary": {"rate": np.ones((2, 2))}}, r"\['rate'\] has array\(\[1., 1.\]\) for member 0"),
        ({"vary": {"rate": [0.1, 1j]}}, r"has 1j for member 1. Its kind is complex, .* 0 is float"),
        ({"vary": {"rate": [1, True]}}, r"has True for member 1. Its kind is bool, .* 0 is int"),
        ({"vary": {"rate": [1, 2**40]}}, r"has 1099511627776 for member 1. It does not fit"),
        ({"vary": {"rate": [0.1, 10**400]}}, r"has 1000.* for member 1. It does not fit"),
        ({"vary": {"rate": [0.1, 1e300]}}, r"has 1e\+300 for member 1. It does not fit"),
        ({"vary": {"width": np.ones((2, 2))}}, r"\['width'\] has .* for member 0. A setting is a"),
        ({"init": lambda: 1, "members": 2}, r"called as init\(key\), which init\(\) does not take"),
        (
            {"init": lambda key, a, b: 1, "vary": {"b": [1]}},
            r"init\(key, b=...\), .* 'a'",
        ),
    ],
)
def test_what_is_no_population(options, match):
    with pytest.raises(et.ConfigurationError, match=match):
        et.Population(**{"init": init, **options})


def test_all_wrong_values_are_named_at_once():
    vary = {"rate": [0.1, None], "decay": ["a", 0.1]}
    with pytest.raises(et.ConfigurationError, match=r"'rate'\] has None .*'decay'\] has 'a'"):
        et.Population(init, vary=vary)


def test_values_that_are_numbers():
    found = et.Population(init, vary={"rate": [1, 2.5, np.float32(3), jnp.array(2**40, float)]})
    assert found.vary == {"rate": (1.0, 2.5, 3.0, float(2**40))}
    assert et.Population(init, vary={"a": [jnp.inf, -jnp.inf], "b": [1j, 2j], "c": [True, False]})


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("seed", [2.5, True, -1, "1", float("nan"), 2**63 - 1])
def test_a_seed_of_the_trainer_that_is_none_of_a_member(seed):
    population = et.Population(init, 2)
    with pytest.raises(et.ConfigurationError, match=r"a seed is a whole number from 0, below 2"):
        population.listed(seed)
    assert [one.seed for one in population.listed(np.int64(2))] == [2, 3]
    assert et.Population(init, vary={"seed": [5]}).listed(seed)[0].seed == 5


@pytest.mark.usefixtures("unchecked")
def test_counts_of_numpy_are_numbers_of_a_checkpoint():
    found = et.Population(init, np.int64(2), team=np.int32(1))
    assert [type(one) for one in (found.members, found.team, found.count)] == [int] * 3


def test_a_number_that_nothing_reads():
    built = et.Learner(et.Gradient(loss), optax.adam(0.1))
    refused(r"'rate' varies, and nothing reads it: The learner has an optimizer that is built",
            phase(built))  # fmt: skip
    refused(
        r"'rat' varies, .* Did you mean 'rate'", phase(hyper={"rate": 0.1}), vary={"rat": RATES}
    )

    def made_of(key, size=4):
        return init(key, size)

    refused(r"'width' varies, and nothing reads it", phase(hyper={"rate": 0.1}),
            vary={"width": [2, 3]}, make=made_of)  # fmt: skip


@jax.jit
def whole(model, batch, hyper):
    """It takes all numbers, and reads one."""
    x, y = batch
    return jnp.mean((jnp.tanh(x @ model["body"]) @ model["head"] - y) ** 2) * hyper["rate"]


def test_a_number_that_is_handed_on_and_not_read():
    learner = et.Learner(et.Gradient(lambda *one: whole(*one[:2], one[2].hyper)), optax.sgd(0.1))
    trainer(phase(learner), vary=RATE)
    both = {**RATE, "decay": RATES}
    refused(r"^Population: 'decay' varies, and nothing reads it", phase(learner), vary=both)
    twice = et.Learner(learner.rule, optax.sgd(0.1), repeat=2)
    refused(r"^Population: 'decay' varies, and nothing reads it", phase(twice), vary=both)


def test_a_number_that_a_measure_alone_reads():
    def measure(model, batch, context):
        return {"scaled": context.hyper["scale"]}

    validation = et.Validation(DATA, measure)
    vary = {**RATE, "scale": [1.0, 2.0, 3.0]}
    result = trainer(phase(steps=2, validation=validation), vary).fit()
    assert [result.metrics[f"valid/scaled.{number}"] for number in range(3)] == [1.0, 2.0, 3.0]
    refused(r"'other' varies, and nothing reads it", phase(validation=validation),
            vary={**vary, "other": RATES})  # fmt: skip


def test_a_number_that_is_not_there_is_named():
    def decayed(model, batch, context):
        return loss(model, batch, context) * context.hyper["raet"]

    told = r"'raet' is meant to be a number of context.hyper: Did you mean 'rate'\? .*vary={'raet'"
    for one in (
        phase(et.Learner(et.Gradient(decayed), LEARNER.optimizer)),
        phase(validation=et.Validation(DATA, decayed)),
    ):
        with pytest.raises(KeyError) as caught:
            trainer(one, vary=RATE)
        assert re.search(told, caught.value.__notes__[0])


def test_a_name_with_two_places_or_none():
    refused(r"'width' varies, and is both an argument of init and a number",
            phase(hyper={"width": 2, "rate": 0.1}), vary={"width": [2, 3]})  # fmt: skip
    refused(r"so hyper is a dict of numbers; got float", phase(hyper=0.1))


def test_members_of_equal_settings_have_equal_shapes():
    def random(key):
        made = init(key)
        return made if float(made["head"][0]) > 0 else {**made, "more": jnp.zeros(2)}

    refused(r"init makes another model for member \d \(seed \d\) than for member 0, of equal",
            vary={"seed": range(8)}, make=random, error=et.ModelError)  # fmt: skip


def test_what_members_side_by_side_cannot_have():
    def batches(epoch):
        yield (X[:8], X[:8, 0])

    streamed = et.Phase("fit", LEARNER, et.StreamData(batches), et.Steps(3))
    refused(r"needs data on the device, .* got StreamData", streamed)
    other = phase(name="mend", validation=None)
    rescue = et.Rescue(other, et.Fallen("valid/error", 0.1, "min"))
    refused(r"a rescue of one member would hold up the others", phase(rescue=rescue))
    refused(r"A population has no roll-back", nonfinite="rollback", run="never")
    population = et.Population(init, vary=RATE)
    with pytest.raises(et.ConfigurationError, match="a model or a population; got both"):
        et.Trainer(init, phase(), population=population, progress=False)
    with pytest.raises(et.ConfigurationError, match="There is no phase"):
        et.Trainer(population=population)


def test_an_init_that_fails_says_for_whom():
    population = et.Population(lambda key, width: 1 // (width - 2), vary={"width": [2, 3]})
    with pytest.raises(ZeroDivisionError) as caught:
        et.Trainer(phases=phase(hyper={"rate": 0.1}), population=population)
    (note,) = caught.value.__notes__
    assert "for member 0: init(jax.random.key(0), width=2)" in note


class Plain(et.Callback):
    pass


class Patient(et.Callback):
    def with_members(self):
        return "each"

    def on_batch_end(self, event, metrics):
        return None


class Locked(et.Callback):
    def __init__(self):
        self.lock = threading.Lock()

    def with_members(self):
        return "each"


def test_callbacks_that_do_not_go_with_it():
    refused(r"Plain does not say how it goes with a population", callbacks=[Plain()])
    refused(r"Patient has on_batch_end, which a copy for each member", callbacks=[Patient()])
    refused(r"Locked cannot be copied for each member", callbacks=[Locked()])
    refused(r"LivePlot draws one training", callbacks=[et.LivePlot()])
    watching = et.ModelCheckpoint(monitor="valid/error", mode="min")
    refused(r"ModelCheckpoint\(monitor='valid/error'\) keeps the best", callbacks=[watching])
    refused(
        r"EarlyStopping watches 'valid/eror'",
        callbacks=[et.EarlyStopping("valid/eror", mode="min")],
    )
