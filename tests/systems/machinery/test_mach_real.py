"""`machinery/mfpt` on twenty simulated recordings in place of the real ones."""

import numpy as np
import pytest
from mach_seen import training
from pydantic import ValidationError

import etude as et
from etude.systems.machinery import RollingSimulation
from etude.systems.machinery.downloads import MFPT_CLASSES, Mfpt
from etude.systems.machinery.reading import Recording, records_of
from etude.systems.machinery.recipes import Recordings, mfpt as module, mfpt_recipe
from etude.systems.machinery.splits import GroupSplit
from fields import Change, check_field, fields_of

RATE = 8000.0
#: Of the fourteen for training, then the six: healthy, outer race, inner race.
LABELS = [0] * 2 + [1] * 7 + [2] * 5 + [0] + [1] * 3 + [2] * 2
SMALL = {"sample_rate": RATE, "window": 512, "lines": 8, "bands": 2, "repeats": 1, "epochs": 1}


def recorded(number, label):
    """Healthy ones at twice the rate of the others, as the real ones are."""
    rate = RATE * (2 if label == 0 else 1)
    simulation = RollingSimulation(1.5, rate, seed=number, conditions=((25.0, 1.0),))
    drawn = simulation.draw(label)
    return Recording(f"{number}.mat", drawn.signal, rate, 25.0, 1.0, simulation.orders)


@pytest.fixture(autouse=True)
def twenty(monkeypatch):
    """In place of the files; the caches of the recipe are empty before and after."""
    there = [recorded(number, label) for number, label in enumerate(LABELS)]

    def mfpt(root, *, sample_rate):
        assert root in (None, "elsewhere")
        same = [one.resampled(sample_rate) for one in there]
        records = records_of(same, LABELS, MFPT_CLASSES, bearings=LABELS)
        if root:
            records = records[np.arange(20)[::-1]]
        train, test = np.split(np.arange(20), [14])
        return Mfpt(records, GroupSplit("recording", train, test[:0], test))

    monkeypatch.setattr(module, "mfpt", mfpt)
    monkeypatch.setattr(module, "mfpt_recordings", lambda root: there)
    caches = (module.parts, module.recordings, module.as_recorded)
    for cache in caches:
        cache.cache_clear()
    yield
    for cache in caches:
        cache.cache_clear()


def records_in(parts):
    return {name: set(part.metadata["record"].tolist()) for name, part in parts.items()}


def test_the_published_split_keeps_the_six_for_the_test_and_one_of_each_for_the_temperature():
    found = records_in(module.parts(Recordings(**SMALL), "published", 3))
    assert found["test"] == set(range(14, 20))
    assert sorted(LABELS[number] for number in found["valid"]) == [0, 1, 2]
    assert found["train"] | found["valid"] == set(range(14))
    assert not found["train"] & found["valid"]
    assert records_in(module.parts(Recordings(**SMALL), "published", 4))["valid"] != found["valid"]


def test_each_of_the_fourteen_is_left_out_once_and_the_six_never_seen():
    trials = mfpt_recipe.trials(Recordings(**SMALL, splits=("one-out",), networks=("envelope",)))
    assert len(trials) == 14
    left_out = set()
    for trial in trials:
        found = records_in(module.parts(Recordings(**SMALL), "one-out", trial.seed))
        assert found["train"] | found["test"] == set(range(14))
        assert not found["train"] & found["test"]
        left_out |= found["test"]
    assert left_out == set(range(14))
    assert [phase.name for phase in trials[0].build(progress=False).settings.phases] == ["fit"]
    with pytest.raises(et.DataError, match="no recording is kept for 'valid'"):
        trials[0].evaluate(trials[0].skeleton(), "valid")


def test_random_windows_share_every_recording():
    found = records_in(module.parts(Recordings(**SMALL), "random", 0))
    assert found["train"] == found["test"] == set(range(20))


def test_left_as_recorded_the_training_alone_has_two_rates():
    one, two = (
        module.parts(Recordings(**SMALL, rates=rates, splits=("published",)), "published", 0)
        for rates in ("one", "as recorded")
    )
    np.testing.assert_array_equal(one["test"].signals, two["test"].signals)
    counts = [np.bincount(part["train"].labels) for part in (one, two)]
    assert counts[1].tolist() == [2 * counts[0][0], *counts[0][1:]]
    with pytest.raises(ValidationError, match="leave random out"):
        Recordings(**SMALL, rates="as recorded")


def test_a_trial_is_trained_and_judged_beside_a_forest_and_the_rule():
    config = Recordings(**{**SMALL, "epochs": 15}, networks=("envelope",), splits=("published",))
    trial = mfpt_recipe.trials(config)[0]
    result = trial.build(progress=False).fit()
    found = trial.evaluate(result.model, "test")
    assert set(mfpt_recipe.columns.values()) <= set(found)
    assert found["rule_records"] == 1.0
    assert found["window_accuracy"] > 0.6
    # The phase of the temperature saw the recordings that were held out.
    assert float(result.model.head.temperature.value) != 1.0 or found["window_accuracy"] == 1.0


BESIDE = {**SMALL, "splits": ("published",), "networks": ("envelope",)}
SEEN = training(mfpt_recipe, **BESIDE)
CHANGES = {
    **SEEN,
    "root": Change(None, "elsewhere", SEEN["seed"].seen, BESIDE),
    "splits": Change(("published",), ("random",), SEEN["seed"].seen, BESIDE),
    "sample_rate": Change(RATE, RATE / 2, SEEN["seed"].seen, BESIDE),
    "rates": Change("one", "as recorded", SEEN["seed"].seen, BESIDE),
}


@pytest.mark.parametrize("field", fields_of(Recordings, CHANGES))
def test_every_field_changes_something(field):
    check_field(Recordings, field, CHANGES)
