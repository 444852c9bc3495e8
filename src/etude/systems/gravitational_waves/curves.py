"""Noise curves of detectors: amplitude spectral densities by name, or from a file.

The tables in `curves/` name their document, source and licence in their first lines.

>>> curve = noise_curve("aLIGO-O4")
>>> f"{curve.asd_at(np.array([100.0]))[0]:.2e} at 100 Hz"
'3.91e-24 at 100 Hz'
"""

from dataclasses import dataclass, field
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

import numpy as np
from jaxtyping import Float, Float64

import etude as et
from etude.errors import suggest

#: name of a curve -> what it is
CURVES = {
    "aLIGOZeroDetHighPower": "Advanced LIGO design: zero detuning, high laser power",
    "aLIGO-O3": "Advanced LIGO, third observing run, 120 Mpc",
    "aLIGO-O4": "Advanced LIGO, fourth observing run, the higher projection",
    "A+": "the A+ upgrade of Advanced LIGO, design",
    "aLIGO-early": "Advanced LIGO, early, near the first observing run",
}

# A strain ASD is 1e-24 to 1e-15; its square, a PSD, is below 1e-30 wherever it matters.
SMALLEST_ASD = 1e-28


@dataclass(frozen=True, eq=False)
class NoiseCurve:
    """The amplitude spectral density (ASD) of a detector's noise, as a table.

    Attributes:
        name: name of the curve, or of its file.
        frequencies: Hz, strictly increasing.
        asd: one-sided amplitude spectral density, 1/√Hz.
    """

    name: str
    frequencies: Float64[np.ndarray, " rows"] = field(repr=False)
    asd: Float64[np.ndarray, " rows"] = field(repr=False)

    def asd_at(self, frequencies: Float[np.ndarray, "..."]) -> Float64[np.ndarray, "..."]:
        """The ASD in 1/√Hz, log-log interpolated; infinite outside the table.

        >>> noise_curve("A+").asd_at(np.array([1.0]))
        array([inf])
        """
        # 0 Hz has no logarithm; it is left of every table
        logs = np.log(np.maximum(frequencies, np.finfo(np.float64).tiny))
        line = np.interp(
            logs, np.log(self.frequencies), np.log(self.asd), left=np.inf, right=np.inf
        )
        return np.exp(line)

    def psd(self, frequencies: Float[np.ndarray, "..."]) -> Float64[np.ndarray, "..."]:
        """The power spectral density in 1/Hz, one-sided; infinite outside the table.

        >>> f = np.array([100.0])
        >>> bool(noise_curve("A+").psd(f) == noise_curve("A+").asd_at(f) ** 2)
        True
        """
        return self.asd_at(frequencies) ** 2

    def __call__(self, frequencies: Float[np.ndarray, "..."]) -> Float64[np.ndarray, "..."]:
        """The same as `psd`: curves and measured spectra are used alike."""
        return self.psd(frequencies)


def noise_curve(name_or_path: str | Path) -> NoiseCurve:
    """Reads a noise curve: one of `CURVES`, or a text file of frequency (Hz) and ASD (1/√Hz).

    Lines of a file that begin with # are comments.

    Raises:
        DataError: an unknown name, a file that is missing or holds no such table, or a table of
            power instead of amplitude.

    >>> curve = noise_curve("aLIGO-O3")
    >>> curve, len(curve.frequencies)
    (NoiseCurve(name='aLIGO-O3'), 132)
    """
    if isinstance(name_or_path, str) and name_or_path in CURVES:
        folder = resources.files("etude.systems.gravitational_waves") / "curves"
        return _parsed(name_or_path, folder / f"{name_or_path}.txt")
    path = Path(name_or_path)
    if not path.is_file():
        raise et.DataError(
            f"There is no noise curve or file {str(name_or_path)!r}. "
            f"{suggest(str(name_or_path), CURVES)} A file is given by its path, and has two "
            "columns: frequency in Hz, ASD in 1/sqrt(Hz)."
        )
    return _parsed(path.stem, path)


def _parsed(name: str, path: Traversable) -> NoiseCurve:
    try:
        rows = [line.split("#")[0].split() for line in path.read_text("utf-8").splitlines()]
        table = np.array([row for row in rows if row], np.float64)
    except (ValueError, OSError) as error:
        raise et.DataError(
            f"{path} holds no noise curve ({error}). Expected text with two numbers a line: "
            "frequency in Hz, ASD in 1/sqrt(Hz)."
        ) from error
    if table.ndim != 2 or table.shape[1] != 2 or len(table) < 2:
        raise et.DataError(
            f"{path} holds a table of shape {table.shape}; expected two columns, frequency in Hz "
            "and ASD in 1/sqrt(Hz), and at least two rows. Cut out the column of your detector."
        )
    frequencies, asd = table.T
    if not (np.all(np.isfinite(table)) and np.all(table > 0) and np.all(np.diff(frequencies) > 0)):
        raise et.DataError(
            f"{path}: expected positive, finite numbers and strictly increasing frequencies. "
            "Sort the rows, and leave out 0 Hz and repeated frequencies."
        )
    if asd.min() < SMALLEST_ASD:
        raise et.DataError(
            f"{path}: the second column goes down to {asd.min():.1e}, which is a power spectral "
            "density; expected the amplitude, its square root."
        )
    return NoiseCurve(name, frequencies, asd)
