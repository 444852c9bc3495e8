"""Windows to learn from: signals of a bank in fresh noise, and noise that looks like signals.

Mixing is a pure function of a batch and a key, so it runs inside the compiled step; a binary is
never seen twice in the same noise, from the same side, at the same place or as loud.

>>> import etude as et
>>> from etude.systems.gravitational_waves.bank import signal_bank
>>> from etude.systems.gravitational_waves.curves import noise_curve
>>> mixing = Mixing(snr=(8.0, 15.0))
>>> curve = noise_curve("aLIGO-O4")
>>> bank = signal_bank(Population(), [curve], 8, split="train", **mixing.room)
>>> data = et.ArrayData(bank.signals, batch_size=4)  # to et.Phase(..., data=data, augment=mixing)
>>> windows, labels = mixing(data.arrays, jax.random.key(0))
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

import etude as et
from etude.errors import suggest
from etude.systems.gravitational_waves.bank import SPLITS, Split
from etude.systems.gravitational_waves.detectors import H1, L1, Detector
from etude.systems.gravitational_waves.injections import folded_response, responses_and_delays
from etude.systems.gravitational_waves.population import Population
from etude.systems.gravitational_waves.spectra import whitening_filter

_LIGHT_TRAVEL = 0.0101  # seconds between H1 and L1, the longest delay that a signal can have
_MARGIN = 0.0215  # seconds from the centre of the Earth to its surface, and a sample
_PLACES = 1 << 16  # directions and orientations; small beside a bank


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
    alone, or, with probability `incoherent`, noise and what no wave leaves: a signal in one
    detector only, another signal in each detector, or the same signal at times that light travel
    forbids. Real noise holds the like, so that a detector must learn to refuse it; Gaussian noise
    does not, and there such windows cost a little sensitivity to signals that one detector hardly
    feels.

    Attributes:
        sample_rate: Hz.
        duration: length of the windows, seconds.
        merger: where in a window a signal merges, seconds from its start, uniform in this range.
            At the geocentre; a detector sees it up to 21 ms earlier or later.
        snr: range of the network signal-to-noise ratio of the whole signal, uniform.
        positives: fraction of windows with a coherent signal.
        incoherent: fraction of the other windows with an incoherent one, as loud.
        glitches: fraction of all windows with a sine-Gaussian burst in one detector, anywhere.
        glitch_snr: range of its signal-to-noise ratio, uniform in the logarithm.
        band: band of the noise, Hz; the same as that of the filter which whitened the signals.
        detectors: where the strain is felt.
        split: "train", "valid" or "test"; each has a table of directions and orientations of its
            own, from which its windows draw.

    Raises:
        ConfigurationError: a range that is empty or outside the window, no fraction, or an
            unknown split.

    >>> mixing = Mixing(snr=(8.0, 15.0), incoherent=0.2)
    >>> mixed = mixing.mix(jnp.ones((4, mixing.longer, 2, 1)), jax.random.key(0))
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
    detectors: tuple[Detector, ...] = (H1, L1)
    split: Split = "train"

    def __post_init__(self):
        if self.split not in SPLITS:
            raise et.ConfigurationError(
                f"Mixing: there is no split {self.split!r}. {suggest(self.split, SPLITS)}"
            )
        for name in ("positives", "incoherent", "glitches"):
            if not 0 <= getattr(self, name) <= 1:
                raise et.ConfigurationError(
                    f"Mixing: {name}={getattr(self, name)}; expected a fraction, 0..1."
                )
        for name in ("snr", "glitch_snr"):
            low, high = getattr(self, name)
            if not 0 < low <= high:
                raise et.ConfigurationError(
                    f"Mixing: {name}={(low, high)}; expected 0 < low <= high."
                )
        low, high = self.merger
        if not 0 < low <= high < self.duration:
            raise et.ConfigurationError(
                f"Mixing: merger={self.merger} s; expected 0 < low <= high < duration="
                f"{self.duration:g} s: the label says that the merger is in the window."
            )
        if self.incoherent and high - low < 4 * _LIGHT_TRAVEL:
            raise et.ConfigurationError(
                f"Mixing: merger={self.merger} s leaves no room for incoherent signals, which "
                f"merge at different times; expected a range of {4 * _LIGHT_TRAVEL:g} s or more, "
                "or incoherent=0."
            )
        if self.incoherent and len(self.detectors) < 2:
            raise et.ConfigurationError(
                f"Mixing: incoherent={self.incoherent:g} with one detector; expected two, or "
                "incoherent=0."
            )

    @property
    def room(self) -> dict[str, float]:
        """The `duration` and `merger` that `signal_bank` must give its signals."""
        low, high = self.merger
        return {"duration": self.duration + high - low + 2 * _MARGIN, "merger": high + _MARGIN}

    @property
    def longer(self) -> int:
        """Length in samples of the signals of such a bank."""
        return round(self.room["duration"] * self.sample_rate)

    @property
    def samples(self) -> int:
        """Length of a window in samples."""
        return round(self.duration * self.sample_rate)

    @property
    def shifts(self) -> int:
        """Number of samples at which a merger can lie."""
        return round((self.merger[1] - self.merger[0]) * self.sample_rate) + 1

    @cached_property
    def response(self) -> np.ndarray:
        """What whitening leaves of white noise of variance 1: a factor for each frequency."""
        taps = whitening_filter(
            lambda f: np.full(np.shape(f), 2 / self.sample_rate), self.sample_rate, self.band
        )
        return np.abs(folded_response(taps, self.samples)).astype(np.float32)

    @cached_property
    def places(self) -> tuple[np.ndarray, np.ndarray]:
        """Responses (complex) and delays (samples) of many binaries, each [places, detectors].

        They are as frequent as among the signals of one loudness of a population that is uniform
        in volume: as the cube of the distance to which they are heard. No two splits have one in
        common.
        """
        seeds = np.random.SeedSequence(0, spawn_key=(SPLITS.index(self.split),))
        rng = np.random.default_rng(seeds)
        binaries = Population().draw(rng, 4 * _PLACES)
        responses, delays = responses_and_delays(binaries, self.detectors)
        volume = np.sum(np.abs(responses) ** 2, axis=1) ** 1.5
        heard = rng.choice(len(volume), _PLACES, p=volume / volume.sum())
        delays = np.round(delays[heard] * self.sample_rate).astype(np.int32)
        return responses[heard].astype(np.complex64), delays

    def __call__(
        self, signals: Float[Array, "batch longer quadratures psds"], key: Key[Array, ""]
    ) -> tuple[Float[Array, "batch samples detectors"], Int[Array, " batch"]]:
        """Windows and labels."""
        mixed = self.mix(signals, key)
        return mixed.windows, mixed.labels

    @partial(jax.jit, static_argnums=0)
    def mix(self, signals: Float[Array, "batch longer 2 psds"], key: Key[Array, ""]) -> Mixed:
        """Windows, labels, and how loud and where the signals are.

        Args:
            signals: those of a `SignalBank` made with `room`.
            key: random key of all draws.

        Raises:
            ConfigurationError: signals of another shape, or one that has no other to be mixed up
                with.
        """
        batch, longer, _, psds = signals.shape
        count = len(self.detectors)
        if longer != self.longer or psds not in (1, count):
            raise et.ConfigurationError(
                f"Mixing: signals of shape {signals.shape}; expected {self.longer} samples and 1 "
                f"or {count} spectra: (batch, {self.longer}, 2, 1). Make the bank with "
                "signal_bank(..., **mixing.room), at the same sample rate."
            )
        if self.incoherent and batch < 2:
            raise et.ConfigurationError(
                f"Mixing: a batch of 1 has no other signal for incoherent={self.incoherent:g}; "
                "expected two or more, or incoherent=0."
            )
        keys = iter(jax.random.split(key, 9))
        positive = jax.random.bernoulli(next(keys), self.positives, (batch,))
        odd = ~positive & jax.random.bernoulli(next(keys), self.incoherent, (batch,))
        loudness = jax.random.uniform(next(keys), (batch,), jnp.float32, *self.snr)
        shift = jax.random.randint(next(keys), (batch, 1), 0, self.shifts)
        turn = jax.random.uniform(next(keys), (batch, 1), jnp.float32, 0, 2 * math.pi)
        place = jax.random.randint(next(keys), (batch,), 0, _PLACES)

        responses, delays = (jnp.asarray(table)[place] for table in self.places)
        responses = responses * jax.lax.complex(jnp.cos(turn), jnp.sin(turn))
        sources = jnp.broadcast_to(jnp.arange(batch)[:, None], (batch, count))
        starts = jnp.broadcast_to(shift, (batch, count))
        if self.incoherent:
            found = sources, starts, responses
            changed = self._incoherent(*found, next(keys))
            sources, starts, responses = (
                jnp.where(odd[:, None], new, old) for new, old in zip(changed, found, strict=True)
            )
        power = jnp.square(jnp.abs(responses)) * _sensitivity(signals, count)
        scale = jnp.where(positive | odd, loudness, 0.0) / jnp.sqrt(jnp.sum(power, axis=1))
        starts = starts + round(_MARGIN * self.sample_rate) - delays
        windows = self._noise(batch, count, next(keys))
        windows += scale[:, None, None] * _felt(signals, sources, starts, responses, self.samples)
        if self.glitches:
            windows += self._glitches(batch, count, next(keys))
        merger = jnp.float32(self.merger[1]) - shift[:, 0].astype(jnp.float32) / self.sample_rate
        snr = jnp.where(positive, loudness, 0.0)
        return Mixed(windows, positive.astype(jnp.int32), snr, merger)

    def _incoherent(
        self, sources: Array, starts: Array, responses: Array, key: Array
    ) -> tuple[Array, Array, Array]:
        """Each window gets one of the three ways in which no wave comes to the detectors."""
        batch, count = starts.shape
        kind_key, gap_key, one_key = jax.random.split(key, 3)
        kind = jax.random.randint(kind_key, (batch, 1), 0, 3)
        one = jax.random.randint(one_key, (batch, 1), 0, count) == jnp.arange(count)
        # Apart by more than light allows, whatever the delay that the signal has already.
        least = math.ceil(2 * _LIGHT_TRAVEL * self.sample_rate) + 2
        gap = jax.random.randint(gap_key, (batch, 1), least, self.shifts - least + 1)
        alone = jnp.where((kind == 0) & ~one, 0.0, responses)
        another = jnp.where((kind == 1) & ~one, jnp.roll(sources, 1, axis=0), sources)
        late = jnp.where((kind == 2) & ~one, (starts + gap) % self.shifts, starts)
        return another, late, alone

    def _noise(self, batch: int, detectors: int, key: Array) -> Array:
        scale = self.response * np.sqrt(self.samples / 2, dtype=np.float32)
        # The mean and the Nyquist frequency are real: all of their variance is in one number.
        scale[[0, -1] if self.samples % 2 == 0 else [0]] *= np.sqrt(2, dtype=np.float32)
        parts = jax.random.normal(key, (2, batch, detectors, len(scale)), jnp.float32) * scale
        noise = jnp.fft.irfft(jax.lax.complex(parts[0], parts[1]), self.samples)
        return jnp.moveaxis(noise, 1, 2)

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


def _felt(
    signals: Array, sources: Array, starts: Array, responses: Array, samples: int
) -> Float[Array, "batch samples detectors"]:
    """The part of a signal that each detector records, from its `starts` on."""

    @jax.vmap
    def cut(source: Array, start: Array, psd: Array) -> Array:
        begin = (source, start, jnp.zeros_like(source), psd)
        return jax.lax.dynamic_slice(signals, begin, (1, samples, 2, 1))[0, :, :, 0]

    def channel(index: int) -> Array:
        psd = jnp.full_like(sources[:, 0], min(index, signals.shape[3] - 1))
        quadratures = cut(sources[:, index], starts[:, index], psd)
        response = responses[:, index, None]
        return quadratures[:, :, 0] * response.real + quadratures[:, :, 1] * response.imag

    return jnp.stack([channel(index) for index in range(responses.shape[1])], axis=2)


def _sensitivity(signals: Array, count: int) -> Array:
    """The squared signal-to-noise ratio of each detector, relative to their mean."""
    power = jnp.sum(jnp.square(signals), axis=(1, 2))
    return jnp.broadcast_to(power / jnp.mean(power, axis=1, keepdims=True), (len(power), count))
