"""Windows to learn from: signals of a bank in fresh noise, and noise that looks like signals.

Mixing is a pure function of a batch and a key, so it runs inside the compiled step, and a signal
is never seen twice in the same noise, at the same place or as loud.

>>> import etude as et
>>> from etude.systems.gravitational_waves.bank import signal_bank
>>> from etude.systems.gravitational_waves.curves import noise_curve
>>> from etude.systems.gravitational_waves.population import Population
>>> bank = signal_bank(Population(), 2 * [noise_curve("aLIGO-O4")], 8, split="train")
>>> data, augment = et.ArrayData(bank.signals, batch_size=4), Mixing()  # both go to et.Phase
>>> windows, labels = augment(jnp.asarray(bank.signals), jax.random.key(0))
>>> windows.shape, labels.shape
((8, 2048, 2), (8,))
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property, partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key
from scipy import fft

from etude.engine.errors import ConfigurationError
from etude.systems.gravitational_waves.spectra import whitening_filter

_LIGHT_TRAVEL = 0.0101  # seconds between H1 and L1, the longest delay that a signal can have


class Mixed(NamedTuple):
    """Windows, and what was mixed into them.

    Attributes:
        windows: whitened strain.
        labels: 1 where a coherent signal is in the window, 0 elsewhere.
        snr: network signal-to-noise ratio of the coherent signal, 0 without one.
        merger: seconds from the start of the window at which it merges, at the geocentre.
    """

    windows: Float[Array, "batch samples detectors"]
    labels: Int[Array, " batch"]
    snr: Float[Array, " batch"]
    merger: Float[Array, " batch"]


@dataclass(frozen=True)
class Mixing:
    """Makes labelled windows of a batch of signals: `augment=` of `etude.Phase`.

    Half of the windows, or `positives` of them, hold their signal in noise; the others are noise
    alone, or, with probability `incoherent`, noise and something that no wave does: the signal in
    one detector only, or another signal in each detector, or the same at times that light does
    not allow. Real noise has such windows and asks for them; in Gaussian noise they are absent,
    and cost a little sensitivity to signals that one detector hardly feels.

    Attributes:
        sample_rate: Hz.
        duration: of the windows, seconds.
        merger: where in a window a signal merges, seconds from its start, uniform in this range.
            The signals must be longer than a window by its width, and merge at
            ``merger[1]`` seconds from their start: see `signal_bank`.
        snr: range of the network signal-to-noise ratio, uniform.
        positives: fraction of windows with a coherent signal.
        incoherent: fraction of the other windows with an incoherent one, as loud.
        glitches: fraction of all windows with a sine-Gaussian burst in one detector, anywhere.
        glitch_snr: range of its signal-to-noise ratio, uniform in the logarithm.
        band: Hz, of the noise; as that of the filter which whitened the signals.

    Raises:
        ConfigurationError: a range that is empty or outside the window, or no fraction.

    >>> mixing = Mixing(snr=(8.0, 15.0), incoherent=0.2)
    >>> mixed = mixing.mix(jnp.zeros((4, 2458, 2)), jax.random.key(0))
    >>> bool(jnp.all((mixed.snr > 0) == (mixed.labels == 1)))
    True
    """

    sample_rate: float = 2048.0
    duration: float = 1.0
    merger: tuple[float, float] = (0.6, 0.8)
    snr: tuple[float, float] = (5.0, 15.0)
    positives: float = 0.5
    incoherent: float = 0.1
    glitches: float = 0.0
    glitch_snr: tuple[float, float] = (5.0, 50.0)
    band: tuple[float, float] = (20.0, 1024.0)

    def __post_init__(self):
        for name in ("positives", "incoherent", "glitches"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigurationError(
                    f"Mixing: {name}={getattr(self, name)}; expected a fraction, 0..1."
                )
        for name in ("snr", "glitch_snr"):
            low, high = getattr(self, name)
            if not 0 < low <= high:
                raise ConfigurationError(f"Mixing: {name}={(low, high)}; expected 0 < low <= high.")
        low, high = self.merger
        if not 0 < low <= high < self.duration:
            raise ConfigurationError(
                f"Mixing: merger={self.merger} s; expected 0 < low <= high < duration="
                f"{self.duration:g} s: the label says that the merger is in the window."
            )
        if self.incoherent and high - low < 4 * _LIGHT_TRAVEL:
            raise ConfigurationError(
                f"Mixing: merger={self.merger} s leaves no room for incoherent signals, which "
                f"merge at different times; expected a range of {4 * _LIGHT_TRAVEL:g} s or more, "
                "or incoherent=0."
            )

    @property
    def samples(self) -> int:
        """Of a window."""
        return round(self.duration * self.sample_rate)

    @property
    def shifts(self) -> int:
        """Places that the merger can take."""
        return round((self.merger[1] - self.merger[0]) * self.sample_rate) + 1

    @cached_property
    def response(self) -> np.ndarray:
        """What whitening leaves of white noise of variance 1: a factor for each frequency."""
        taps = whitening_filter(
            lambda f: np.full(np.shape(f), 2 / self.sample_rate), self.sample_rate, self.band
        )
        middle = len(taps) // 2
        folded = np.zeros(self.samples)
        np.add.at(folded, np.arange(-middle, middle + 1) % self.samples, taps)
        return np.abs(fft.rfft(folded)).astype(np.float32)

    def __call__(
        self, signals: Float[Array, "batch longer detectors"], key: Key[Array, ""]
    ) -> tuple[Float[Array, "batch samples detectors"], Int[Array, " batch"]]:
        """Windows and labels."""
        mixed = self.mix(signals, key)
        return mixed.windows, mixed.labels

    @partial(jax.jit, static_argnums=0)
    def mix(self, signals: Float[Array, "batch longer detectors"], key: Key[Array, ""]) -> Mixed:
        """Windows, labels, and how loud and where the signals are.

        Args:
            signals: whitened, of network signal-to-noise ratio 1, from a `SignalBank`.
            key: of all draws.

        Raises:
            ConfigurationError: signals too short for the windows.
        """
        batch, longer, detectors = signals.shape
        if self.incoherent and (batch < 2 or detectors < 2):
            raise ConfigurationError(
                f"Mixing: incoherent={self.incoherent:g} with a batch of {batch} and {detectors} "
                "detectors; expected two or more of each, or incoherent=0."
            )
        if longer < self.samples + self.shifts - 1:
            raise ConfigurationError(
                f"Mixing: signals of {longer} samples; expected {self.samples + self.shifts - 1}, "
                f"those of a window and of the range of the merger. Give the bank duration="
                f"{self.duration + self.merger[1] - self.merger[0]:g} and merger="
                f"{self.merger[1]:g}, at {self.sample_rate:g} Hz."
            )
        keys = iter(jax.random.split(key, 8))
        positive = jax.random.bernoulli(next(keys), self.positives, (batch,))
        incoherent = ~positive & jax.random.bernoulli(next(keys), self.incoherent, (batch,))
        loudness = jax.random.uniform(next(keys), (batch,), jnp.float32, *self.snr)
        shift = jax.random.randint(next(keys), (batch,), 0, self.shifts)

        felt = jnp.where(positive, loudness, 0.0)
        windows = self._noise(batch, detectors, next(keys))
        windows += _cut(signals, shift, self.samples) * felt[:, None, None]
        if self.incoherent:
            odd = self._incoherent(signals, shift, next(keys))
            windows += odd * jnp.where(incoherent, loudness, 0.0)[:, None, None]
        if self.glitches:
            windows += self._glitches(batch, detectors, next(keys))
        merger = jnp.float32(self.merger[1]) - shift.astype(jnp.float32) / self.sample_rate
        return Mixed(windows, positive.astype(jnp.int32), felt, merger)

    def _noise(self, batch: int, detectors: int, key: Array) -> Array:
        scale = self.response * np.sqrt(self.samples / 2, dtype=np.float32)
        # The mean and the Nyquist frequency are real: all of their variance is in one number.
        scale[[0, -1] if self.samples % 2 == 0 else [0]] *= np.sqrt(2, dtype=np.float32)
        parts = jax.random.normal(key, (2, batch, detectors, len(scale)), jnp.float32) * scale
        noise = jnp.fft.irfft(jax.lax.complex(parts[0], parts[1]), self.samples)
        return jnp.moveaxis(noise, 1, 2)

    def _incoherent(self, signals: Array, shift: Array, key: Array) -> Array:
        batch, _, detectors = signals.shape
        kind_key, gap_key, one_key = jax.random.split(key, 3)
        one = jax.random.randint(one_key, (batch,), 0, detectors)
        one = jax.nn.one_hot(one, detectors, dtype=jnp.float32)[:, None, :]
        coherent = _cut(signals, shift, self.samples)

        loudness = jnp.sum(jnp.square(coherent), axis=(1, 2), keepdims=True)
        kept = jnp.sum(jnp.square(coherent * one), axis=(1, 2), keepdims=True)
        alone = coherent * one * jnp.sqrt(loudness / jnp.maximum(kept, 1e-9))

        another = _cut(jnp.roll(signals, 1, axis=0), shift, self.samples)
        # Apart by more than light allows, whatever the delay that the signal has already.
        least = math.ceil(2 * _LIGHT_TRAVEL * self.sample_rate)
        gap = jax.random.randint(gap_key, (batch,), least, self.shifts - least + 1)
        late = _cut(signals, (shift + gap) % self.shifts, self.samples)

        kind = jax.random.randint(kind_key, (batch,), 0, 3)[:, None, None]
        in_others = jnp.where(kind == 1, another, late)
        return jnp.where(kind == 0, alone, coherent * one + in_others * (1 - one))

    def _glitches(self, batch: int, detectors: int, key: Array) -> Array:
        keys = jax.random.split(key, 7)

        def drawn(index: int, low: float, high: float) -> Array:
            return jax.random.uniform(keys[index], (batch, 1), jnp.float32, low, high)

        def drawn_in_log(index: int, low: float, high: float) -> Array:
            return jnp.exp(drawn(index, math.log(low), math.log(high)))

        frequency = drawn_in_log(0, 30.0, 400.0)
        quality = drawn_in_log(1, 2.0, 20.0)
        loudness = drawn_in_log(2, *self.glitch_snr)
        time = jnp.arange(self.samples, dtype=jnp.float32) / self.sample_rate
        time = time - drawn(3, 0.0, self.duration)
        width = quality / (math.sqrt(2) * math.pi * frequency)
        burst = jnp.exp(-jnp.square(time / width))
        burst *= jnp.cos(2 * math.pi * (frequency * time + drawn(4, 0.0, 1.0)))
        burst *= loudness / jnp.linalg.norm(burst, axis=1, keepdims=True)
        present = jax.random.bernoulli(keys[5], self.glitches, (batch, 1))
        one = jax.random.randint(keys[6], (batch,), 0, detectors)
        one = jax.nn.one_hot(one, detectors, dtype=jnp.float32)[:, None, :]
        return jnp.where(present, burst, 0.0)[:, :, None] * one


@partial(jax.vmap, in_axes=(0, 0, None))
def _cut(signal: Array, start: Array, samples: int) -> Array:
    return jax.lax.dynamic_slice_in_dim(signal, start, samples)
