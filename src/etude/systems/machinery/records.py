"""Recordings with what is known of them, and the windows that are cut from them.

>>> records = Records(
...     np.random.default_rng(0).normal(size=(2, 1000)).astype(np.float32),
...     sample_rate=1000.0,
...     labels=np.array([0, 1]),
...     classes=("healthy", "outer race"),
...     groups=Groups.of(bearing=["a", "b"]),
...     metadata={"speed": np.array([25.0, 30.0], np.float32)},
... )
>>> windows = records.windows(400, hop=200)
>>> windows.signals.shape, windows.labels.tolist()
((8, 400), [0, 0, 0, 0, 1, 1, 1, 1])
>>> {name: values.tolist() for name, values in windows[3:5].metadata.items()}
{'speed': [25.0, 30.0], 'record': [0, 1], 'window': [3, 0]}
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from jaxtyping import Float32, Int, Shaped

import etude as et
from etude.errors import suggest
from etude.systems.machinery.quantities import check_positive
from etude.systems.machinery.splits import Groups


@dataclass(frozen=True, eq=False)
class Records:
    """Recordings at one sample rate, of one channel each.

    Attributes:
        signals: one row for each recording; a tuple of arrays where their lengths differ.
        sample_rate: Hz.
        labels: index into `classes`.
        classes: names.
        groups: one entry for each recording.
        metadata: name -> what is known of each recording, its first axis; "speed" in Hz, "load"
            in N, "viscosity" in Pa s, "orders" FTF, BPFO, BPFI and BSF.

    Raises:
        DataError: signals that are not in single precision, labels that are no integers, counts
            that differ, a label without a class, a class twice, a sample rate or a speed that is
            not above 0, samples that are not finite, or a silent recording.
    """

    # Their dtypes are checked below, by name: what is cut to another one is not what was given.
    signals: Shaped[np.ndarray, "records samples"] | tuple[Shaped[np.ndarray, " _"], ...]
    sample_rate: float
    labels: Shaped[np.ndarray, " _"]
    classes: tuple[str, ...]
    groups: Groups
    metadata: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self):
        check_positive("Records", sample_rate=self.sample_rate)
        if "speed" in self.metadata:
            check_positive("Records", speed=self.metadata["speed"])
        self._check_dtypes()
        counts = {"labels": len(self.labels), "groups": len(self.groups)}
        counts |= {name: len(values) for name, values in self.metadata.items()}
        for name, count in counts.items():
            if count != len(self.signals):
                raise et.DataError(
                    f"Records: {count} entries of {name} for {len(self.signals)} recordings."
                )
        if len(self.labels) and not 0 <= self.labels.min() <= self.labels.max() < len(self.classes):
            raise et.DataError(
                f"Records: labels from {self.labels.min()} to {self.labels.max()} for "
                f"{len(self.classes)} classes; expected 0 to {len(self.classes) - 1}."
            )
        for name in self.classes:
            if self.classes.count(name) > 1:
                raise et.DataError(
                    f"Records: the class {name!r} is given twice, expected each once. Give those "
                    "recordings one label, or two names."
                )
        for number, signal in enumerate(self.signals):
            check_signal(f"recording {number}", signal)

    def _check_dtypes(self) -> None:
        if not np.issubdtype(self.labels.dtype, np.integer):
            raise et.DataError(
                f"Records: got labels of {self.labels.dtype}, expected integers, each an index "
                "into classes."
            )
        for signal in self.signals if isinstance(self.signals, tuple) else (self.signals,):
            if signal.dtype != np.float32:
                raise et.DataError(
                    f"Records: got signals of {signal.dtype}, expected float32. Write "
                    "signal.astype(np.float32)."
                )

    def __len__(self) -> int:
        return len(self.signals)

    def __getitem__(self, index: Int[np.ndarray, " _"] | slice) -> "Records":
        """The recordings at these indices."""
        where = np.arange(len(self))[index]
        if isinstance(self.signals, tuple):
            signals: Any = tuple(self.signals[i] for i in where)
        else:
            signals = self.signals[index]
        return Records(
            signals,
            self.sample_rate,
            self.labels[index],
            self.classes,
            self.groups[index],
            {name: values[index] for name, values in self.metadata.items()},
        )

    def windows(self, length: int, hop: int | None = None) -> "Windows":
        """Windows from the beginning of each recording on; a rest is left out.

        They inherit label, groups and metadata; "record" and "window" are the number of the
        recording, and the place of the window in it.

        Args:
            length: samples of a window.
            hop: samples from one to the next; None: `length`, so that none overlap.

        Raises:
            DataError: a recording shorter than a window, or a length or hop below 1.
        """
        hop = length if hop is None else hop
        if length < 1 or hop < 1:
            raise et.DataError(f"windows: got length={length} and hop={hop}, expected 1 or more.")
        cut, record = [], []
        for number, signal in enumerate(self.signals):
            if len(signal) < length:
                raise et.DataError(
                    f"windows: recording {number} has {len(signal)} samples, fewer than a window "
                    f"of {length}. Take shorter windows, or leave the recording out."
                )
            rows = np.lib.stride_tricks.sliding_window_view(signal, length)[::hop]
            cut.append(rows)
            record.append(np.full(len(rows), number))
        of = np.concatenate(record)
        place = np.concatenate([np.arange(len(rows)) for rows in cut])
        inherited = self.groups[of]
        groups = Groups(
            inherited.recording,
            inherited.condition,
            inherited.bearing,
            place * hop,
            place * hop + length,
        )
        metadata = {name: values[of] for name, values in self.metadata.items()}
        return Windows(
            np.concatenate(cut),
            self.sample_rate,
            self.labels[of],
            self.classes,
            groups,
            {**metadata, "record": of, "window": place},
        )


@dataclass(frozen=True, eq=False)
class Windows:
    """Windows of recordings; attributes as those of `Records`."""

    signals: Float32[np.ndarray, "windows samples"]
    sample_rate: float
    labels: Int[np.ndarray, " windows"]
    classes: tuple[str, ...]
    groups: Groups
    metadata: Mapping[str, np.ndarray]

    def __len__(self) -> int:
        return len(self.signals)

    def __getitem__(self, index: Int[np.ndarray, " _"] | slice) -> "Windows":
        """The windows at these indices, as those of a part of a `GroupSplit`."""
        return Windows(
            self.signals[index],
            self.sample_rate,
            self.labels[index],
            self.classes,
            self.groups[index],
            {name: values[index] for name, values in self.metadata.items()},
        )

    def normalised(self) -> "Windows":
        """The same, each without its mean and divided by its standard deviation.

        Loudness, which depends on the sensor and the load, says little of a fault.
        """
        return replace(self, signals=normalised(self.signals))

    def arrays(self, metadata: Sequence[str] = ()) -> dict[str, np.ndarray]:
        """Arrays for `etude.ArrayData`: "signal", "label", and the metadata that are asked for.

        Raises DataError for metadata that are not there.
        """
        for name in metadata:
            if name not in self.metadata:
                raise et.DataError(
                    f"Windows: there are no metadata {name!r}. {suggest(name, self.metadata)}"
                )
        asked = {name: self.metadata[name] for name in metadata}
        return {"signal": self.signals, "label": self.labels, **asked}


def normalised(signals: Float32[np.ndarray, "n samples"]) -> Float32[np.ndarray, "n samples"]:
    """Each signal without its mean, divided by its standard deviation; silence stays silent.

    >>> normalised(np.float32([[1, 3], [10, 30], [5, 5]])).tolist()
    [[-1.0, 1.0], [-1.0, 1.0], [0.0, 0.0]]
    """
    centred = signals - signals.mean(axis=1, keepdims=True)
    return centred / np.maximum(centred.std(axis=1, keepdims=True), np.finfo(np.float32).tiny)


def check_signal(name: str, signal: np.ndarray) -> None:
    """Raises DataError for a signal with samples that are not finite, or that is silent.

    >>> check_signal("mine", np.arange(4.0))
    """
    finite = np.isfinite(signal)
    if not finite.all():
        raise et.DataError(
            f"{name}: {np.count_nonzero(~finite)} of {signal.size} samples are not finite, the "
            f"first at {np.argmin(finite)}. Cut them out, or get the recording again."
        )
    if signal.size == 0 or np.ptp(signal) == 0:
        raise et.DataError(
            f"{name}: the channel is silent: {signal.size} samples"
            + (f", all {signal.flat[0]:g}" if signal.size else "")
            + ". Is the sensor connected, and is it the right channel?"
        )
