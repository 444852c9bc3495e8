"""Recordings in MATLAB files, as four laboratories lay them out."""

import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import scipy.io
from jaxtyping import Float
from scipy.io.matlab import MatReadError

import etude as et
from etude.errors import suggest
from etude.systems.machinery.bearings import Orders

_POUND = 4.4482216  # N
_KNOWN = (
    "Known are those of MFPT (a struct `bearing` with gs, sr and rate), of Case Western Reserve "
    "(X097_DE_time), of Paderborn (a struct with X and Y), and plain ones (x and fs)."
)


class Found(NamedTuple):
    """What a file says; None where it says nothing."""

    signal: Float[np.ndarray, "..."]
    sample_rate: float | None = None
    speed: float | None = None
    load: float | None = None
    orders: Orders | None = None


def read_matlab(path: Path, channel: str | None) -> Found:
    """The channel of a file of MATLAB's formats up to version 7.

    Raises DataError for a file that cannot be read, is of no known structure, or lacks a variable.
    """
    try:
        variables = scipy.io.loadmat(path, squeeze_me=True, struct_as_record=False)
    except NotImplementedError as error:
        raise et.DataError(
            f"{path} is of MATLAB's version 7.3, which is HDF5. Save it with save(..., '-v7')."
        ) from error
    except (MatReadError, OSError, ValueError, TypeError, zlib.error) as error:
        raise et.DataError(f"{path} cannot be read as a MATLAB file: {error}.") from error
    names = {name: value for name, value in variables.items() if not name.startswith("__")}
    times = [name for name in names if name.endswith("_time")]
    rigs = [name for name, value in names.items() if {"X", "Y"} <= set(_fields(value))]
    if "bearing" in names:
        return _of_mfpt(path, names, channel)
    if times:
        return _of_case_western(path, names, times, channel)
    if rigs:
        return _of_paderborn(path, names[rigs[0]], channel)
    if "x" in names or channel in names:
        return _plain(path, names, channel)
    raise et.DataError(
        f"{path} is of another structure: it has {', '.join(sorted(names)) or 'no variable'}. "
        f"{_KNOWN} Pass `channel` for a variable of another name."
    )


def _of_mfpt(path: Path, names: Mapping[str, Any], channel: str | None) -> Found:
    found = names["bearing"]
    signal = _field(path, "bearing", found, channel or "gs")
    rate = _number(path, "bearing.sr", _field(path, "bearing", found, "sr"))
    speed = _number(path, "bearing.rate", _field(path, "bearing", found, "rate"))
    load = None
    if "load" in _fields(found):
        load = _number(path, "bearing.load", found.load) * _POUND
    orders = None
    if {"BPFO", "BPFI", "BSF"} <= set(names) and speed > 0:
        # The FTF of these files is that of the cage relative to the inner race: it is not read.
        passes = (_number(path, name, names[name]) / speed for name in ("BPFO", "BPFI", "BSF"))
        orders = Orders.of_passes(*passes)
    return Found(signal, rate, speed, load, orders)


def _of_case_western(
    path: Path, names: Mapping[str, Any], times: list[str], channel: str | None
) -> Found:
    wanted = channel or "DE"
    fitting = [name for name in times if wanted == name or f"_{wanted}_" in name]
    if len(fitting) != 1:
        number = "no" if not fitting else f"{len(fitting)} variables for"
        raise et.DataError(
            f"{path} has {number} channel {wanted!r}; it has {', '.join(sorted(times))}. Pass one "
            "of them as `channel`."
        )
    speeds = [name for name in names if name == fitting[0].split("_")[0] + "RPM"]
    speed = _number(path, speeds[0], names[speeds[0]]) / 60 if speeds else None
    return Found(np.asarray(names[fitting[0]]), speed=speed)


def _of_paderborn(path: Path, rig: Any, channel: str | None) -> Found:
    measured = {str(_field(path, "Y", one, "Name")): one for one in np.atleast_1d(rig.Y)}
    wanted = channel or "vibration_1"
    if wanted not in measured:
        raise et.DataError(f"{path} has no channel {wanted!r}. {suggest(wanted, measured)}")
    signal = np.asarray(_field(path, wanted, measured[wanted], "Data"))
    rate = None
    for axis in np.atleast_1d(rig.X):
        time = np.asarray(getattr(axis, "Data", ()), float)
        if time.shape == signal.shape and len(time) > 1 and time[-1] > time[0]:
            rate = round((len(time) - 1) / (time[-1] - time[0]), 3)
    speed = None
    if "speed" in measured:
        speed = float(np.mean(_field(path, "speed", measured["speed"], "Data"))) / 60
    return Found(signal, rate, speed)


def _plain(path: Path, names: Mapping[str, Any], channel: str | None) -> Found:
    wanted = channel or "x"
    if wanted not in names:
        raise et.DataError(f"{path} has no variable {wanted!r}. {suggest(wanted, names)}")
    rate = _number(path, "fs", names["fs"]) if "fs" in names else None
    return Found(np.asarray(names[wanted]), rate)


def _fields(value: Any) -> list[str]:
    return list(getattr(value, "_fieldnames", ()))


def _field(path: Path, owner: str, value: Any, name: str) -> Any:
    if name not in _fields(value):
        raise et.DataError(
            f"{path}: {owner} has no field {name!r}. "
            f"{suggest(name, _fields(value)) if _fields(value) else 'It is no struct.'}"
        )
    return getattr(value, name)


def _number(path: Path, name: str, value: Any) -> float:
    """A number, which some files hold as text."""
    try:
        return float(np.asarray(value).item())
    except (TypeError, ValueError) as error:
        raise et.DataError(f"{path}: {name} is {value!r}; expected one number.") from error
