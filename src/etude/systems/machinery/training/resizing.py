"""Signals of another length, at an honest sample rate.

>>> import numpy as np
>>> signals = np.arange(8.0, dtype=np.float32)[None]
>>> resize(signals, 4, "truncate", sample_rate=100.0)
(array([[0., 1., 2., 3.]], dtype=float32), 100.0)
"""

import warnings
from collections.abc import Mapping
from typing import Any, Literal, TypeAlias, final, get_args

import numpy as np
from jaxtyping import Shaped

import etude as et
from etude.data import length_of
from etude.errors import suggest
from etude.systems.machinery.quantities import check_positive
from etude.systems.machinery.records import Windows
from etude.systems.machinery.signals import resample

ResizeMethod: TypeAlias = Literal["crop", "truncate", "pad", "decimate", "interpolate"]


def resize(
    signals: Shaped[np.ndarray, "*batch samples"],
    target_length: int,
    method: ResizeMethod | str,
    *,
    sample_rate: float,
) -> tuple[Shaped[np.ndarray, "*batch target"], float]:
    """Signals with `target_length` samples, and their sample rate.

    "crop" takes the middle, "truncate" the beginning, "pad" puts zeros behind: these leave the
    rate as it is. "decimate" keeps the duration at a lower rate, through a filter. "interpolate"
    keeps it at another rate by straight lines, without a filter, which folds what lies above half
    the new rate onto other frequencies, and warns. After the last two a line at f Hz is still at
    f Hz, but at another place for a network, which counts samples and knows no rate. They give
    single precision, or double where that comes in; the others keep the dtype.

    Args:
        signals: time last.
        target_length: samples of the result.
        method: see above.
        sample_rate: Hz, of the signals.

    Raises:
        ConfigurationError: an unknown method, a length below 1, signals too short to be cut, or too
            long to be padded or, for "decimate", not longer.
    """
    samples = signals.shape[-1]
    rate = resized_rate(samples, target_length, method, sample_rate=sample_rate)
    return resized(signals, target_length, method), rate


def resized_rate(
    samples: int, target_length: int, method: ResizeMethod | str, *, sample_rate: float
) -> float:
    """The sample rate, Hz, of signals that `resize` makes; arguments, errors and warning as there.

    >>> resized_rate(1000, 250, "decimate", sample_rate=20480.0)
    5120.0
    """
    check_positive("resize", sample_rate=sample_rate)
    if method not in get_args(ResizeMethod):
        raise et.ConfigurationError(
            f"resize: there is no method {method!r}. {suggest(method, get_args(ResizeMethod))}"
        )
    if target_length < 1:
        raise et.ConfigurationError(
            f"resize: got target_length={target_length}, expected 1 or more."
        )
    if samples == target_length:
        return sample_rate
    longer = samples > target_length
    if method != "interpolate" and longer == (method == "pad"):
        cure = "Take 'crop' or 'truncate'." if longer else "Take 'pad', or a shorter target_length."
        raise et.ConfigurationError(
            f"resize: {method!r} cannot make {target_length} samples of {samples}. {cure}"
        )
    if method in ("crop", "truncate", "pad"):
        return sample_rate
    rate = sample_rate * target_length / samples
    if method == "interpolate":
        warnings.warn(
            f"Straight lines between {samples} samples make {target_length} at {rate:g} Hz: what "
            f"lies above {rate / 2:g} Hz folds back, and a network, which knows no rate, meets "
            "every line at another place. 'crop' keeps both as they are.",
            stacklevel=3,
        )
    return rate


def resized(signals: Any, target_length: int, method: ResizeMethod | str) -> np.ndarray:
    """What `resize` makes of signals, without its checks."""
    samples = signals.shape[-1]
    if samples == target_length:
        return signals
    if method == "truncate":
        return signals[..., :target_length]
    if method == "crop":
        first = (samples - target_length) // 2
        return signals[..., first : first + target_length]
    if method == "pad":
        behind = [(0, 0)] * (signals.ndim - 1) + [(0, target_length - samples)]
        return np.pad(signals, behind)
    if method == "decimate":
        return np.asarray(resample(signals, float(samples), float(target_length)))
    if signals.dtype not in (np.float32, np.float64):
        signals = signals.astype(np.float32)  # a share of whole numbers would be 0 or 1
    places = np.arange(target_length) * (samples / target_length)
    low = np.minimum(places.astype(np.int64), samples - 2)
    share = np.minimum(places - low, 1.0).astype(signals.dtype)
    return signals[..., low] * (1 - share) + signals[..., low + 1] * share


