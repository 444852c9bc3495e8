"""Strain from files: HDF5 of the Gravitational Wave Open Science Center, and frames."""

from pathlib import Path
from typing import Any

import numpy as np

import etude as et
from etude.errors import suggest
from etude.systems.gravitational_waves.strain import Strain


def read_strain(
    path: str | Path,
    channel: str | None = None,
    *,
    start: float | None = None,
    end: float | None = None,
    detector: str | None = None,
    sample_rate: float | None = None,
) -> Strain:
    """Reads strain from a GWOSC file in HDF5, or from a frame file (.gwf) by way of gwpy.

    Args:
        path: where the file is; one whose name ends in .gwf is a frame file.
        channel: data set of an HDF5 file, by default GWOSC's "strain/Strain"; or the channel of a
            frame file, as "H1:GWOSC-4KHZ_R1_STRAIN", which has no default.
        start: GPS time from which to read; None: from the beginning.
        end: GPS time up to which to read; None: to the end.
        detector: name of the detector; None: as the file or the channel says.
        sample_rate: Hz to resample to; None: as it is.

    Raises:
        DataError: a file that is missing, damaged or of another kind; no such channel; samples
            that are not finite (GWOSC marks gaps so); a length that is not what the file says;
            a stretch that is not inside the file; no name of the detector; h5py, gwpy, or gwpy's
            reader of frames is not installed.

    >>> import h5py, tempfile
    >>> path = Path(tempfile.mkdtemp()) / "H-H1_TEST-100-2.hdf5"
    >>> with h5py.File(path, "w") as file:
    ...     file["meta/Detector"] = "H1"
    ...     file["strain/Strain"] = np.zeros(128)
    ...     file["strain/Strain"].attrs.update(Xstart=100, Xspacing=1 / 64)
    >>> read_strain(path, start=100.5)
    Strain(H1, GPS 100.5 to 102, 96 samples at 64 Hz)
    """
    path = Path(path)
    if not path.is_file():
        raise et.DataError(f"There is no file {path}. Check the name and the folder.")
    read = _read_frames if path.suffix == ".gwf" else _read_hdf5
    strain = read(path, channel, detector)
    first = strain.start if start is None else start
    last = strain.end if end is None else end
    strain = strain.crop(first, last)
    _refuse_gaps(path, strain)
    return strain if sample_rate is None else strain.resampled(sample_rate)


def _read_hdf5(path: Path, channel: str | None, detector: str | None) -> Strain:
    try:
        import h5py
    except ImportError as error:
        raise et.DataError(
            f"{path} is read by h5py, which is not installed: pip install 'etude[gw]'."
        ) from error

    name = "strain/Strain" if channel is None else channel
    file: Any  # what is in a file is known when it is read, not by h5py's types
    facts: dict[str, Any]
    try:
        with h5py.File(path, "r") as file:
            known = _data_sets(file)
            if name not in known:
                raise et.DataError(
                    f"{path} has no data set {name!r}. {suggest(name, known)} Pass it as `channel`."
                )
            facts = {key: file[key] for key in ("meta/Duration", "meta/Detector") if key in known}
            facts = {key: item[()] for key, item in facts.items()} | dict(file[name].attrs)
            values = np.asarray(file[name], np.float64)
    except OSError as error:
        raise et.DataError(
            f"{path} cannot be read as HDF5 ({error}): it is cut short, damaged, or something "
            "else. Get the file again from its source; a frame file must be named .gwf."
        ) from error
    start = facts.get("Xstart", facts.get("x0"))  # GWOSC's name, gwpy's name
    spacing = facts.get("Xspacing", facts.get("dx"))
    if start is None or spacing is None or values.ndim != 1:
        raise et.DataError(
            f"{path}: data set {name!r} has shape {values.shape} and attributes "
            f"{sorted(facts)}; expected one axis, and Xstart and Xspacing as GWOSC writes them "
            "(or x0 and dx, as gwpy does). Convert the file with gwpy."
        )
    duration = facts.get("meta/Duration")
    if duration is not None and abs(len(values) * spacing - duration) > spacing / 2:
        raise et.DataError(
            f"{path}: {len(values)} samples are {len(values) * spacing:g} s, but the file says "
            f"{duration} s: there is a gap. Get the file again, or take one without gaps."
        )
    said = facts.get("meta/Detector", b"").decode() or _prefix(name)
    return Strain(values, float(1 / spacing), float(start), _named(path, detector or said))


def _read_frames(path: Path, channel: str | None, detector: str | None) -> Strain:
    name = channel or ""
    cure = "Install gwpy and its reader of frames: pip install 'etude[gwf]'."
    try:
        from gwpy.io.gwf import get_channel_names
        from gwpy.timeseries import TimeSeries
    except ImportError as error:
        raise et.DataError(f"{path} is a frame file, and gwpy is not installed. {cure}") from error
    try:
        series = TimeSeries.read(path, name, format="gwf")
    except ImportError as error:
        raise et.DataError(
            f"{path} is a frame file, and gwpy cannot read it ({error}). {cure}"
        ) from error
    except (OSError, RuntimeError, ValueError) as error:
        # An unknown channel is a ValueError; to list those of a file that is cut short crashes.
        known = get_channel_names(path) if isinstance(error, ValueError) else [name]
        if name not in known:
            raise et.DataError(
                f"{path} has no channel {name!r}. {suggest(name, known)} Pass it as `channel`."
            ) from error
        raise et.DataError(
            f"{path} cannot be read as a frame file ({error}): it is cut short, damaged, or "
            "something else. Get the file again from its source."
        ) from error
    values, rate = np.asarray(series.value, np.float64), float(series.sample_rate.value)
    return Strain(values, rate, float(series.t0.value), _named(path, detector or _prefix(name)))


def _data_sets(file: Any) -> list[str]:
    import h5py

    names: list[str] = []

    def collect(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            names.append(name)

    file.visititems(collect)
    return names


def _prefix(channel: str) -> str:
    """The detector in the name of a channel, as H1 in "H1:LDAS-STRAIN"; else nothing."""
    return channel.split(":")[0] if ":" in channel else ""


def _named(path: Path, detector: str) -> str:
    if not detector:
        raise et.DataError(
            f"{path} does not say which detector it is of. Pass `detector`, as 'H1'."
        )
    return detector


def _refuse_gaps(path: Path, strain: Strain) -> None:
    finite = np.isfinite(strain.values)
    if finite.all():
        return
    if not finite.any():
        raise et.DataError(f"{path} holds no finite sample here. Take another stretch or file.")
    edges = np.flatnonzero(np.diff(np.concatenate([[False], finite, [False]])))
    stretches = edges.reshape(-1, 2)
    longest = stretches[np.argmax(stretches[:, 1] - stretches[:, 0])]
    first, last = strain.start + longest / strain.sample_rate
    raise et.DataError(
        f"{path}: {np.count_nonzero(~finite)} of {finite.size} samples are not finite: a gap. The "
        f"longest stretch without one is start={first:.12g}, end={last:.12g}; pass these."
    )
