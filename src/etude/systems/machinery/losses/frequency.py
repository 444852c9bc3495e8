"""Do the lines of a recording agree with the class that a network gives it?

>>> from etude.systems.machinery.bearings import BEARINGS
>>> loss = FrequencyConsistencyLoss(
...     {1: ["BPFO"], 2: ["BPFI"]},  # class 0 is healthy: no lines
...     sample_rate=2000,
...     speeds=(20.0, 30.0),
...     bearings=[BEARINGS["NICE"].orders],
... )
>>> logits, signals = jnp.zeros((4, 3)), jnp.zeros((4, 4000))
>>> round(float(loss(logits, signals, speed=jnp.full(4, 25.0))), 3)
0.667
"""

from collections.abc import Mapping, Sequence
from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

import etude as et
from etude.inputs import one_of
from etude.systems.machinery.bearings import SLIP, Orders
from etude.systems.machinery.losses.expectations import Expectations, Expected
from etude.systems.machinery.quantities import check_positive
from etude.systems.machinery.signals import (
    background,
    peak_power,
    prominence,
    squared_envelope_spectrum,
)
from etude.systems.machinery.signals.values import unit_free

SpectrumOf = Literal["envelope", "raw"]

_USUAL = 0.95  # quantile of healthy windows, above which a line is unusual


