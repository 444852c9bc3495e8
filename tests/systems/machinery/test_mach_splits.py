"""Splits share nothing at their level, and say what they share above it."""

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

import etude as et
from etude.systems.machinery.records import Records
from etude.systems.machinery.splits import LEVELS, Groups, GroupSplit, purity, split_by

RATE = 1000.0


def many(bearings=12, conditions=3, recordings=2):
    """Recordings of bearings in conditions; the label is that of the bearing."""
    shape = (bearings, conditions, recordings)
    bearing, condition, _ = (axis.ravel() for axis in np.indices(shape))
    signals = np.random.default_rng(0).normal(size=(len(bearing), 500)).astype(np.float32)
    groups = Groups.of(bearing, condition)
    return Records(signals, RATE, bearing % 3, ("a", "b", "c"), groups, {"speed": 20.0 + bearing})


@hypothesis.given(
    st.sampled_from(LEVELS), st.integers(0, 5), st.sampled_from([(0.7, 0.15, 0.15), (0.5, 0, 0.5)])
)
def test_whole_groups_stay_together_and_every_class_is_in_every_part(level, seed, fractions):
    windows = many(bearings=24, conditions=2).windows(100)
    split = split_by(windows.groups, level, fractions=fractions, labels=windows.labels, seed=seed)
    split.check(windows.groups)
    everything = np.concatenate(list(split.parts.values()))
    assert np.array_equal(np.sort(everything), np.arange(len(windows)))
    for fraction, part in zip(fractions, split.parts.values(), strict=True):
        assert set(windows.labels[part]) == (set(range(3)) if fraction else set())
        assert len(part) / len(windows) == pytest.approx(fraction, abs=0.15)
    # What holds at a level holds at all weaker ones.
    for weaker in LEVELS[: LEVELS.index(level)]:
        GroupSplit(weaker, *split.parts.values()).check(windows.groups)


def test_a_split_of_random_windows_is_no_split_of_recordings():
    windows = many().windows(100)
    split = split_by(windows.groups, "window", seed=0)
    assert {leak.level for leak in split.leaks(windows.groups)} == set(LEVELS) - {"window"}
    for level in LEVELS[1:]:
        with pytest.raises(et.DataError, match=f"{level}-wise, and is not:\n.*share .* recording"):
            GroupSplit(level, *split.parts.values()).check(windows.groups)
    assert "window-wise" in split.describe(windows.groups)


def test_overlapping_windows_leak_and_are_named():
    groups = many(1, 1, 2).windows(100, hop=50).groups  # 9 windows in each recording
    apart = GroupSplit("window", np.array([0, 1]), np.array([3, 4]), np.array([9, 10]))
    apart.check(groups)
    with pytest.raises(
        et.DataError, match=r"1 window of valid overlaps some of train \(number 2\)"
    ):
        GroupSplit("window", np.array([0, 1]), np.array([2]), np.array([9])).check(groups)
    with pytest.raises(et.DataError, match=r"number 1\)"):
        GroupSplit("window", np.array([0, 1]), np.array([1]), np.array([9])).check(groups)


def test_too_few_groups_of_a_class_are_refused():
    records = many(6, 1, 4)  # two bearings of each class
    with pytest.raises(et.DataError, match="class 0 has 2 bearings for 3 parts"):
        split_by(records.groups, "bearing", labels=records.labels)
    split_by(records.groups, "bearing", fractions=(0.5, 0.0, 0.5), labels=records.labels)
    with pytest.raises(et.DataError, match="add up to 1"):
        split_by(records.groups, "bearing", fractions=(0.7, 0.2, 0.2))


@pytest.mark.parametrize(
    "fractions",
    [(np.nan, 0.5, 0.5), (0.5, 0.5), (0.4, 0.2, 0.2, 0.2), (1.2, -0.2, 0.0), (np.inf, 0, 0)],
    ids=["nan", "two", "four", "negative", "infinite"],
)
def test_fractions_are_three_that_add_up_to_one(fractions):
    with pytest.raises(et.DataError, match=r"split_by: got fractions=.* expected three"):
        split_by(Groups.of(range(12)), "bearing", fractions=fractions)


