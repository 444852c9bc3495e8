"""Increasing functions of one value each, whose numbers a network gives: affine ones and splines.

`forward` goes from data to noise. Numbers that are all 0 give the identity, so that a network whose
last layer is 0 begins there.
"""

import math
from typing import NamedTuple, Protocol, final, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

import etude as et
from etude.systems.generative.checks import positive_of, sizes_of

#: Least share of the interval that a bin of a spline has, and least slope at a knot.
LEAST_BIN, LEAST_SLOPE = 1e-3, 1e-3
#: The log scale of an affine function is between minus this and this.
MOST_LOG_SCALE = 5.0


@runtime_checkable
class Elementwise(Protocol):
    """A family of increasing functions; `numbers` says how many numbers choose one."""

    @property
    def numbers(self) -> int: ...

    def forward(
        self, raw: Float[Array, "*many n numbers"], x: Float[Array, "*many n"]
    ) -> tuple[Float[Array, "*many n"], Float[Array, "*many n"]]:
        """The values, and the logarithms of the slopes."""
        ...

    def inverse(
        self, raw: Float[Array, "*many n numbers"], y: Float[Array, "*many n"]
    ) -> Float[Array, "*many n"]:
        """The x whose value is y."""
        ...


@final
class Affine(eqx.Module):
    """(x - shift) exp(-log scale), the log scale bounded smoothly (Dinh et al. 2017).

    >>> raw = jnp.array([[[2.0, 0.0]]])  # shift and log scale of one value
    >>> values, logs = Affine().forward(raw, jnp.array([[5.0]]))
    >>> values.tolist(), logs.tolist(), Affine().inverse(raw, values).tolist()
    ([[3.0]], [[-0.0]], [[5.0]])
    """

    @property
    def numbers(self) -> int:
        """Shift and log scale."""
        return 2

    def forward(
        self, raw: Float[Array, "*many n numbers"], x: Float[Array, "*many n"]
    ) -> tuple[Float[Array, "*many n"], Float[Array, "*many n"]]:
        """The values, and the logarithms of the slopes."""
        log_scale = _bounded(raw[..., 1])
        return (x - raw[..., 0]) * jnp.exp(-log_scale), -log_scale

    def inverse(
        self, raw: Float[Array, "*many n numbers"], y: Float[Array, "*many n"]
    ) -> Float[Array, "*many n"]:
        """The x whose value is y."""
        return y * jnp.exp(_bounded(raw[..., 1])) + raw[..., 0]


def _bounded(raw: Float[Array, "..."]) -> Float[Array, "..."]:
    return MOST_LOG_SCALE * jnp.tanh(raw / MOST_LOG_SCALE)


class _Bin(NamedTuple):
    """The bin of each value: its lower corner, its size, and the slopes at both of its ends."""

    x: Array
    y: Array
    width: Array
    height: Array
    slope: Array
    next_slope: Array


@final
class Spline(eqx.Module):
    """Rational-quadratic splines on an interval, outside the identity (Durkan et al. 2019).

    >>> raw = jnp.zeros((1, 2, Spline().numbers))
    >>> values, logs = Spline().forward(raw, jnp.array([[0.5, 9.0]]))
    >>> [round(float(v), 3) for v in values[0]], bool(jnp.all(jnp.abs(logs) < 1e-6))
    ([0.5, 9.0], True)

    Attributes:
        bins: number of bins.
        reach: the interval is from -reach to reach.
    """

    bins: int = eqx.field(static=True, default=8)
    reach: float = eqx.field(static=True, default=4.0)

    def __check_init__(self):
        sizes_of("Spline", least=2, bins=self.bins)
        positive_of("Spline", reach=self.reach)
        if self.bins * LEAST_BIN >= 1:
            raise et.ConfigurationError(
                f"Spline: bins must be below {1 / LEAST_BIN:g}; got {self.bins}."
            )

    @property
    def numbers(self) -> int:
        """Widths and heights of the bins, and slopes at the inner knots."""
        return 3 * self.bins - 1

    def forward(
        self, raw: Float[Array, "*many n numbers"], x: Float[Array, "*many n"]
    ) -> tuple[Float[Array, "*many n"], Float[Array, "*many n"]]:
        """The values, and the logarithms of the slopes."""
        within = jnp.clip(x, -self.reach, self.reach)
        bin = self._bin(raw, within, of_y=False)
        share = (within - bin.x) / bin.width
        mean, rest = bin.height / bin.width, 1 - share
        below = mean + (bin.slope + bin.next_slope - 2 * mean) * share * rest
        y = bin.y + bin.height * (mean * share**2 + bin.slope * share * rest) / below
        above = bin.next_slope * share**2 + 2 * mean * share * rest + bin.slope * rest**2
        logs = 2 * jnp.log(mean) + jnp.log(above) - 2 * jnp.log(below)
        inside = jnp.abs(x) < self.reach
        return jnp.where(inside, y, x), jnp.where(inside, logs, 0.0)

    def inverse(
        self, raw: Float[Array, "*many n numbers"], y: Float[Array, "*many n"]
    ) -> Float[Array, "*many n"]:
        """The x whose value is y."""
        within = jnp.clip(y, -self.reach, self.reach)
        bin = self._bin(raw, within, of_y=True)
        mean, risen = bin.height / bin.width, within - bin.y
        bend = risen * (bin.slope + bin.next_slope - 2 * mean)
        a = bin.height * (mean - bin.slope) + bend
        b = bin.height * bin.slope - bend
        c = -mean * risen
        # The root in [0, 1], in the form that does not cancel.
        root = jnp.sqrt(jnp.maximum(b**2 - 4 * a * c, 0.0))
        x = bin.x + bin.width * 2 * c / (-b - root)
        return jnp.where(jnp.abs(y) < self.reach, x, y)

    def _bin(self, raw: Array, values: Array, *, of_y: bool) -> _Bin:
        """Of each value, by its x or by its y."""
        count = self.bins
        widths, heights = (self._sizes(raw[..., :count]), self._sizes(raw[..., count : 2 * count]))
        xs, ys = self._knots(widths), self._knots(heights)
        # Raw 0 is the slope 1, as at both ends.
        one = math.log(math.expm1(1 - LEAST_SLOPE))
        inner = LEAST_SLOPE + jax.nn.softplus(raw[..., 2 * count :] + one)
        end = jnp.ones_like(inner[..., :1])
        slopes = jnp.concatenate([end, inner, end], axis=-1)
        lower = (ys if of_y else xs)[..., 1:]
        number = jnp.sum(values[..., None] >= lower, axis=-1, keepdims=True)
        chosen = jax.nn.one_hot(number[..., 0], count, dtype=raw.dtype)

        def of(each: Array) -> Array:
            return jnp.sum(each * chosen, axis=-1)

        return _Bin(
            of(xs), of(ys), of(widths), of(heights), of(slopes[..., :-1]), of(slopes[..., 1:])
        )

    def _sizes(self, raw: Array) -> Array:
        share = LEAST_BIN + (1 - self.bins * LEAST_BIN) * jax.nn.softmax(raw, axis=-1)
        return 2 * self.reach * share

    def _knots(self, sizes: Array) -> Array:
        """The lower end of each bin."""
        ends = jnp.cumsum(sizes, axis=-1) - self.reach
        return jnp.concatenate([jnp.full_like(ends[..., :1], -self.reach), ends[..., :-1]], -1)