class FrequencyConsistencyLoss(eqx.Module):
    """The expected penalty of the classes, under the probabilities that the logits give them.

    A class is penalised as far as its lines are missing in the spectrum of the window: 0 if each
    stands `threshold` dB out of the noise, 1 if none stands out at all, the mean over its lines in
    between, so that a class of many lines weighs as much as one of few. A class without lines
    (healthy) is penalised as far as those of the best other class are there; otherwise a line that
    a class does not expect costs nothing. The penalties are numbers; the gradient goes through the
    probabilities alone. They depend on no parameter, so that `penalties` can be computed once for
    all windows, and `expected_penalty` in each step.

    Impulses of a rolling bearing repeat at its characteristic frequencies, but ring at those of
    the structure: in the raw spectrum there is often nothing at the former. Their lines are in the
    spectrum of the squared envelope; tones of the shaft itself are in the raw one. Every shaft has
    some of these, so what counts is how much louder they are than in a healthy machine: see
    `calibrated`.

    Args:
        expected_freqs: class number -> what it shows, see `Expected`; a class that is not listed
            shows nothing.
        sample_rate: Hz.
        tolerance: a line may lie this fraction of its frequency away.
        speeds: Hz, of the slowest and the fastest shaft; the resolution is checked for the
            former, half the sample rate for the latter.
        bearings: orders of the bearings in the recordings, where their frequencies are named.
        spectrum: "envelope" or "raw".
        harmonics: number of multiples of each named frequency.
        threshold: dB at which a line is there beyond doubt.

    Raises:
        ConfigurationError: nothing expected of any class, the same of two classes, an unknown
            name, a name without bearings, or a line past half the sample rate.
        DataError: a setting that is no positive number.
        ValueError: an unknown spectrum.
    """

    expectations: Expectations = eqx.field(static=True)
    spectrum: SpectrumOf = eqx.field(static=True)
    threshold: float = eqx.field(static=True)
    usual: Float[Array, " shown"] | None

    def __init__(
        self,
        expected_freqs: Mapping[int, Sequence[Expected]],
        sample_rate: float = 20480,
        tolerance: float = SLIP,
        *,
        speeds: tuple[float, float],
        bearings: Sequence[Orders] = (),
        spectrum: SpectrumOf = "envelope",
        harmonics: int = 3,
        threshold: float = 10.0,
    ):
        shown = tuple((number, tuple(e)) for number, e in sorted(expected_freqs.items()) if e)
        self.expectations = Expectations(
            shown, sample_rate, tolerance, speeds, tuple(bearings), harmonics
        )
        one_of("FrequencyConsistencyLoss", "spectrum", spectrum, SpectrumOf)
        check_positive("FrequencyConsistencyLoss", threshold=threshold)
        self.spectrum = spectrum
        self.threshold = threshold
        self.usual = None

    def __call__(
        self,
        logits: Float[Array, "batch classes"],
        signals: Float[Array, "batch samples"],
        speed: Float[Array, " batch"],
        orders: Float[Array, "batch 4"] | None = None,
    ) -> Float[Array, ""]:
        """The mean over the batch, 0 to 1.

        Args:
            logits: of the classes.
            signals: windows.
            speed: Hz, of the shaft of each recording. Outside of `speeds` the loss is NaN.
            orders: FTF, BPFO, BPFI and BSF of the bearing of each recording; None: of the only
                one in `bearings`. Beyond those of `bearings` the loss is NaN.

        Raises:
            ConfigurationError: windows too short to resolve the lines, with the length needed; or
                several bearings and no orders; or orders, but no frequency that is named; or
                fewer classes than expected frequencies.
        """
        found = self.penalties(signals, speed, orders, classes=logits.shape[-1])
        return expected_penalty(logits, found)

    def penalties(
        self,
        signals: Float[Array, "batch samples"],
        speed: Float[Array, " batch"],
        orders: Float[Array, "batch 4"] | None = None,
        *,
        classes: int,
    ) -> Float[Array, "batch classes"]:
        """The penalty of each class for each window, 0 to 1; arguments and errors as the call."""
        self._check(signals, orders)
        listed = self.expectations.classes
        if listed[-1] >= classes or listed[0] < 0:
            raise et.ConfigurationError(
                f"FrequencyConsistencyLoss: expected_freqs has classes {listed} for {classes} "
                f"logits; expected 0 to {classes - 1}."
            )
        return _penalties(self, signals, speed, orders, classes)

    def calibrated(
        self,
        signals: Float[Array, "batch samples"],
        speed: Float[Array, " batch"],
        orders: Float[Array, "batch 4"] | None = None,
    ) -> "FrequencyConsistencyLoss":
        """The same loss, with what is usual in these healthy windows in the place of the noise.

        A line is then missing where it is no louder than in 95 of 100 of them, and there beyond
        doubt `threshold` dB above. Take the healthy windows of the training set, and no others:
        what is usual is learnt from them. Arguments and errors as the call.

        >>> loss = FrequencyConsistencyLoss({1: [1.0]}, 1000, 0.1, speeds=(20.0, 50.0))
        >>> hum = jnp.sin(2 * jnp.pi * 25 * jnp.arange(1000.0) / 1000)[None]
        >>> loss.calibrated(hum, jnp.array([25.0])).penalties(
        ...     hum, jnp.array([25.0]), classes=2
        ... ).tolist()
        [[0.0, 1.0]]
        """
        self._check(signals, orders)
        levels = _levels(self, signals, speed, orders, True)
        usual = jnp.quantile(levels, _USUAL, axis=0)
        if not bool(jnp.all(jnp.isfinite(usual))):
            raise et.DataError(
                "FrequencyConsistencyLoss: the levels of the healthy windows are not finite. Check "
                f"their samples, and that all speeds are in {self.expectations.speeds} Hz."
            )
        return eqx.tree_at(lambda loss: loss.usual, self, usual, is_leaf=lambda x: x is None)

    def check_length(self, samples: int) -> None:
        """Raises ConfigurationError for a window whose bins are wider than a band.

        >>> loss = FrequencyConsistencyLoss({1: [1.0]}, 1000, 0.1, speeds=(20.0, 50.0))
        >>> loss.check_length(500)
        """
        needed, rate = self.expectations.needed_samples, self.expectations.sample_rate
        if samples < needed:
            raise et.ConfigurationError(
                f"FrequencyConsistencyLoss: windows of {samples} samples at {rate:g} Hz have bins "
                f"of {rate / samples:.3g} Hz, wider than the narrowest band; expected {needed} "
                "samples or more. Take longer windows, or a larger tolerance."
            )

    def _check(self, signals: Array, orders: Array | None) -> None:
        self.check_length(signals.shape[-1])
        named, count = self.expectations.named, len(self.expectations.bearings)
        if orders is None and named and count > 1:
            raise et.ConfigurationError(
                f"FrequencyConsistencyLoss: {count} bearings, but no orders for each recording. "
                "Pass orders=."
            )
        if orders is not None and not named:
            raise et.ConfigurationError(
                "FrequencyConsistencyLoss: got orders, but expected_freqs names no frequency of a "
                "bearing. Leave them out."
            )


