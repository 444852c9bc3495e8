"""One recording, and several of them as `Records`.

>>> wave = np.sin(np.arange(4000) / 3).astype(np.float32)
>>> slow, fast = Recording("slow", wave, 1000.0), Recording("fast", wave, 2000.0)
>>> records_of([slow, fast], [0, 1], ("a", "b"), sample_rate=1000.0).signals[1].shape
(2000,)
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float32

import etude as et
from etude.systems.machinery.bearings import Orders
from etude.systems.machinery.quantities import check_positive
from etude.systems.machinery.records import Records, check_signal
from etude.systems.machinery.signals import resample
from etude.systems.machinery.splits import Groups

_ABOVE = 0.98  # of the rate that all are resampled to, which each recording must have
_SAME = 0.01  # fraction by which loads and speeds of one condition differ


@dataclass(frozen=True, eq=False)
class Recording:
    """A vibration, and what its file says of it.

    Attributes:
        name: of the file.
        signal: one channel, in the unit of the file.
        sample_rate: Hz.
        speed: Hz, of the shaft; None: not known.
        load: N, on the bearing; None: not known.
        orders: of the bearing; None: not known.

    Raises:
        DataError: samples that are not finite, a silent channel, a sample rate or a speed that is
            not above 0.
    """

    name: str
    signal: Float32[np.ndarray, " samples"]
    sample_rate: float
    speed: float | None = None
    load: float | None = None
    orders: Orders | None = None

    def __post_init__(self):
        check_positive(self.name, sample_rate=self.sample_rate)
        if self.speed is not None:
            check_positive(self.name, speed=self.speed)
        check_signal(self.name, self.signal)

    def __repr__(self) -> str:
        seconds = len(self.signal) / self.sample_rate
        return f"Recording({self.name}, {seconds:g} s at {self.sample_rate:g} Hz)"

    def resampled(self, sample_rate: float) -> "Recording":
        """The recording at another sample rate, without aliases; see `resample`.

        >>> Recording("hum", np.sin(np.arange(600) / 9).astype(np.float32), 600.0).resampled(200.0)
        Recording(hum, 1 s at 200 Hz)
        """
        signal = np.asarray(resample(self.signal, self.sample_rate, sample_rate), np.float32)
        return replace(self, signal=signal, sample_rate=sample_rate)


def records_of(
    recordings: Sequence[Recording],
    labels: Sequence[int],
    classes: tuple[str, ...],
    *,
    sample_rate: float | None = None,
    bearings: Sequence[Any] | None = None,
) -> Records:
    """Recordings with their labels, all at one sample rate.

    What all of them know of speed, load and orders goes into the metadata.

    Args:
        recordings: may be of different lengths.
        labels: index into `classes`, one for each recording.
        classes: names.
        sample_rate: Hz, to which all are resampled; None: they have one already.
        bearings: name or number of the physical bearing of each recording; None: each has one of
            its own. A condition is a bearing at a load and a speed, where values that differ by
            less than 1 % are one: measured speeds are never the same.

    Raises:
        DataError: no recording, counts that differ, several sample rates, or one above that of a
            recording: a classifier could tell the classes by what is missing above its half.
    """
    rates = sorted({recording.sample_rate for recording in recordings})
    if not recordings:
        raise et.DataError("records_of: no recording was given.")
    if sample_rate is None and len(rates) > 1:
        raise et.DataError(
            f"records_of: recordings at {', '.join(f'{rate:g}' for rate in rates)} Hz. Pass "
            f"sample_rate={rates[0]:g} to resample all of them: where the rate goes with the "
            "class, a classifier learns the rate."
        )
    rate = rates[0] if sample_rate is None else sample_rate
    if rate * _ABOVE > rates[0]:
        raise et.DataError(
            f"records_of: sample_rate={rate:g} Hz, but a recording is at {rates[0]:g} Hz: what it "
            f"lacks above {rates[0] / 2:g} Hz would tell it from the others. Resample all to "
            f"{rates[0]:g} Hz or less."
        )
    same = [one if one.sample_rate == rate else one.resampled(rate) for one in recordings]
    metadata = {}
    for name in ("speed", "load"):
        values = [getattr(one, name) for one in same]
        if None not in values:
            metadata[name] = np.array(values, np.float32)
    if all(one.orders is not None for one in same):
        metadata["orders"] = np.array([list(one.orders or ()) for one in same], np.float32)
    own = range(len(same)) if bearings is None else bearings
    if len(own) != len(same):
        raise et.DataError(f"records_of: {len(own)} bearings for {len(same)} recordings.")
    loads, speeds = (_alike([getattr(one, name) for one in same]) for name in ("load", "speed"))
    state = [f"load {load}, speed {speed}" for load, speed in zip(loads, speeds, strict=True)]
    return Records(
        tuple(one.signal for one in same),
        rate,
        np.asarray(labels),
        classes,
        Groups.of(list(own), state),
        metadata,
    )


def _alike(values: Sequence[float | None]) -> list[int]:
    """Numbers that are the same for values whose neighbours are less than 1 % away; -1 for None.

    >>> _alike([25.0, None, 29.5, 25.1])
    [0, -1, 1, 0]
    """
    known = sorted({value for value in values if value is not None})
    numbers: dict[float | None, int] = {None: -1}
    for before, value in zip([None, *known], known, strict=False):
        new = before is None or value - before > _SAME * abs(value)
        numbers[value] = numbers[before] + (1 if new else 0)
    return [numbers[value] for value in values]
