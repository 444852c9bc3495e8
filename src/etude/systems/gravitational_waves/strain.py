"""Strain of one detector: a stretch of samples with its GPS time.

>>> strain = Strain(np.zeros(8 * 4096), 4096.0, 1126259446.0, "H1")
>>> strain.crop(1126259448.0, 1126259450.0).resampled(2048.0)
Strain(H1, GPS 1126259448 to 1126259450, 4096 samples at 2048 Hz)
"""

from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
from jaxtyping import Float64
from scipy.signal import resample_poly, windows

import etude as et
from etude.systems.gravitational_waves.spectra import PowerSpectrum, estimate_psd, whiten

#: Half the anti-alias filter's length, in samples of the lower rate.
RESAMPLING_HALF = 64


@dataclass(frozen=True, eq=False, repr=False)
class Strain:
    """Strain of one detector without gaps.

    Attributes:
        values: float64; strain, or whitened strain.
        sample_rate: Hz.
        start: GPS time of the first sample, seconds.
        detector: "H1", "L1", ...
    """

    values: Float64[np.ndarray, " samples"]
    sample_rate: float
    start: float
    detector: str

    def __post_init__(self) -> None:
        if self.sample_rate <= 0 or not len(self.values):
            raise et.DataError(
                f"{self.detector}: {len(self.values)} samples at {self.sample_rate:g} Hz; expected "
                "at least one sample and a positive rate."
            )

    @property
    def duration(self) -> float:
        """Seconds."""
        return len(self.values) / self.sample_rate

    @property
    def end(self) -> float:
        """GPS time at which the sample after the last would be, seconds."""
        return self.start + self.duration

    @property
    def times(self) -> Float64[np.ndarray, " samples"]:
        """GPS time of every sample, seconds.

        >>> Strain(np.zeros(3), 2.0, 10.0, "H1").times
        array([10. , 10.5, 11. ])
        """
        return self.start + np.arange(len(self.values)) / self.sample_rate

    def crop(self, start: float, end: float) -> "Strain":
        """The stretch from GPS time `start` up to `end`, to the nearest samples.

        Raises:
            DataError: an empty stretch, or one that is not inside the strain.

        >>> Strain(np.arange(8.0), 2.0, 10.0, "H1").crop(11.0, 12.5).values
        array([2., 3., 4.])
        """
        first, last = (round((time - self.start) * self.sample_rate) for time in (start, end))
        if not 0 <= first < last <= len(self.values):
            raise et.DataError(
                f"{self.detector}: cannot crop to GPS {start:.12g} to {end:.12g}; expected a "
                f"stretch inside {self.start:.12g} to {self.end:.12g}."
            )
        start = self.start + first / self.sample_rate
        return replace(self, values=self.values[first:last], start=start)

    def resampled(self, sample_rate: float) -> "Strain":
        """The strain at another rate; what lies above the new Nyquist frequency is filtered out.

        The filter (polyphase, Kaiser window) is flat to 95 % of the lower Nyquist frequency, where
        it begins to fall to nothing at 105 %. Ends are continued by odd reflection: no step there.

        Raises:
            DataError: the ratio of the rates is no fraction of small whole numbers.

        >>> Strain(np.ones(4096), 4096.0, 0.0, "H1").resampled(2048.0).values.round(5)[:2]
        array([1., 1.])
        """
        ratio = Fraction(sample_rate / self.sample_rate).limit_denominator(1000)
        up, down = ratio.numerator, ratio.denominator
        if up == 0 or up > 1000 or not np.isclose(up / down, sample_rate / self.sample_rate, 1e-12):
            raise et.DataError(
                f"{self.detector}: cannot go from {self.sample_rate:g} to {sample_rate:g} Hz; "
                "expected rates whose ratio is a fraction of numbers up to 1000, as 4096 to 2048."
            )
        if up == down:
            return self
        half = RESAMPLING_HALF * max(up, down)
        offsets = np.arange(-half, half + 1) / max(up, down)
        taps = np.sinc(offsets) * windows.kaiser(2 * half + 1, 8.0)
        # whole steps of the new grid, so that its first sample stays the first
        pad = -(-half // (up * down)) * down
        padded = np.pad(self.values, pad, mode="reflect", reflect_type="odd")
        values = resample_poly(padded, up, down, window=taps / taps.sum())
        first, samples = pad * up // down, -(-len(self.values) * up // down)
        return replace(self, values=values[first : first + samples], sample_rate=sample_rate)

    def psd(self, segment: float = 4.0) -> PowerSpectrum:
        """The power spectral density of this stretch, see `estimate_psd`."""
        return estimate_psd(self.values, self.sample_rate, segment)

    def whitened(
        self,
        psd: PowerSpectrum | None = None,
        band: tuple[float, float] = (20.0, 1024.0),
        filter_seconds: float = 4.0,
    ) -> "Strain":
        """Whitened strain, shorter by `filter_seconds / 2` at either end, at the right times.

        Args:
            psd: spectrum of the noise; None: `self.psd()`.
            band: Hz, see `spectra.whitening_filter`.
            filter_seconds: see `spectra.whiten`.

        >>> rng = np.random.default_rng(0)
        >>> Strain(1e-21 * rng.normal(size=32 * 2048), 2048.0, 100.0, "L1").whitened()
        Strain(L1, GPS 102 to 130, 57344 samples at 2048 Hz)
        """
        spectrum = self.psd() if psd is None else psd
        values = whiten(self.values, self.sample_rate, spectrum, band, filter_seconds)
        lost = (len(self.values) - len(values)) // 2
        start = self.start + lost / self.sample_rate
        return replace(self, values=values, start=start)

    def __repr__(self) -> str:
        return (
            f"Strain({self.detector}, GPS {self.start:.12g} to {self.end:.12g}, "
            f"{len(self.values)} samples at {self.sample_rate:g} Hz)"
        )