def expected_penalty(
    logits: Float[Array, "batch classes"], penalties: Float[Array, "batch classes"]
) -> Float[Array, ""]:
    """The mean over the batch of what the probabilities make of the penalties of the classes.

    >>> round(float(expected_penalty(jnp.zeros((1, 2)), jnp.array([[0.0, 1.0]]))), 3)
    0.5
    """
    logits = et.widened(logits)
    probabilities = jax.nn.softmax(logits, axis=-1)
    return jnp.mean(jnp.sum(probabilities * penalties.astype(logits.dtype), axis=-1))


@eqx.filter_jit
def _penalties(
    loss: FrequencyConsistencyLoss,
    signals: Array,
    speed: Array,
    orders: Array | None,
    classes: int,
) -> Float[Array, "batch classes"]:
    level = _levels(loss, signals, speed, orders, loss.usual is not None)
    if loss.usual is not None:
        level = level - loss.usual
    shown = jnp.clip(level / loss.threshold, 0, 1)
    columns = [jnp.mean(shown[:, places], axis=-1) for places in loss.expectations.columns]
    evidence = jnp.stack(columns, axis=-1)
    found = jnp.broadcast_to(jnp.max(evidence, axis=-1, keepdims=True), (len(level), classes))
    found = found.at[:, np.array(loss.expectations.classes)].set(1 - evidence)
    return jax.lax.stop_gradient(found)


@eqx.filter_jit
def _levels(
    loss: FrequencyConsistencyLoss,
    signals: Array,
    speed: Array,
    orders: Array | None,
    absolute: bool,
) -> Float[Array, "batch shown"]:
    """dB of each line and band, over the noise or over 1; NaN for recordings not foreseen."""
    expected, finite = loss.expectations, jnp.all(jnp.isfinite(signals), axis=-1)
    if not absolute:  # what is measured over the noise has no unit
        signals = unit_free(et.widened(signals))
    power, width = _power(signals, expected.sample_rate, loss.spectrum)
    speed = jnp.asarray(speed, power.dtype)
    low, high = expected.speeds
    known = finite & (speed >= low * (1 - 1e-6)) & (speed <= high * (1 + 1e-6))
    if expected.named:
        table = np.array([list(bearing) for bearing in expected.bearings], power.dtype)
        orders = jnp.broadcast_to(table[0], (len(power), 4)) if orders is None else orders
        orders = jnp.asarray(orders, power.dtype)
        known &= jnp.all(orders >= table.min(0) * (1 - 1e-3), axis=1)
        known &= jnp.all(orders <= table.max(0) * (1 + 1e-3), axis=1)
    levels = [jnp.zeros((len(power), 0), power.dtype)]
    lines = expected.lines(speed, orders)
    if lines:
        of = peak_power if absolute else prominence
        levels.append(of(power, width, jnp.stack(lines, axis=-1), expected.tolerance))
    noise = jnp.ones_like(power[:, 0]) if absolute else jnp.median(background(power), axis=-1)
    for first, last in expected.bands:
        at = np.arange(power.shape[-1]) * width
        mean = jnp.mean(power[:, (at >= first) & (at <= last)], axis=-1)
        tiny = jnp.finfo(power.dtype).tiny
        levels.append(10 * jnp.log10(jnp.maximum(mean / jnp.maximum(noise, tiny), tiny))[:, None])
    return jnp.where(known[:, None], jnp.concatenate(levels, axis=-1), jnp.nan)


def _power(signals: Array, sample_rate: float, spectrum: SpectrumOf) -> tuple[Array, float]:
    """Squared amplitudes, and the width of a bin in Hz."""
    if spectrum == "envelope":
        found = squared_envelope_spectrum(signals, sample_rate)
        return jnp.square(found.amplitudes), float(found.frequencies[1])
    values = et.widened(signals)
    taper = np.hanning(values.shape[-1] + 2)[1:-1]
    taper = jnp.asarray(2 * taper / taper.sum(), values.dtype)
    half = jnp.fft.rfft((values - jnp.mean(values, axis=-1, keepdims=True)) * taper)
    return jnp.square(half.real) + jnp.square(half.imag), sample_rate / values.shape[-1]
