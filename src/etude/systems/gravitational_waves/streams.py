"""Continuous strain of several detectors at once, and what was injected into it.

>>> rng = np.random.default_rng(0)
>>> pair = [Strain(1e-21 * rng.normal(size=65536), 2048.0, 100.0, name) for name in ("H1", "L1")]
>>> stream = Stream(tuple(pair))
>>> stream.values.shape, stream.whitened()
((65536, 2), Stream(H1 L1, GPS 102 to 130, 0 injections))
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64

import etude as et
from etude.systems.gravitational_waves.population import Parameters
from etude.systems.gravitational_waves.spectra import PowerSpectrum
from etude.systems.gravitational_waves.strain import Strain

#: Seconds of an injection before and after its merger; 5 + 5 solar masses take 19 s from 20 Hz.
BEFORE_MERGER, AFTER_MERGER = 22.0, 2.0


@dataclass(frozen=True, eq=False)
class Injections:
    """The signals in a stream, in the order of their times.

    Attributes:
        times: GPS time at which each merges, as seen at the centre of the Earth, seconds.
        parameters: the binaries.
        snr: optimal signal-to-noise ratio in each detector.
    """

    times: Float64[np.ndarray, " n"]
    parameters: Parameters
    snr: Float64[np.ndarray, "n detectors"]

    @property
    def network_snr(self) -> Float64[np.ndarray, " n"]:
        """Root of the sum of squares over the detectors."""
        return np.sqrt(np.sum(self.snr**2, axis=1))

    def chosen(self, keep: Bool[np.ndarray, " n"]) -> "Injections":
        """The injections that a mask keeps."""
        return Injections(self.times[keep], self.parameters[keep], self.snr[keep])


@dataclass(frozen=True, eq=False, repr=False)
class Stream:
    """Simultaneous strain of several detectors, and what was injected into it.

    Attributes:
        strains: one per detector, of the same start, rate and length.
        injections: None: none, or unknown.

    Raises:
        DataError: strains that are not simultaneous.

    >>> pair = [Strain(np.zeros(64), 64.0, 10.0, name) for name in ("H1", "L1")]
    >>> Stream(tuple(pair)).crop(10.5, 11.0)
    Stream(H1 L1, GPS 10.5 to 11, 0 injections)
    """

    strains: tuple[Strain, ...]
    injections: Injections | None = None

    def __post_init__(self) -> None:
        spans = {(s.start, s.sample_rate, len(s.values)) for s in self.strains}
        if len(spans) != 1:
            raise et.DataError(
                f"Stream: expected strains of one start, sample rate and length; got "
                f"{', '.join(map(repr, self.strains)) or 'none'}. Resample and crop them alike."
            )

    @property
    def start(self) -> float:
        """GPS time of the first sample, seconds."""
        return self.strains[0].start

    @property
    def end(self) -> float:
        """GPS time after the last sample, seconds."""
        return self.strains[0].end

    @property
    def sample_rate(self) -> float:
        """Hz."""
        return self.strains[0].sample_rate

    @property
    def values(self) -> Float64[np.ndarray, "samples detectors"]:
        """The samples, detectors last: a new array."""
        return np.stack([strain.values for strain in self.strains], axis=-1)

    def crop(self, start: float, end: float) -> "Stream":
        """The part from GPS time `start` to `end`, with the injections that merge in it."""
        return self._of(tuple(strain.crop(start, end) for strain in self.strains))

    def whitened(
        self,
        psds: Sequence[PowerSpectrum] | None = None,
        band: tuple[float, float] = (20.0, 1024.0),
        filter_seconds: float = 4.0,
    ) -> "Stream":
        """Each strain whitened; shorter at both ends, see `Strain.whitened`.

        Args:
            psds: spectra of the noise, one per detector; None: estimated from the strains.
            band: Hz.
            filter_seconds: see `spectra.whiten`.
        """
        spectra = [None] * len(self.strains) if psds is None else psds
        check_spectra(self.strains, spectra)
        return self._of(
            tuple(
                strain.whitened(psd, band, filter_seconds)
                for strain, psd in zip(self.strains, spectra, strict=True)
            )
        )

    def _of(self, strains: tuple[Strain, ...]) -> "Stream":
        if self.injections is None:
            return Stream(strains)
        times = self.injections.times
        inside = (times >= strains[0].start) & (times < strains[0].end)
        return Stream(strains, self.injections.chosen(inside))

    def __repr__(self) -> str:
        count = 0 if self.injections is None else len(self.injections.times)
        names = " ".join(strain.detector for strain in self.strains)
        return f"Stream({names}, GPS {self.start:.12g} to {self.end:.12g}, {count} injections)"


def split_by_time(
    stream: Stream, shares: dict[str, float], gap: float = BEFORE_MERGER + AFTER_MERGER
) -> dict[str, Stream]:
    """Cuts a stream into consecutive parts that have neither samples nor signals in common.

    Args:
        stream: what is cut.
        shares: name of each part -> its share of the time.
        gap: seconds left out between two parts. As long as a signal, so that none lies in both.

    Raises:
        DataError: shares that are not positive, or nothing left beside the gaps.

    >>> pair = tuple(Strain(np.zeros(6400), 64.0, 0.0, name) for name in ("H1", "L1"))
    >>> split_by_time(Stream(pair), {"train": 3, "test": 1}, gap=20.0)["test"]
    Stream(H1 L1, GPS 80 to 100, 0 injections)
    """
    left = stream.end - stream.start - gap * (len(shares) - 1)
    if not shares or min(shares.values()) <= 0 or left <= 0:
        raise et.DataError(
            f"split_by_time: shares={shares} of {stream.end - stream.start:g} s with gaps of "
            f"{gap:g} s; expected positive shares, and time left beside the gaps. Take a longer "
            "stream or smaller gaps."
        )
    parts, start = {}, stream.start
    for name, share in shares.items():
        end = start + left * share / sum(shares.values())
        parts[name] = stream.crop(start, min(end, stream.end))
        start = end + gap
    return parts


def check_spectra(detectors: Sequence, psds: Sequence) -> None:
    """Refuses another number of spectra than of detectors, or of their strains."""
    if len(detectors) != len(psds):
        raise et.DataError(
            f"{len(psds)} spectra for {len(detectors)} detectors; give one for each."
        )
