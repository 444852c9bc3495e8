"""Splits that say at which level they hold, and what leaks where they do not.

A window belongs to a recording, that to a condition (a bearing at a load and a speed), and that to
a bearing. A model that was trained on one side of a split and is tested on the other may have seen
the same noise, the same sensor place, or the same bearing. Random windows, as many papers take
them, leak all of these.

>>> groups = Groups.of(bearing=[0, 0, 1, 1, 2, 2], recording=[0, 0, 1, 1, 2, 2])
>>> split = split_by(groups, "bearing", fractions=(0.34, 0.33, 0.33), seed=1)
>>> print(split.describe(groups))
bearing-wise split: 1/1/1 bearings, 1/1/1 conditions, 1/1/1 recordings, 2/2/2 windows.
>>> for leak in split_by(groups, "window", fractions=(0.5, 0.0, 0.5), seed=0).leaks(groups):
...     print(leak)
train and test share 1 recording (number 2).
train and test share 1 condition (number 2).
train and test share 1 bearing (number 2).
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from jaxtyping import Int

import etude as et
from etude.errors import suggest
from etude.inputs import Values

#: The levels of a split, from the weakest to the strongest.
Level = Literal["window", "recording", "condition", "bearing"]
LEVELS: tuple[str, ...] = get_args(Level)

_NAMED = 8  # groups that a message lists


@dataclass(frozen=True, eq=False)
class Groups:
    """What each window, or each recording, belongs to.

    Attributes:
        recording: number of its recording.
        condition: number of its condition; those of different bearings differ.
        bearing: number of its bearing.
        start: first sample in its recording.
        stop: sample after the last.

    Raises:
        DataError: a recording in two conditions, or a condition in two bearings.
    """

    recording: Int[np.ndarray, " n"]
    condition: Int[np.ndarray, " n"]
    bearing: Int[np.ndarray, " n"]
    start: Int[np.ndarray, " n"]
    stop: Int[np.ndarray, " n"]

    def __post_init__(self):
        for inner, outer in itertools.pairwise(LEVELS[1:]):
            pairs = np.unique(np.stack([self.at(inner), self.at(outer)]), axis=1)
            numbers, counts = np.unique(pairs[0], return_counts=True)
            if counts.size and counts.max() > 1:
                raise et.DataError(
                    f"Groups: {inner} {numbers[counts.argmax()]} is in {counts.max()} {outer}s; "
                    f"expected one. Give each {inner} of each {outer} a number of its own."
                )

    @classmethod
    def of(
        cls,
        bearing: Sequence[Any] | np.ndarray,
        condition: Sequence[Any] | np.ndarray | None = None,
        recording: Sequence[Any] | np.ndarray | None = None,
    ) -> "Groups":
        """Groups by names or numbers of any kind, counted from 0 in the order of their values.

        Args:
            bearing: of each window or recording.
            condition: load, speed or the like, which may be the same for several bearings; None:
                one for each bearing.
            recording: name or number; None: each is a recording of its own.

        >>> Groups.of(["b", "a", "b"], [100, 100, 200]).condition.tolist()
        [1, 0, 2]
        """
        outer = np.unique(np.asarray(bearing), return_inverse=True)[1].reshape(-1)
        middle = outer if condition is None else _numbered(outer, np.asarray(condition))
        if recording is None:
            inner = np.arange(len(outer))
        else:
            inner = np.unique(np.asarray(recording), return_inverse=True)[1].reshape(-1)
        nothing = np.zeros(len(outer), int)
        return cls(inner, middle, outer, nothing, nothing)

    def __len__(self) -> int:
        return len(self.recording)

    def __getitem__(self, index: Any) -> "Groups":
        return Groups(
            self.recording[index],
            self.condition[index],
            self.bearing[index],
            self.start[index],
            self.stop[index],
        )

    def at(self, level: str) -> Int[np.ndarray, " n"]:
        """The numbers of the groups of a level; windows are each their own."""
        if level not in LEVELS:
            raise et.DataError(f"There is no level {level!r}. {suggest(level, LEVELS)}")
        return np.arange(len(self)) if level == "window" else getattr(self, level)


class Leak(NamedTuple):
    """Groups of one level that are in two parts of a split.

    >>> print(Leak("train", "test", "window", (3, 4)))
    2 windows of test overlap some of train (numbers 3, 4).
    """

    one: str
    other: str
    level: str
    shared: tuple[int, ...]

    def __str__(self) -> str:
        count = len(self.shared)
        plural = "" if count == 1 else "s"
        numbers = ", ".join(map(str, self.shared[:_NAMED])) + (", ..." if count > _NAMED else "")
        which = f"(number{plural} {numbers})"
        if self.level == "window":
            verb = "overlaps" if count == 1 else "overlap"
            return f"{count} window{plural} of {self.other} {verb} some of {self.one} {which}."
        return f"{self.one} and {self.other} share {count} {self.level}{plural} {which}."


@dataclass(frozen=True, eq=False)
class GroupSplit:
    """Indices of the windows (or recordings) of three parts, and the level at which they hold.

    Attributes:
        level: the strongest level at which the parts share nothing.
        train: indices.
        valid: indices; may be empty.
        test: indices; may be empty.
    """

    level: Level
    train: Int[np.ndarray, " train"]
    valid: Int[np.ndarray, " valid"]
    test: Int[np.ndarray, " test"]

    @property
    def parts(self) -> dict[str, np.ndarray]:
        """The parts by name."""
        return {"train": self.train, "valid": self.valid, "test": self.test}

    def leaks(self, groups: Groups) -> list[Leak]:
        """What two parts share, the pairs of parts one after the other, the weakest level first."""
        found = []
        for (one, a), (other, b) in itertools.combinations(self.parts.items(), 2):
            for level in LEVELS:
                shared = _shared(groups, level, a, b)
                if shared.size:
                    found.append(Leak(one, other, level, tuple(shared.tolist())))
        return found

    def check(self, groups: Groups) -> None:
        """Raises DataError, with what leaks, unless the parts share nothing at their level.

        At the level "window", windows that overlap are shared samples, and refused.
        """
        strength = LEVELS.index(self.level)
        leaks = [leak for leak in self.leaks(groups) if LEVELS.index(leak.level) <= strength]
        if leaks:
            raise et.DataError(
                f"The split is called {self.level}-wise, and is not:\n"
                + "\n".join(map(str, leaks))
                + f"\nSplit by whole {self.level}s (split_by), and cut windows that do not overlap."
            )

    def describe(self, groups: Groups) -> str:
        """One line for a report: the level, and how much of what is in each part."""
        counts = [
            "/".join(str(len(np.unique(groups.at(level)[i]))) for i in self.parts.values())
            + f" {level}s"
            for level in reversed(LEVELS)
        ]
        return f"{self.level}-wise split: {', '.join(counts)}."


def split_by(
    groups: Groups,
    level: Level,
    *,
    fractions: Sequence[float] = (0.7, 0.15, 0.15),
    labels: Values | None = None,
    seed: int = 0,
) -> GroupSplit:
    """Random parts of whole groups.

    Args:
        groups: of the windows or recordings.
        level: groups of this level stay together.
        fractions: of the groups that go to train, valid and test; a part of 0 is empty.
        labels: class numbers `(n,)`; the groups of each (the commonest label of its members) are
            divided in these fractions, so that no part lacks one. None: divided without regard to
            classes.
        seed: of the shuffle.

    Raises:
        DataError: fractions that are not three of 0 or more that add up to 1, labels that are not
            one integer of 0 or more for each window, or a class with fewer groups than parts.
    """
    shares = [float(fraction) for fraction in fractions]
    # Of NaN every comparison is false, and no sum is 1.
    if len(shares) != 3 or min(shares) < 0 or not abs(sum(shares) - 1) <= 1e-6:
        raise et.DataError(
            f"split_by: got fractions={tuple(fractions)}, expected three, of train, valid and "
            "test, that add up to 1. Give 0 for a part that is to be empty."
        )
    number = groups.at(level)
    names = np.unique(number)
    label_of = np.zeros(len(names), int)
    if labels is not None:
        classes = _class_numbers(labels, len(groups))
        label_of = np.array([np.bincount(classes[number == name]).argmax() for name in names])
    rng = np.random.default_rng(seed)
    part_of = np.empty(len(names), int)
    needed = sum(share > 0 for share in shares)
    for label in np.unique(label_of):
        members = rng.permutation(np.flatnonzero(label_of == label))
        if len(members) < needed:
            kind = f"class {label} has" if labels is not None else "there are"
            raise et.DataError(
                f"split_by: {kind} {len(members)} {level}s for {needed} parts of a {level}-wise "
                f"split. Get more, or split at a weaker level and say so: {LEVELS}."
            )
        part_of[members] = np.repeat(np.arange(3), _counts(len(members), shares))
    part = part_of[np.searchsorted(names, number)]
    train, valid, test = (np.flatnonzero(part == i) for i in range(3))
    return GroupSplit(level, train, valid, test)


@dataclass(frozen=True)
class Purity:
    """How many groups of a level have a single label.

    Attributes:
        level: the level.
        groups: number of groups.
        pure: number of those with one label only.

    >>> print(Purity("bearing", 12, 12))
    Every bearing (12) has one label: a classifier may learn the bearing instead of the fault.
    >>> print(Purity("bearing", 12, 3))
    3 of 12 bearings have one label only.
    """

    level: str
    groups: int
    pure: int

    def __str__(self) -> str:
        if self.pure < self.groups:
            return f"{self.pure} of {self.groups} {self.level}s have one label only."
        return (
            f"Every {self.level} ({self.groups}) has one label: a classifier may learn the "
            f"{self.level} instead of the fault."
        )


def purity(groups: Groups, labels: Int[np.ndarray, " n"], level: Level = "bearing") -> Purity:
    """Whether the groups of a level have labels of their own.

    >>> purity(Groups.of(["a", "a", "b"]), np.array([0, 1, 1]))
    Purity(level='bearing', groups=2, pure=1)
    """
    pairs = np.unique(np.stack([groups.at(level), labels]), axis=1)
    counts = np.unique(pairs[0], return_counts=True)[1]
    return Purity(level, len(counts), int(np.count_nonzero(counts == 1)))


def _class_numbers(labels: Values, count: int) -> Int[np.ndarray, " n"]:
    found = np.asarray(labels)
    whole = found.shape == (count,) and np.issubdtype(found.dtype, np.integer)
    if not whole or found.min(initial=0) < 0:
        raise et.DataError(
            f"split_by: got labels of {found.dtype} and shape {found.shape}, expected an integer "
            f"of 0 or more for each of {count}, ({count},). Number the classes from 0."
        )
    return found


def _numbered(outer: np.ndarray, inner: np.ndarray) -> np.ndarray:
    """A number for each pair of values, in their order."""
    number = np.unique(inner, return_inverse=True)[1].reshape(-1)
    return np.unique(outer * (number.max(initial=0) + 1) + number, return_inverse=True)[1]


def _counts(total: int, fractions: Sequence[float]) -> list[int]:
    """How many of the total each part gets: at least one, unless its fraction is 0."""
    parts = [i for i, fraction in enumerate(fractions) if fraction > 0]
    counts = [0, 0, 0]
    for i in parts:
        counts[i] = 1
    for _ in range(total - len(parts)):
        short = max(parts, key=lambda i: fractions[i] * total - counts[i])
        counts[short] += 1
    return counts


def _shared(groups: Groups, level: str, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Numbers of groups that are on both sides; of windows, those of b that overlap one of a."""
    if level != "window":
        return np.intersect1d(groups.at(level)[a], groups.at(level)[b])
    found = [np.intersect1d(a, b)]
    for recording in np.intersect1d(groups.recording[a], groups.recording[b]):
        one = a[groups.recording[a] == recording]
        other = b[groups.recording[b] == recording]
        before = groups.start[one] < groups.stop[other][:, None]
        after = groups.stop[one] > groups.start[other][:, None]
        found.append(other[np.any(before & after, axis=1)])
    return np.unique(np.concatenate(found))
