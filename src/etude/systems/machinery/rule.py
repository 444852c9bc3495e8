"""Diagnosis without a network: which characteristic frequency stands out of the envelope spectrum.

>>> from etude.systems.machinery.simulation import RollingSimulation
>>> simulation = RollingSimulation(duration=2.0)
>>> drawn = [simulation.draw(index) for index in range(3)]  # healthy, outer race, inner race
>>> signals = np.stack([one.signal for one in drawn])
>>> speed = np.array([one.known["speed"] for one in drawn])
>>> rule = EnvelopeRule()
>>> rule(signals, 20480.0, speed, np.tile(list(simulation.orders), (3, 1))).tolist()
[0, 1, 2]
"""

from dataclasses import dataclass
from functools import partial
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

import etude as et
from etude.errors import suggest
from etude.inputs import one_of
from etude.systems.machinery.bearings import CHARACTERISTIC, SLIP
from etude.systems.machinery.quantities import check_positive
from etude.systems.machinery.records import check_signal
from etude.systems.machinery.signals import (
    cepstrum_prewhitening,
    fast_kurtogram,
    prominence,
    squared_envelope_spectrum,
)
from etude.systems.machinery.signals.values import unit_free

Preparation = Literal["none", "prewhitening", "kurtogram"]


@dataclass(frozen=True)
class EnvelopeRule:
    """Calls a recording faulty on the part whose lines stand out of the envelope spectrum most.

    The baselines of R. B. Randall and J. Antoni, Mech. Syst. Signal Process. 25 (2011) 485, and
    W. A. Smith and R. B. Randall, Mech. Syst. Signal Process. 64-65 (2015) 100: the envelope of
    the whole band, after cepstrum pre-whitening, or in the band that the kurtogram selects.

    Attributes:
        faults: characteristic frequencies of classes 1, 2, ...; class 0 is healthy.
        preparation: what is done before the envelope.
        harmonics: multiples of each frequency, whose levels are averaged.
        tolerance: a line may lie this fraction of its frequency away.
        threshold: dB over the noise, at which a recording is called faulty.
        level: of the kurtogram.

    Raises:
        ConfigurationError: an unknown frequency or none.
        ValueError: an unknown preparation.
        DataError: a number that is not above 0.
    """

    faults: tuple[str, ...] = ("BPFO", "BPFI", "BSF")
    preparation: Preparation = "none"
    harmonics: int = 3
    tolerance: float = SLIP
    threshold: float = 8.0
    level: int = 5

    def __post_init__(self):
        one_of("EnvelopeRule", "preparation", self.preparation, Preparation)
        check_positive(
            "EnvelopeRule",
            harmonics=self.harmonics,
            tolerance=self.tolerance,
            threshold=self.threshold,
            level=self.level,
        )
        if not self.faults:
            raise et.ConfigurationError("EnvelopeRule: got no faults, expected one or more.")
        for name in self.faults:
            if name not in CHARACTERISTIC:
                raise et.ConfigurationError(
                    f"EnvelopeRule: there is no frequency {name!r}. {suggest(name, CHARACTERISTIC)}"
                )

    def needed_samples(self, sample_rate: float, lowest: float) -> int:
        """Samples of a signal in which a line at `lowest` Hz is told to the tolerance.

        >>> EnvelopeRule().needed_samples(20480.0, lowest=50.0)
        20480
        """
        return int(np.ceil(sample_rate / (self.tolerance * lowest)))

    def __call__(
        self,
        signals: Float[np.ndarray, "batch samples"] | Float[Array, "batch samples"],
        sample_rate: float,
        speed: Float[np.ndarray, " batch"] | Float[Array, " batch"],
        orders: Float[np.ndarray, "batch 4"] | Float[Array, "batch 4"],
    ) -> Int[np.ndarray, " batch"]:
        """The class of each recording: 0, or 1 + the index into `faults`; errors as `levels`."""
        found = np.asarray(self.levels(signals, sample_rate, speed, orders))
        return np.where(found.max(1) < self.threshold, 0, 1 + found.argmax(1))

    def levels(
        self,
        signals: Float[np.ndarray, "batch samples"] | Float[Array, "batch samples"],
        sample_rate: float,
        speed: Float[np.ndarray, " batch"] | Float[Array, " batch"],
        orders: Float[np.ndarray, "batch 4"] | Float[Array, "batch 4"],
    ) -> Float[Array, "batch faults"]:
        """How far the lines of each fault stand out of the noise, in dB.

        Args:
            signals: recordings, or windows of them.
            sample_rate: Hz.
            speed: Hz, of the shaft of each.
            orders: FTF, BPFO, BPFI and BSF of the bearing of each.

        Raises:
            DataError: samples that are not finite, a silent signal; a speed, an order or a sample
                rate that is not above 0, signals too short
                for the lowest line, with the length needed, or a line past half the sample rate.
        """
        check_positive("EnvelopeRule", sample_rate=sample_rate, speed=speed, orders=orders)
        chosen = np.array([CHARACTERISTIC.index(name) for name in self.faults])
        lines = np.asarray(orders)[:, chosen] * np.asarray(speed)[:, None]
        samples, lowest = signals.shape[-1], float(lines.min())
        needed = self.needed_samples(sample_rate, lowest)
        if samples < needed:
            raise et.DataError(
                f"EnvelopeRule: {samples} samples at {sample_rate:g} Hz do not resolve "
                f"{100 * self.tolerance:g} % of {lowest:.3g} Hz; expected {needed} or more."
            )
        top = float(lines.max()) * self.harmonics * (1 + self.tolerance)
        if top > sample_rate / 2:
            raise et.DataError(
                f"EnvelopeRule: a line at {top:.4g} Hz lies past half the sample rate of "
                f"{sample_rate:g} Hz. Take fewer harmonics."
            )
        multiples = np.arange(1, self.harmonics + 1)
        centres = jnp.asarray(lines[:, :, None] * multiples, jnp.float32)
        for number, signal in enumerate(np.asarray(signals)):
            check_signal(f"EnvelopeRule, signal {number}", signal)
        return _levels(self, jnp.asarray(signals), sample_rate, centres)


@partial(jax.jit, static_argnums=(0, 2))
def _levels(rule: EnvelopeRule, signals: Array, sample_rate: float, centres: Array) -> Array:
    band, signals = None, unit_free(et.widened(signals))
    if rule.preparation == "prewhitening":
        signals = cepstrum_prewhitening(signals)
    elif rule.preparation == "kurtogram":
        band = fast_kurtogram(signals, sample_rate, rule.level).band
    spectrum = squared_envelope_spectrum(signals, sample_rate, band)
    power, width = jnp.square(spectrum.amplitudes), float(spectrum.frequencies[1])
    flat = prominence(power, width, centres.reshape(len(centres), -1), rule.tolerance)
    return jnp.mean(flat.reshape(centres.shape), axis=-1)
