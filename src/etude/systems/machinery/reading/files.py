"""A recording from a file of any known kind, and many from one HDF5 file.

>>> import tempfile
>>> path = Path(tempfile.mkdtemp()) / "mine.csv"
>>> _ = path.write_text("\\n".join(str(np.sin(i / 5)) for i in range(1000)))
>>> read_recording(path, sample_rate=2000.0, speed=25.0, resample_to=1000.0)
Recording(mine.csv, 0.5 s at 1000 Hz)
"""

from pathlib import Path
from typing import Any

import numpy as np

import etude as et
from etude.errors import suggest
from etude.systems.machinery.quantities import check_positive
from etude.systems.machinery.reading.matlab import Found, read_matlab
from etude.systems.machinery.reading.recording import Recording
from etude.systems.machinery.reading.tables import read_csv, read_npy
from etude.systems.machinery.records import Records
from etude.systems.machinery.splits import Groups

_KINDS = (".mat", ".csv", ".npy")
_FINE = 1e-3  # share of the largest sample, below which single precision makes steps of a vibration


def read_recording(
    path: str | Path,
    *,
    sample_rate: float | None = None,
    speed: float | None = None,
    channel: str | None = None,
    resample_to: float | None = None,
) -> Recording:
    """Reads one channel of one recording.

    MATLAB files may be those of MFPT and MathWorks, of Case Western Reserve University, of
    Paderborn University, or plain ones with `x` and `fs`; tables are CSV or NPY.

    Args:
        path: of the file.
        sample_rate: Hz, for files that do not say it (Case Western, CSV, NPY).
        speed: Hz, of the shaft; overrides that of the file.
        channel: which, where there are several: a variable, field or column, or "DE", "FE", "BA"
            of Case Western; None: the accelerometer, as "DE" or "vibration_1".
        resample_to: Hz, to which the recording is resampled; None: as it is.

    Raises:
        DataError: a file that is missing, damaged, or of another kind or structure; a variable
            that is not there; no sample rate, or another than the file's; several channels and no
            choice; what a `Recording` refuses.
    """
    path = Path(path)
    if not path.is_file():
        raise et.DataError(f"There is no file {path}. Check the name and the folder.")
    kind = path.suffix.lower()
    if kind == ".mat":
        found = read_matlab(path, channel)
    elif kind in _KINDS:
        found = Found((read_csv if kind == ".csv" else read_npy)(path, channel))
    else:
        raise et.DataError(
            f"{path} is of no kind that can be read: expected {', '.join(_KINDS)}. Data sets in "
            "HDF5 are read by read_records."
        )
    signal = np.squeeze(np.asarray(found.signal))
    if signal.ndim != 1 or signal.dtype.kind not in "fiu":
        raise et.DataError(
            f"{path}: the channel has the shape {signal.shape} of {signal.dtype}, expected numbers "
            "along one axis. Pass `channel` to choose one of several."
        )
    rate = _rate(path, sample_rate, found.sample_rate)
    recording = Recording(
        path.name,
        _single(signal),
        rate,
        found.speed if speed is None else speed,
        found.load,
        found.orders,
    )
    return recording if resample_to is None else recording.resampled(resample_to)


def read_records(path: str | Path, part: str = "train") -> Records:
    """Reads one part of a data set in HDF5: groups with `signals` and `labels`.

    Each recording is its own condition and bearing: the file does not say of which it is.

    Args:
        path: of the file. Its attributes are `sampling_rate` in Hz, and may be `num_classes`.
        part: "train", "val", "test", or another group of the file.

    Raises:
        DataError: a file that is missing or no HDF5, no such group, data set or attribute,
            signals of another shape, or what `Records` refuses; h5py is not installed.

    >>> import h5py, tempfile
    >>> path = Path(tempfile.mkdtemp()) / "data.h5"
    >>> with h5py.File(path, "w") as file:
    ...     file.attrs["sampling_rate"] = 20480
    ...     file["train/signals"] = np.random.default_rng(0).normal(size=(2, 64))
    ...     file["train/labels"] = [0, 1]
    >>> read_records(path).signals.shape
    (2, 64)
    """
    try:
        import h5py
    except ImportError as error:
        raise et.DataError(
            f"{path} is read by h5py, which is not installed: pip install 'etude[machinery]'."
        ) from error
    path = Path(path)
    if not path.is_file():
        raise et.DataError(f"There is no file {path}. Check the name and the folder.")
    file: Any  # what is in a file is known when it is read, not by h5py's types
    try:
        with h5py.File(path, "r") as file:
            if part not in file:
                raise et.DataError(f"{path} has no group {part!r}. {suggest(part, file)}")
            for name in ("signals", "labels"):
                if name not in file[part]:
                    raise et.DataError(
                        f"{path} has no data set {part}/{name}. {suggest(name, file[part])}"
                    )
            if "sampling_rate" not in file.attrs:
                raise et.DataError(
                    f"{path} has no attribute 'sampling_rate' (Hz); it has "
                    f"{', '.join(sorted(file.attrs)) or 'none'}."
                )
            rate = float(file.attrs["sampling_rate"])
            signals = np.asarray(file[part]["signals"], np.float32)
            labels = np.asarray(file[part]["labels"])
            classes = int(file.attrs.get("num_classes", labels.max(initial=0) + 1))
    except OSError as error:
        raise et.DataError(
            f"{path} cannot be read as HDF5 ({error}): it is cut short, damaged, or something else."
        ) from error
    if signals.ndim == 3 and signals.shape[1] == 1:
        signals = signals[:, 0]
    if signals.ndim != 2 or labels.ndim != 1:
        raise et.DataError(
            f"{path}: {part}/signals has the shape {signals.shape} and labels {labels.shape}; "
            "expected recordings of one channel each, and one label for each."
        )
    names = tuple(str(number) for number in range(classes))
    return Records(signals, rate, labels, names, Groups.of(np.arange(len(signals))))


def _single(signal: np.ndarray) -> np.ndarray:
    """In single precision; without its mean, where that would take the vibration's place."""
    if signal.dtype.kind == "f" and np.isfinite(signal).all() and signal.size:
        largest, spread = np.abs(signal).max(), np.ptp(signal)
        if 0 < spread < _FINE * largest:
            signal = signal - signal.mean()
    with np.errstate(over="ignore"):  # what becomes infinite is refused by name
        return signal.astype(np.float32)


def _rate(path: Path, given: float | None, found: float | None) -> float:
    if given is None and found is None:
        raise et.DataError(
            f"{path} does not say its sample rate. Pass sample_rate= in Hz; a wrong one moves all "
            "frequencies."
        )
    rate = given if found is None else found
    assert rate is not None
    check_positive(str(path), sample_rate=rate)
    if given is not None and abs(given - rate) > 1e-3 * rate:
        raise et.DataError(
            f"{path}: got sample_rate={given:g} Hz, but the file says {rate:g} Hz. Leave it out."
        )
    return rate
