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
from typing import Literal, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

import etude as et
from etude.errors import suggest
from etude.systems.machinery.bearings import CHARACTERISTIC, SLIP, Orders
from etude.systems.machinery.quantities import check_positive
from etude.systems.machinery.signals import prominence, squared_envelope_spectrum

#: What a class shows: a line at a multiple of the shaft's speed (a number), a characteristic
#: frequency of the bearing and its harmonics (its name), or power from one frequency to another
#: (two numbers, Hz).
Expected: TypeAlias = float | str | tuple[float, float]


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
    spectrum of the squared envelope; tones of the shaft itself are in the raw one.

    Attributes:
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
            name, a name without bearings, a line past half the sample rate, or a setting that is
            no positive number.
    """

    expected_freqs: tuple[tuple[int, tuple[Expected, ...]], ...] = eqx.field(static=True)
    sample_rate: float = eqx.field(static=True)
    tolerance: float = eqx.field(static=True)
    speeds: tuple[float, float] = eqx.field(static=True)
    bearings: tuple[Orders, ...] = eqx.field(static=True)
    spectrum: Literal["envelope", "raw"] = eqx.field(static=True)
    harmonics: int = eqx.field(static=True)
    threshold: float = eqx.field(static=True)

    def __init__(
        self,
        expected_freqs: Mapping[int, Sequence[Expected]],
        sample_rate: float = 20480,
        tolerance: float = SLIP,
        *,
        speeds: tuple[float, float],
        bearings: Sequence[Orders] = (),
        spectrum: Literal["envelope", "raw"] = "envelope",
        harmonics: int = 3,
        threshold: float = 10.0,
    ):
        self.expected_freqs = tuple(
            (number, tuple(shown)) for number, shown in sorted(expected_freqs.items()) if shown
        )
        self.sample_rate = sample_rate
        self.tolerance = tolerance
        self.speeds = speeds
        self.bearings = tuple(bearings)
        self.spectrum = spectrum
        self.harmonics = harmonics
        self.threshold = threshold
        self._check()

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
        self.check_length(signals.shape[-1])
        listed = [number for number, _ in self.expected_freqs]
        if listed[-1] >= classes or listed[0] < 0:
            raise et.ConfigurationError(
                f"FrequencyConsistencyLoss: expected_freqs has classes {listed} for {classes} "
                f"logits; expected 0 to {classes - 1}."
            )
        if orders is None and self.named and len(self.bearings) > 1:
            raise et.ConfigurationError(
                f"FrequencyConsistencyLoss: {len(self.bearings)} bearings, but no orders for each "
                "recording. Pass orders=."
            )
        if orders is not None and not self.named:
            raise et.ConfigurationError(
                "FrequencyConsistencyLoss: got orders, but expected_freqs names no frequency of a "
                "bearing. Leave them out."
            )
        return self._penalties(signals, speed, orders, classes)

    @eqx.filter_jit
    def _penalties(
        self, signals: Array, speed: Array, orders: Array | None, classes: int
    ) -> Float[Array, "batch classes"]:
        power, resolution = self._power(signals)
        speed = jnp.asarray(speed, power.dtype)
        listed = [number for number, _ in self.expected_freqs]
        evidence = self._evidence(power, resolution, speed, self._orders(orders, power))
        best = jnp.max(evidence, axis=-1, keepdims=True)
        found = (
            jnp.broadcast_to(best, (len(power), classes)).at[:, np.array(listed)].set(1 - evidence)
        )
        low, high = self.speeds
        known = (speed >= low * (1 - 1e-6)) & (speed <= high * (1 + 1e-6))
        if orders is not None:
            table = np.array([list(bearing) for bearing in self.bearings], power.dtype)
            known &= jnp.all(orders >= table.min(0) * (1 - 1e-3), axis=1)
            known &= jnp.all(orders <= table.max(0) * (1 + 1e-3), axis=1)
        return jax.lax.stop_gradient(jnp.where(known[:, None], found, jnp.nan))

    def check_length(self, samples: int) -> None:
        """Raises ConfigurationError for a window whose bins are wider than a band.

        >>> loss = FrequencyConsistencyLoss({1: [1.0]}, 1000, 0.1, speeds=(20.0, 50.0))
        >>> loss.check_length(500)
        """
        narrowest = min(self._widths())
        needed = int(np.ceil(self.sample_rate / narrowest - 1e-6))
        if samples < needed:
            raise et.ConfigurationError(
                f"FrequencyConsistencyLoss: windows of {samples} samples at {self.sample_rate:g} "
                f"Hz have bins of {self.sample_rate / samples:.3g} Hz, but a band is only "
                f"{narrowest:.3g} Hz to either side of its line; expected {needed} samples or "
                "more. Take longer windows, or a larger tolerance."
            )

    def _power(self, signals: Array) -> tuple[Array, float]:
        """Squared amplitudes, and the width of a bin in Hz."""
        if self.spectrum == "envelope":
            found = squared_envelope_spectrum(signals, self.sample_rate)
            return jnp.square(found.amplitudes), float(found.frequencies[1])
        values = et.widened(signals)
        taper = jnp.asarray(np.hanning(values.shape[-1] + 2)[1:-1], values.dtype)
        half = jnp.fft.rfft((values - jnp.mean(values, axis=-1, keepdims=True)) * taper)
        return jnp.square(half.real) + jnp.square(half.imag), self.sample_rate / values.shape[-1]

    def _evidence(
        self, power: Array, resolution: float, speed: Array, orders: Array | None
    ) -> Array:
        """How far the lines of each listed class are there, 0 to 1: [batch, listed classes]."""
        lines: list[Array] = []
        bands: list[Array] = []
        places: list[tuple[slice, slice]] = []
        for _, shown in self.expected_freqs:
            first_line, first_band = len(lines), len(bands)
            for entry in shown:
                if isinstance(entry, tuple):
                    bands.append(_band_level(power, resolution, *entry))
                elif isinstance(entry, str):
                    assert orders is not None  # or it would have been refused
                    order = orders[:, CHARACTERISTIC.index(entry)]
                    lines += [speed * order * k for k in range(1, self.harmonics + 1)]
                else:
                    lines.append(speed * entry)
            places.append((slice(first_line, len(lines)), slice(first_band, len(bands))))
        empty = jnp.zeros((len(power), 0), power.dtype)
        of_bands = jnp.stack(bands, axis=-1) if bands else empty
        of_lines = empty
        if lines:
            centres = jnp.stack(lines, axis=-1)
            of_lines = prominence(power, resolution, centres, self.tolerance)
        columns = []
        for at_lines, at_bands in places:
            level = jnp.concatenate([of_lines[:, at_lines], of_bands[:, at_bands]], axis=-1)
            columns.append(jnp.mean(jnp.clip(level / self.threshold, 0, 1), axis=-1))
        return jnp.stack(columns, axis=-1)

    def _orders(self, orders: Array | None, power: Array) -> Array | None:
        if orders is not None:
            return jnp.asarray(orders, power.dtype)
        if not self.named:
            return None
        row = jnp.asarray(list(self.bearings[0]), power.dtype)
        return jnp.broadcast_to(row, (len(power), 4))

    @property
    def named(self) -> list[str]:
        """The characteristic frequencies that are expected, which need the orders of a bearing."""
        entries = [entry for _, shown in self.expected_freqs for entry in shown]
        return [entry for entry in entries if isinstance(entry, str)]

    def _multiples(self) -> list[float]:
        """The multiples of the speed at which lines may lie."""
        entries = [entry for _, shown in self.expected_freqs for entry in shown]
        found = [float(entry) for entry in entries if not isinstance(entry, (str, tuple))]
        for name in self.named:
            at = CHARACTERISTIC.index(name)
            for bearing in self.bearings:
                found += [tuple(bearing)[at] * k for k in (1, self.harmonics)]
        return found

    def _widths(self) -> list[float]:
        """Hz; for a line to either side, for a band half of its width."""
        entries = [entry for _, shown in self.expected_freqs for entry in shown]
        bands = [(entry[1] - entry[0]) / 2 for entry in entries if isinstance(entry, tuple)]
        return bands + [self.tolerance * self.speeds[0] * order for order in self._multiples()]

    def _check(self) -> None:
        owner = "FrequencyConsistencyLoss"
        low, high = self.speeds
        check_positive(
            owner,
            sample_rate=self.sample_rate,
            tolerance=self.tolerance,
            speed=np.array(self.speeds),
            harmonics=self.harmonics,
            threshold=self.threshold,
        )
        problems = []
        if low > high:
            problems.append(f"got speeds={self.speeds}, expected the slower first.")
        if self.tolerance >= 0.5:
            problems.append(f"got tolerance={self.tolerance}, expected a fraction below 0.5.")
        if self.spectrum not in ("envelope", "raw"):
            problems.append(f"got spectrum={self.spectrum!r}, expected 'envelope' or 'raw'.")
        if not self.expected_freqs:
            problems.append("got expected_freqs without a single line.")
        for name in set(self.named) - set(CHARACTERISTIC):
            problems.append(f"there is no frequency {name!r}. {suggest(name, CHARACTERISTIC)}")
        if self.named and not self.bearings:
            problems.append(
                "the frequencies are named; pass bearings=[...], whose orders they have."
            )
        seen: dict[tuple[Expected, ...], int] = {}
        for number, shown in self.expected_freqs:
            if shown in seen:
                problems.append(
                    f"classes {seen[shown]} and {number} show the same, {list(shown)}: nothing "
                    "tells them apart."
                )
            seen[shown] = number
        if problems:
            raise et.ConfigurationError("\n".join(f"{owner}: {text}" for text in problems))
        top = max([order * high for order in self._multiples()] + [0.0]) * (1 + self.tolerance)
        entries = [entry for _, shown in self.expected_freqs for entry in shown]
        top = max([top] + [entry[1] for entry in entries if isinstance(entry, tuple)])
        if top > self.sample_rate / 2 or min(self._widths()) <= 0:
            raise et.ConfigurationError(
                f"{owner}: a line lies at up to {top:g} Hz, expected above 0 and at most "
                f"{self.sample_rate / 2:g}, half the sample rate. Take fewer harmonics."
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


def _band_level(power: Array, resolution: float, low: float, high: float) -> Array:
    """The mean power of a band over that of the noise, in dB."""
    at = np.arange(power.shape[-1]) * resolution
    inside = (at >= low) & (at <= high)
    noise = jnp.median(power[..., 1:], axis=-1) / np.log(2).astype(power.dtype)
    mean = jnp.mean(power[..., inside], axis=-1)
    tiny = jnp.finfo(power.dtype).tiny
    return 10 * jnp.log10(jnp.maximum(mean / jnp.maximum(noise, tiny), 1e-12))