@pytest.mark.parametrize(
    "labels",
    [np.zeros(12), np.full(12, -1), np.zeros(11, int), np.zeros((12, 1), int)],
    ids=["float", "negative", "short", "column"],
)
def test_labels_of_a_split_are_class_numbers(labels):
    with pytest.raises(et.DataError, match="split_by: got labels of"):
        split_by(Groups.of(range(12)), "bearing", labels=labels)


def test_groups_must_nest():
    one = np.zeros(2, int)
    with pytest.raises(et.DataError, match="condition 0 is in 2 bearings"):
        Groups(np.arange(2), one, np.arange(2), one, one)
    with pytest.raises(et.DataError, match="recording 7 is in 2 conditions"):
        Groups(np.array([7, 7]), np.arange(2), one, one, one)
    # The same load of two bearings is two conditions.
    assert len(set(Groups.of(["x", "y"], condition=[270, 270]).condition)) == 2
    with pytest.raises(et.DataError, match="Did you mean 'bearing'"):
        Groups.of([0]).at("bearings")


def test_purity_sees_bearings_of_one_label():
    records = many(6)
    assert "may learn the bearing" in str(purity(records.groups, records.labels))
    mixed = np.arange(len(records)) % 3
    assert purity(records.groups, mixed).pure == 0
    assert purity(records.groups, mixed, "recording").pure == len(records)


def test_windows_inherit_and_know_their_place():
    records = many(2, 1, 1)
    windows = records.windows(200, hop=150)
    assert windows.labels.tolist() == [0, 0, 0, 1, 1, 1]
    np.testing.assert_array_equal(windows.signals[4], records.signals[1][150:350])
    assert windows.metadata["window"].tolist() == [0, 1, 2] * 2
    assert windows.metadata["speed"].tolist() == [20.0] * 3 + [21.0] * 3
    assert windows.groups.stop.tolist() == [200, 350, 500] * 2
    arrays = windows[np.array([4, 1])].arrays(["speed"])
    assert arrays["label"].tolist() == [1, 0]
    assert sorted(arrays) == ["label", "signal", "speed"]
    with pytest.raises(et.DataError, match="Did you mean 'speed'"):
        windows.arrays(["sped"])


def test_recordings_of_different_lengths_are_cut_alike():
    signals = tuple(np.sin(np.arange(n)).astype(np.float32) for n in (250, 1000))
    records = Records(signals, RATE, np.array([0, 0]), ("a",), Groups.of([0, 0]))
    assert records.windows(200).metadata["record"].tolist() == [0, 1, 1, 1, 1, 1]
    assert len(records[np.array([1])].windows(500)) == 2
    with pytest.raises(et.DataError, match="recording 0 has 250 samples"):
        records.windows(300)


def bad(**changed):
    noise = np.random.default_rng(0).normal(size=(2, 100)).astype(np.float32)
    fields = {
        "signals": noise,
        "sample_rate": RATE,
        "labels": np.array([0, 1]),
        "classes": ("a", "b"),
        "groups": Groups.of([0, 1]),
        "metadata": {"speed": np.array([20.0, 20.0])},
    }
    return Records(**{**fields, **changed})


HOLED = np.random.default_rng(0).normal(size=(2, 100)).astype(np.float32)
HOLED[1, 30] = np.nan


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"sample_rate": 0.0}, r"sample_rate=0\.0"),
        ({"metadata": {"speed": np.array([20.0, 0.0])}}, r"speed=0\.0"),
        ({"labels": np.array([0, 2])}, "expected 0 to 1"),
        ({"labels": np.array([0])}, "1 entries of labels for 2 recordings"),
        ({"labels": np.array([0.0, 0.7])}, "labels of float64, expected integers"),
        ({"classes": ("a", "a")}, "'a' is given twice"),
        ({"signals": HOLED.astype(np.float16)}, "signals of float16, expected float32"),
        ({"metadata": {"load": np.ones(3)}}, "3 entries of load"),
        ({"signals": np.zeros((2, 100), np.float32)}, "recording 0: the channel is silent"),
        ({"signals": HOLED}, "recording 1: 1 of 100 samples are not finite, the first at 30"),
    ],
    ids=[
        "rate",
        "speed",
        "label",
        "labels",
        "fraction",
        "classes",
        "half",
        "metadata",
        "silent",
        "nan",
    ],
)
def test_records_that_cannot_be_are_refused_by_name(changed, said):
    with pytest.raises(et.DataError, match=said):
        bad(**changed)
