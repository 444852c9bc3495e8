"""What the spectrum of each class should show, and whether a window can show it.

>>> expected = Expectations(((1, (1.0, (10.0, 20.0))),), 1000.0, 0.1, (25.0, 50.0))
>>> expected.bands, [line.tolist() for line in expected.lines(np.array([30.0]), None)]
([(10.0, 20.0)], [[30.0]])
>>> expected.needed_samples
400
"""

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

import etude as et
from etude.errors import suggest
from etude.systems.machinery.bearings import CHARACTERISTIC, Orders
from etude.systems.machinery.quantities import check_positive

#: What a class shows: a line at a multiple of the shaft's speed (a number), a characteristic
#: frequency of the bearing and its harmonics (its name), or power from one frequency to another
#: (two numbers, Hz).
Expected: TypeAlias = float | str | tuple[float, float]

_OWNER = "FrequencyConsistencyLoss"


@dataclass(frozen=True)
class Expectations:
    """Lines and bands of the classes; attributes and errors as of `FrequencyConsistencyLoss`."""

    shown: tuple[tuple[int, tuple[Expected, ...]], ...]
    sample_rate: float
    tolerance: float
    speeds: tuple[float, float]
    bearings: tuple[Orders, ...] = ()
    harmonics: int = 3

    def __post_init__(self):
        check_positive(
            _OWNER,
            sample_rate=self.sample_rate,
            tolerance=self.tolerance,
            speed=np.array(self.speeds),
            harmonics=self.harmonics,
        )
        problems = self._problems()
        if problems:
            raise et.ConfigurationError("\n".join(f"{_OWNER}: {text}" for text in problems))
        top = max([order * self.speeds[1] for order in self._multiples] + [0.0])
        top = max([top * (1 + self.tolerance)] + [high for _, high in self.bands])
        if top > self.sample_rate / 2 or min(self._widths) <= 0:
            raise et.ConfigurationError(
                f"{_OWNER}: a line lies at up to {top:g} Hz, expected above 0 and at most "
                f"{self.sample_rate / 2:g}, half the sample rate. Take fewer harmonics."
            )

    @property
    def classes(self) -> list[int]:
        """Numbers of the classes that show something."""
        return [number for number, _ in self.shown]

    @property
    def entries(self) -> list[Expected]:
        """What is shown, one class after the other."""
        return [entry for _, shown in self.shown for entry in shown]

    @property
    def named(self) -> list[str]:
        """The characteristic frequencies among the entries, which need the orders of a bearing."""
        return [entry for entry in self.entries if isinstance(entry, str)]

    @property
    def bands(self) -> list[tuple[float, float]]:
        """The bands among the entries, Hz."""
        return [entry for entry in self.entries if isinstance(entry, tuple)]

    def lines(self, speed: Any, orders: Any) -> list[Any]:
        """The lines among the entries, with the harmonics of named ones: Hz, as the speed."""
        found = []
        for entry in self.entries:
            if isinstance(entry, str):
                order = orders[:, CHARACTERISTIC.index(entry)]
                found += [speed * order * k for k in range(1, self.harmonics + 1)]
            elif not isinstance(entry, tuple):
                found.append(speed * entry)
        return found

    @property
    def columns(self) -> list[np.ndarray]:
        """For each class, where what it shows is, in all lines followed by all bands."""
        lines = len(self.lines(np.ones(1), np.ones((1, len(CHARACTERISTIC)))))
        at_line, at_band, found = 0, lines, []
        for _, shown in self.shown:
            places: list[int] = []
            for entry in shown:
                if isinstance(entry, tuple):
                    places.append(at_band)
                    at_band += 1
                else:
                    count = self.harmonics if isinstance(entry, str) else 1
                    places += range(at_line, at_line + count)
                    at_line += count
            found.append(np.array(places))
        return found

    @property
    def needed_samples(self) -> int:
        """The length of a window whose bins are no wider than the narrowest band."""
        return int(np.ceil(self.sample_rate / min(self._widths) - 1e-6))

    @property
    def _multiples(self) -> list[float]:
        """The multiples of the speed at which the lowest and highest lines may lie."""
        found = [float(entry) for entry in self.entries if not isinstance(entry, (str, tuple))]
        for name in self.named:
            at = CHARACTERISTIC.index(name)
            for bearing in self.bearings:
                found += [tuple(bearing)[at] * k for k in (1, self.harmonics)]
        return found

    @property
    def _widths(self) -> list[float]:
        """Hz; for a line to either side, for a band half of its width."""
        lines = [self.tolerance * self.speeds[0] * order for order in self._multiples]
        return lines + [(high - low) / 2 for low, high in self.bands]

    def _problems(self) -> list[str]:
        problems = []
        if self.speeds[0] > self.speeds[1]:
            problems.append(f"got speeds={self.speeds}, expected the slower first.")
        if self.tolerance >= 0.5:
            problems.append(f"got tolerance={self.tolerance}, expected a fraction below 0.5.")
        if not self.shown:
            problems.append("got expected_freqs without a single line.")
        for name in sorted(set(self.named) - set(CHARACTERISTIC)):
            problems.append(f"there is no frequency {name!r}. {suggest(name, CHARACTERISTIC)}")
        if self.named and not self.bearings:
            problems.append(
                "the frequencies are named; pass bearings=[...], whose orders they have."
            )
        seen: dict[tuple[Expected, ...], int] = {}
        for number, shown in self.shown:
            if shown in seen:
                problems.append(
                    f"classes {seen[shown]} and {number} show the same, {list(shown)}: nothing "
                    "tells them apart."
                )
            seen[shown] = number
        return problems