@final
class ResizableSignalDataset:
    """A data set whose signals get another length when they are asked for.

    Args:
        base_dataset: `Windows`; arrays `(signals, labels)`, or a dictionary of them with "signal";
            or anything with a length that gives a sample by its number, `(signal, label)` or a
            dictionary with "signal".
        target_length: samples of the signals that it gives.
        resize_method: as `resize` has it.
        sample_rate: Hz, of the base; None: that of the windows, else 1, so that `sample_rate` is
            relative.

    Attributes:
        sample_rate: Hz, of the signals that it gives.

    Raises:
        ConfigurationError: as `resize`, or another rate than that of the windows.

    >>> base = np.arange(16.0, dtype=np.float32).reshape(2, 8), np.array([0, 1])
    >>> data = ResizableSignalDataset(base, 4, "crop")
    >>> len(data), data[1][0].tolist()
    (2, [10.0, 11.0, 12.0, 13.0])
    """

    def __init__(
        self,
        base_dataset: Any,
        target_length: int,
        resize_method: ResizeMethod | str = "crop",
        *,
        sample_rate: float | None = None,
    ):
        of_base = rate_of(base_dataset, sample_rate)
        samples = length_of_signals(base_dataset)
        self.sample_rate = resized_rate(samples, target_length, resize_method, sample_rate=of_base)
        self.base_dataset, self.target_length = base_dataset, target_length
        self.resize_method = resize_method

    def __len__(self) -> int:
        base = self.base_dataset
        return length_of(base) if isinstance(base, tuple | Mapping) else len(base)

    def __getitem__(self, index: int) -> Any:
        """A sample in the form of the base, a dictionary where that is `Windows` or one."""
        sample = sample_of(self.base_dataset, index)
        if isinstance(sample, Mapping):
            return {**sample, "signal": self._resized(sample["signal"])}
        signal, *rest = sample
        return (self._resized(signal), *rest)

    def _resized(self, signal: Any) -> np.ndarray:
        return resized(np.asarray(signal), self.target_length, self.resize_method)


def rate_of(dataset: Any, sample_rate: float | None) -> float:
    """The sample rate of a data set; 1 if nobody knows.

    Raises ConfigurationError if it is not the one that was given.
    """
    known = dataset.sample_rate if isinstance(dataset, Windows) else None
    if known is not None and sample_rate is not None and known != sample_rate:
        raise et.ConfigurationError(
            f"got sample_rate={sample_rate:g} Hz for windows at {known:g} Hz. Leave it out."
        )
    return known or sample_rate or 1.0


def sample_of(dataset: Any, index: int) -> Any:
    """One sample: a tuple, or a dictionary with "signal"."""
    if isinstance(dataset, Windows):
        one = dataset[np.array([index])].arrays(list(dataset.metadata))
        return {name: values[0] for name, values in one.items()}
    if isinstance(dataset, Mapping):
        return {name: values[index] for name, values in dataset.items()}
    if isinstance(dataset, tuple):
        return tuple(values[index] for values in dataset)
    return dataset[index]


def length_of_signals(dataset: Any) -> int:
    """The number of samples of the first signal of a data set.

    Raises DataError for a dictionary without "signal".
    """
    if isinstance(dataset, Mapping) and "signal" not in dataset:
        raise et.DataError(
            f"got arrays {sorted(dataset)}, but no 'signal' to resize. "
            f"{suggest('signal', list(dataset))}"
        )
    sample = sample_of(dataset, 0)
    signal = sample["signal"] if isinstance(sample, Mapping) else sample[0]
    return np.shape(signal)[-1]
