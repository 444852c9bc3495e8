"""What a result says of its model is what an evaluation of that model gives, to the last bit."""

import copy
import pickle

import drill
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import small

import etude as et

HELD = et.ArrayData(jnp.asarray(np.random.default_rng(2).normal(size=7).astype(np.float32)), 3)
RATE = 1.1  # too large: the last weights are not the best


def squared(model, batch, context):
    return jnp.mean((model["a"] + model["b"] - batch) ** 2), {"a": model["a"]}


def distance(model, batch, context):
    return {"distance": jnp.mean(jnp.abs(model["a"] + 0.9 * model["b"] - batch))}


def loss(model, batch, context):
    return squared(model, batch[0], context)


def part(name, **options):
    return et.Learner(et.Gradient(loss), optax.sgd(RATE), lambda m: m[name], name, **options)


OFTEN = et.Validation(HELD, squared, every=et.Steps(3), name="often")
RARELY = et.Validation(HELD, distance, every=et.Steps(7), name="rarely")
AVERAGED = et.Validation(HELD, squared, every=et.Steps(3), name="averaged", ema=True)
ONE, BOTH = [part("a")], [part("a", ema=0.9), part("b")]
CASES = {
    "last": (ONE, "last", [OFTEN, RARELY]),
    "best": (ONE, et.Best("often/loss"), [OFTEN, RARELY]),
    "best of the rare": (ONE, et.Best("rarely/distance", "min"), [OFTEN, RARELY]),
    "average": (BOTH, "ema", [OFTEN, AVERAGED]),
    "last of averaged": (BOTH, "last", [AVERAGED, OFTEN]),
    "best average": (BOTH, et.Best("averaged/loss"), [OFTEN, AVERAGED]),
}


def expected(model, validations):
    found = {}
    for one in validations:
        measured = et.evaluate(model, one.data, one.measure)
        found |= {f"{one.name}/{name}": value for name, value in measured.items()}
    return found


def fit(*learners, folder=None, **options):
    return small.trainer(small.phase(*learners, steps=10, **options), run=folder)


@pytest.mark.parametrize("case", CASES)
def test_metrics_are_those_of_the_model_also_after_a_resume(case, tmp_path):
    learners, keep, validations = CASES[case]
    trainer = fit(*learners, folder=tmp_path / "run", validation=validations, keep=keep)
    result = trainer.fit()
    assert result.metrics == expected(result.model, validations)
    assert result.history[-2]["step"] == 10  # the last validation stays
    if case == "best":
        assert result.history[-2]["often/loss"] > result.metrics["often/loss"]
    # A run that is finished measures nothing again, and says the same.
    timing = (tmp_path / "run" / "timing.jsonl").read_text()
    again = trainer.resume()
    assert again.metrics == result.metrics
    assert drill.weights(again) == drill.weights(result)
    measured = (tmp_path / "run" / "timing.jsonl").read_text().removeprefix(timing)
    assert '"valid"' not in measured


def test_what_was_measured_on_the_best_is_not_measured_again(tmp_path):
    keep = et.Best("often/loss")
    result = fit(*ONE, folder=tmp_path / "run", validation=OFTEN, keep=keep).fit()
    made = [record for record in result.history if "often/loss" in record]
    assert (tmp_path / "run" / "timing.jsonl").read_text().count('"valid"') == len(made) == 4


def test_an_interrupted_training_ends_with_the_same_metrics(tmp_path):
    learners, keep, validations = CASES["best of the rare"]

    def trainer(*callbacks):
        phase = small.phase(*learners, steps=10, validation=validations, keep=keep)
        saving = et.ModelCheckpoint(et.Steps(1))
        return small.trainer(phase, run=tmp_path / "run", callbacks=[saving, *callbacks])

    with pytest.raises(ZeroDivisionError):
        trainer(drill.At("on_checkpoint", 8, lambda: 1 / 0)).fit()
    result = trainer().resume()
    assert result.metrics == expected(result.model, validations)
    assert result.metrics == fit(*learners, validation=validations, keep=keep).fit().metrics


def test_what_a_stop_leaves_is_measured():
    stopping = et.EarlyStopping("often/loss", patience=1)
    phase = small.phase(*ONE, validation=[OFTEN, RARELY])
    result = small.trainer(phase, callbacks=[stopping]).fit()
    assert result.reason is et.Reason.PATIENCE
    assert result.metrics == expected(result.model, [OFTEN, RARELY])


def test_what_a_rescue_leaves_is_measured():
    mend = small.phase(part("b"), name="mend", steps=5)
    rescue = et.Rescue(mend, when=lambda validations: len(validations) == 2)
    result = small.trainer(small.phase(*ONE, steps=6, validation=OFTEN, rescue=rescue)).fit()
    assert result.metrics == expected(result.model, [OFTEN])
    last = [record for record in result.history if "often/loss" in record][-1]
    assert last["often/loss"] != result.metrics["often/loss"]


def test_a_phase_without_validation_says_nothing():
    phases = [small.phase(*ONE, steps=2, validation=OFTEN), small.phase(name="second", steps=2)]
    assert small.trainer(*phases).fit().metrics == {}


@pytest.mark.parametrize("folder", [None, "run"])
def test_a_result_can_be_pickled_and_copied(folder, tmp_path):
    result = fit(folder=None if folder is None else tmp_path / folder, validation=OFTEN).fit()
    for other in (pickle.loads(pickle.dumps(result)), copy.deepcopy(result)):
        assert other.history == result.history
        assert small.steps_of(other.history) == list(range(1, 11))
        assert other.metrics == result.metrics
        assert (other.reasons, other.run) == (result.reasons, result.run)
        assert drill.weights(other) == drill.weights(result)


def test_the_history_is_that_of_its_own_training(tmp_path):
    def trainer(steps, **options):
        return small.trainer(small.phase(steps=steps), run=tmp_path / "run", **options)

    first = trainer(4).fit()
    longer = trainer(6).resume()
    replaced = trainer(2, overwrite=True).fit()
    alone = small.trainer(small.phase(steps=3))
    without, again = alone.fit(), alone.fit()
    results = [first, longer, replaced, without, again]
    assert [len(small.steps_of(result.history)) for result in results] == [4, 6, 2, 3, 3]


def test_a_result_is_printed_without_its_model_and_history():
    result = fit(*ONE).fit()
    assert repr(result).startswith("Result(reason=<Reason.LENGTH")
    assert "Array" not in repr(result)
