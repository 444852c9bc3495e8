"""A bank of templates: waveforms so close together that any signal resembles one of them.

Stochastic placement (Harry, Allen and Sathyaprakash, Phys. Rev. D 80, 104014, 2009): propose
masses and spins at random, and take each proposal that no template so far matches. What the bank
is worth is then measured, by `fitting_factors` on signals of the population.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Complex64, Float64

from etude.systems.gravitational_waves.population import Parameters
from etude.systems.gravitational_waves.spectra import PowerSpectrum
from etude.systems.gravitational_waves.waveforms import SOLAR_MASS_IN_SECONDS, polarizations


@dataclass(frozen=True)
class TemplateBank:
    """Masses and aligned spins of the templates.

    Attributes:
        mass_1, mass_2: detector frame, solar masses.
        spin: dimensionless, along the orbit, the same for both components: a signal depends on
            little but their mass-weighted mean.

    >>> bank = TemplateBank(*np.array([[36.0], [29.0], [0.0]]))
    >>> len(bank), round(float(bank.chirp_mass[0]), 2), round(bank.longest(20.0), 2)
    (1, 28.1, 0.85)
    """

    mass_1: Float64[np.ndarray, " n"]
    mass_2: Float64[np.ndarray, " n"]
    spin: Float64[np.ndarray, " n"]

    def __len__(self) -> int:
        return len(self.mass_1)

    @property
    def chirp_mass(self) -> Float64[np.ndarray, " n"]:
        """(m1 m2)^{3/5} / (m1 + m2)^{1/5}."""
        return (self.mass_1 * self.mass_2) ** 0.6 / (self.mass_1 + self.mass_2) ** 0.2

    def longest(self, low: float) -> float:
        """Seconds from `low` Hz to merger of the longest template, at Newtonian order."""
        mass = SOLAR_MASS_IN_SECONDS * self.chirp_mass.min()
        return float(5 / 256 * mass ** (-5 / 3) * (np.pi * low) ** (-8 / 3))

    def spectra(
        self,
        frequencies: Float64[np.ndarray, " frequencies"],
        response: Float64[np.ndarray, " frequencies"],
        low: float = 20.0,
    ) -> Complex64[np.ndarray, "n frequencies"]:
        """Whitened templates, coalescing at t = 0, with a sum of |spectrum|^2 of one.

        Args:
            frequencies: positive and increasing, Hz.
            response: factor of the whitening filter at each, such as 1 / sqrt(psd).
            low: Hz, from where on the signals are complete.
        """
        parameters = Parameters.of(self.mass_1, self.mass_2, spin_1z=self.spin, spin_2z=self.spin)
        return whitened(parameters, frequencies, response, low)


def whitened(
    parameters: Parameters,
    frequencies: Float64[np.ndarray, " frequencies"],
    response: Float64[np.ndarray, " frequencies"],
    low: float = 20.0,
) -> Complex64[np.ndarray, "n frequencies"]:
    """Signals seen face-on, as `TemplateBank.spectra`."""
    rows = []
    for first in range(0, len(parameters), 32):  # spectra are large in float64
        face_on = Parameters.of(
            *(getattr(parameters, name)[first : first + 32] for name in ("mass_1", "mass_2")),
            spin_1z=parameters.spin_1z[first : first + 32],
            spin_2z=parameters.spin_2z[first : first + 32],
        )
        plus, _ = polarizations(face_on, frequencies, low)
        white = plus * response
        rows.append((white / np.linalg.norm(white, axis=1, keepdims=True)).astype(np.complex64))
    return np.concatenate(rows)


def template_bank(
    psd: PowerSpectrum,
    rng: np.random.Generator,
    mass: tuple[float, float] = (5.0, 50.0),
    spin: tuple[float, float] = (0.0, 0.0),
    minimal_match: float = 0.95,
    coverage: float = 0.95,
    band: tuple[float, float] = (20.0, 1024.0),
) -> TemplateBank:
    """A stochastic bank.

    Measured with the defaults on the curve aLIGO-O4: 766 templates in 7 s of one core; they
    recover .981 of the SNR of signals without spin on average (median .986, 5 % below .949, the
    worst of 1000, a light one, .62), and so about .95 of the volume. The range of `spin` should
    be that of the signals; the bank grows several times with it.

    Args:
        psd: spectrum of the noise, which decides how alike two templates look.
        rng: where the proposals come from.
        mass: range of both component masses, solar masses.
        spin: range of the common aligned spin.
        minimal_match: proposals that match a template at least this well are not needed.
        coverage: stop when this fraction of the latest 256 proposals is not needed.
        band: Hz.

    Raises ValueError for an empty range or a match outside (0, 1).
    """
    if not (0 < mass[0] < mass[1] and -1 < spin[0] <= spin[1] < 1):
        raise ValueError(
            f"template_bank: needs 0 < mass[0] < mass[1] and -1 < spin[0] <= spin[1] < 1; got "
            f"mass={mass}, spin={spin}."
        )
    if not (0 < minimal_match < 1 and 0 < coverage < 1):
        raise ValueError(
            f"template_bank: `minimal_match` and `coverage` lie in (0, 1); got {minimal_match} "
            f"and {coverage}."
        )
    frequencies, response = _grid(band, psd)
    bank, spectra = TemplateBank(*np.zeros((3, 0))), np.zeros((0, len(frequencies)), np.complex64)
    while True:
        proposals = _proposals(rng, mass, spin)
        candidates = proposals.spectra(frequencies, response, band[0])
        known = _matches(candidates, spectra, frequencies).max(axis=1, initial=0.0)
        among = _matches(candidates, candidates, frequencies) >= minimal_match
        taken: list[int] = []
        for k in np.flatnonzero(known < minimal_match):
            if not among[k, taken].any():
                taken.append(int(k))
        spectra = np.concatenate([spectra, candidates[taken]])
        bank = _joined(bank, proposals, taken)
        if len(taken) <= (1 - coverage) * _BATCH:
            return bank


def fitting_factors(
    bank: TemplateBank,
    signals: Parameters,
    psd: PowerSpectrum,
    band: tuple[float, float] = (20.0, 1024.0),
) -> Float64[np.ndarray, " signals"]:
    """The fraction of each signal's optimal SNR that the best template of the bank recovers.

    The smallest is the bank's minimal match as measured; the cube of their mean is about the
    fraction of the sensitive volume that an infinitely dense bank would have.
    """
    frequencies, response = _grid(band, psd)
    spectra = bank.spectra(frequencies, response, band[0])
    wanted = whitened(signals, frequencies, response, band[0])
    return _matches(wanted, spectra, frequencies).max(axis=1)


_BATCH = 256
#: Times of arrival that a match is maximised over, seconds.
_SHIFTS = np.arange(-10e-3, 10.1e-3, 0.5e-3)


def _grid(
    band: tuple[float, float], psd: PowerSpectrum
) -> tuple[Float64[np.ndarray, " nodes"], Float64[np.ndarray, " nodes"]]:
    """Frequencies 2 % apart; 1 / sqrt(psd) times the root of each one's weight in an integral.

    The product of two spectra that match turns slowly, so few nodes hold it, however many cycles
    each has; of two that do not, only that they do not is needed.
    """
    edges = np.geomspace(*band, 1 + int(50 * np.log(band[1] / band[0])))
    frequencies = (edges[1:] + edges[:-1]) / 2
    return frequencies, np.sqrt(np.diff(edges) / psd(frequencies))


def _matches(
    signals: Complex64[np.ndarray, "m nodes"],
    templates: Complex64[np.ndarray, "n nodes"],
    frequencies: Float64[np.ndarray, " nodes"],
) -> Float64[np.ndarray, "m n"]:
    """Overlaps, maximal over phase and time of arrival."""
    best = np.zeros((len(signals), len(templates)))
    conjugate = templates.conj().T
    for shift in _SHIFTS:
        turned = signals * np.exp(2j * np.pi * shift * frequencies).astype(np.complex64)
        best = np.maximum(best, np.abs(turned @ conjugate))
    return best


def _proposals(
    rng: np.random.Generator, mass: tuple[float, float], spin: tuple[float, float]
) -> TemplateBank:
    """Most are uniform in the masses, as signals are; a quarter is dense in the lightest eighth,
    where few signals but many templates belong."""
    light = (mass[0], mass[0] + (mass[1] - mass[0]) / 8)
    few, many = (rng.uniform(*ends, (2, n)) for ends, n in ((light, _BATCH // 4), (mass, _BATCH)))
    drawn = np.sort(np.concatenate([few, many], axis=1)[:, :_BATCH], axis=0)
    return TemplateBank(drawn[1], drawn[0], rng.uniform(*spin, _BATCH))


def _joined(bank: TemplateBank, other: TemplateBank, chosen: list[int]) -> TemplateBank:
    return TemplateBank(
        np.append(bank.mass_1, other.mass_1[chosen]),
        np.append(bank.mass_2, other.mass_2[chosen]),
        np.append(bank.spin, other.spin[chosen]),
    )
