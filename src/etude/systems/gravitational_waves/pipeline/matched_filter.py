"""The matched filter: the best that linear filtering can do in Gaussian noise of known spectrum.

Streams are whitened so that white noise has variance 1 per sample. The filter's output for a
template is then complex: real part and imaginary part are what the template and the template a
quarter cycle later make of the data, each with variance 1 in noise, and its modulus is the
signal-to-noise ratio, maximal over the phase. Allen et al., Phys. Rev. D 85, 122006 (2012).

Each detector is filtered by itself and gives a sparse list of triggers; two lists are brought into
coincidence, template by template, by `coincidences`. Demanding the same template in both detectors
is more sensitive than combining the maxima over all templates: noise has fewer chances.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Complex64, Float, Float64, Int
from scipy import fft

from etude.systems.gravitational_waves.pipeline.templates import TemplateBank
from etude.systems.gravitational_waves.spectra import PowerSpectrum, whitening_filter

#: A trigger is the largest SNR of a template in a bin of so many samples.
_BIN = 16
_TEMPLATES_AT_ONCE = 8
#: Seconds at the end of a block that its beginning, wrapped around, may disturb.
_TAIL = 0.5


@dataclass(frozen=True)
class DetectorTriggers:
    """Peaks of the SNR of one detector.

    Attributes:
        time: GPS seconds of the merger in this detector.
        snr: modulus of the filter's output.
        template: index into the bank.
    """

    time: Float64[np.ndarray, " n"]
    snr: Float64[np.ndarray, " n"]
    template: Int[np.ndarray, " n"]

    def __len__(self) -> int:
        return len(self.time)


class MatchedFilter:
    """All templates of a bank against whitened streams, block by block.

    The output is complex, so that half the stream's sample rate holds the whole band, and peaks
    between its samples are interpolated. Filtering is in float32, on one core.
    """

    def __init__(
        self,
        bank: TemplateBank,
        psd: PowerSpectrum,
        sample_rate: float = 2048.0,
        band: tuple[float, float] = (20.0, 1024.0),
        block: int = 64,
    ):
        """Computes the whitened templates, which takes 8 bytes * band * block each.

        Args:
            bank: the templates.
            psd: spectrum that the streams were whitened with; it depends on the detector.
            sample_rate: Hz, a power of two.
            band: Hz, that the streams were restricted to.
            block: seconds per transform, a power of two; must exceed the longest template.

        Raises ValueError if a template does not fit into half a block, or the band not under
        Nyquist.
        """
        self.sample_rate, self.block = round(sample_rate), block
        self.overlap = bank.longest(band[0]) * 1.1 + 1.0
        if self.overlap > block / 2:
            raise ValueError(
                f"MatchedFilter: the longest template takes {self.overlap:.1f} s from {band[0]} "
                f"Hz, more than half a block of {block} s; take `block={2 * block}` or heavier "
                "templates."
            )
        if not 0 < band[0] < band[1] <= sample_rate / 2:
            raise ValueError(
                f"MatchedFilter: the band {band} Hz must rise and lie in 0..{sample_rate / 2} Hz."
            )
        self._size = block * self.sample_rate
        half = self._size // 2
        # The very response that the streams have, with its slopes outside the band.
        taps = whitening_filter(psd, sample_rate, band)
        response = np.abs(np.fft.rfft(taps, self._size))
        self._bins = slice(int(0.75 * band[0] * block), min(int((band[1] + 5) * block), half))
        frequencies = np.arange(self._bins.start, self._bins.stop) / block
        spectra = bank.spectra(frequencies, response[self._bins], band[0])
        self._conjugates = np.conj(spectra) * np.float32(np.sqrt(2 / self._size))

    def __len__(self) -> int:
        return len(self._conjugates)

    def output(
        self, values: Float[np.ndarray, " samples"], template: int
    ) -> Complex64[np.ndarray, " half"]:
        """The filter's output for one template at half the sample rate; its modulus is the SNR."""
        rows = slice(template, template + 1)
        parts = [self._filter(spectrum, rows)[0][kept] for spectrum, kept, _ in self._cut(values)]
        return np.concatenate(parts)[: len(values) // 2]

    def triggers(
        self, values: Float[np.ndarray, " samples"], start: float, threshold: float = 4.0
    ) -> DetectorTriggers:
        """Peaks above a threshold: in each 1/64 s (at 2048 Hz), each template's largest SNR.

        Args:
            values: whitened strain of one detector.
            start: GPS time of the first sample.
            threshold: SNR; the lower, the more triggers, and the fainter a signal may be in one
                detector: exp(-threshold^2 / 2) is the chance per independent moment.
        """
        found = []
        for spectrum, kept, first in self._cut(values):
            for low in range(0, len(self), _TEMPLATES_AT_ONCE):
                output = self._filter(spectrum, slice(low, low + _TEMPLATES_AT_ONCE))
                row, at, snr = _peaks(output, kept, threshold)
                found.append((first + at, snr, row + low))
        time, snr, template = (np.concatenate(column) for column in zip(*found, strict=True))
        inside = (time >= 0) & (time <= (len(values) - 1) / 2)
        time, snr, template = time[inside], snr[inside], template[inside]
        order = np.argsort(time, kind="stable")
        return DetectorTriggers(
            start + time[order] * 2 / self.sample_rate, snr[order], template[order]
        )

    def _cut(
        self, values: Float[np.ndarray, " samples"]
    ) -> Iterator[tuple[Complex64[np.ndarray, " bins"], slice, int]]:
        """(spectrum of a block, output samples to keep, output sample of the block's first)."""
        rate = self.sample_rate // 2
        # Whole bins, so that those of consecutive blocks join.
        lead = int(np.ceil(self.overlap * rate / _BIN)) * _BIN
        keep = self._size // 2 - lead - int(np.ceil(_TAIL * rate / _BIN)) * _BIN
        for first in range(0, (len(values) + 1) // 2, keep):
            begin = 2 * (first - lead)
            block = np.zeros(self._size, np.float32)
            source = values[max(begin, 0) : begin + self._size]
            block[max(-begin, 0) : max(-begin, 0) + len(source)] = source
            spectrum = np.asarray(fft.rfft(block))[self._bins]
            yield spectrum, slice(lead, lead + keep), first - lead

    def _filter(
        self, spectrum: Complex64[np.ndarray, " bins"], rows: slice
    ) -> Complex64[np.ndarray, "templates half"]:
        templates = self._conjugates[rows]
        product = np.zeros((len(templates), self._size // 2), np.complex64)
        np.multiply(templates, spectrum, out=product[:, self._bins])
        return np.asarray(fft.ifft(product, axis=1, norm="forward", overwrite_x=True))


def _peaks(
    output: Complex64[np.ndarray, "templates samples"], kept: slice, threshold: float
) -> tuple[Int[np.ndarray, " n"], Float64[np.ndarray, " n"], Float64[np.ndarray, " n"]]:
    """(template, sample, SNR) of the largest local maximum above threshold in each bin."""
    power = np.real(output) ** 2 + np.imag(output) ** 2
    largest = power[:, kept]
    while largest.shape[1] > (kept.stop - kept.start) // _BIN:  # by halves: faster than an axis
        largest = np.maximum(largest[:, ::2], largest[:, 1::2])
    # A peak between samples may be higher than they are.
    row, bin_ = np.nonzero(largest > (0.95 * threshold) ** 2)
    samples = kept.start + bin_[:, None] * _BIN + np.arange(_BIN)
    at = samples[:, 0] + np.argmax(power[row[:, None], samples], axis=1)
    around = np.abs(output[row[:, None], at[:, None] + _TAPS] @ _HALVES).astype(np.float64)
    best = 1 + np.argmax(around[:, 1:4], axis=1)
    # The modulus is nearly a Gaussian at its peak, its logarithm a parabola.
    before, peak, after = (
        np.log(np.maximum(around[np.arange(len(at)), best + k], 1e-9)) for k in (-1, 0, 1)
    )
    curvature = 2 * peak - before - after
    true = (peak >= before) & (peak >= after) & (curvature > 0)
    slope = (after - before) / 2
    shift = np.divide(slope, curvature, out=np.zeros_like(slope), where=true)
    snr = np.exp(peak + slope * shift / 2)
    true &= snr > threshold
    return row[true], (at + (best - 2 + shift) / 2)[true], snr[true]


def _interpolation() -> tuple[Int[np.ndarray, " taps"], Complex64[np.ndarray, "taps 5"]]:
    """Samples around one, and what they make of moments -1, -1/2, 0, 1/2 and 1 from it.

    A sinc with a window of Hann, about a quarter of the rate: the output holds no negative
    frequencies, and little of the highest.
    """
    taps = np.arange(-12, 13)
    away = np.arange(-2, 3) / 2 - taps[:, None]
    window = np.cos(np.pi * away / 26) ** 2
    return taps, (np.sinc(away) * window * np.exp(0.5j * np.pi * away)).astype(np.complex64)


_TAPS, _HALVES = _interpolation()
