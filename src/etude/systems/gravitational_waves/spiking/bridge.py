"""The bridge from features to spikes.

>>> bridge = SpikeBridge(threshold=0.1, encoding="temporal_contrast")
>>> spikes = bridge(jnp.sin(jnp.arange(20.0))[:, None])
>>> spikes.shape, set(spikes.ravel().tolist()) == {0.0, 1.0}
((20, 2), True)
"""

from typing import Literal, get_args

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

import etude as et
from etude.errors import suggest
from etude.systems.gravitational_waves.spiking import encodings
from etude.systems.gravitational_waves.spiking.positive import Positive
from etude.systems.gravitational_waves.spiking.surrogate import AbstractSurrogate, FastSigmoid

Encoding = Literal["temporal_contrast", "delta", "rate", "latency", "multi_threshold", "phase"]


class SpikeBridge(eqx.Module):
    """Turns features over time into spikes over time: `(time, features) -> (time', channels)`.

    Every spike is 0 or 1 exactly; ON and OFF events have channels of their own. See
    `encodings.py` for what the encodings do.

    Args:
        threshold: what features must exceed to spike; the lowest one, where there are several.
        encoding: how features become spikes, by name.
        levels: number of thresholds of `multi_threshold` and `phase`: threshold x 1, 2, 4, 8...
        steps: time steps that each step of the features becomes, in `rate` and `latency`.
        learnable: the thresholds are learnt. Those of several levels stay in order.
        surrogate: stands for the derivative of a spike, at ``x / threshold - 1``. `rate` does
            without.

    Raises:
        ValueError: the encoding is unknown, or a number out of its range.

    >>> SpikeBridge(encoding="latency", steps=4)(jnp.ones((5, 3))).shape
    (20, 6)
    """

    threshold: Positive
    encoding: str = eqx.field(static=True)
    steps: int = eqx.field(static=True)
    surrogate: AbstractSurrogate = eqx.field(static=True)

    def __init__(
        self,
        threshold: float = 0.1,
        encoding: Encoding | str = "temporal_contrast",
        *,
        levels: int = 4,
        steps: int = 8,
        learnable: bool = False,
        surrogate: AbstractSurrogate = FastSigmoid(),  # noqa: B008
    ):
        if encoding not in get_args(Encoding):
            cure = suggest(encoding, get_args(Encoding))
            raise ValueError(f"SpikeBridge: encoding {encoding!r} is unknown. {cure}")
        for name, number in (("levels", levels), ("steps", steps)):
            if number < 1:
                raise ValueError(f"SpikeBridge: {name}={number}; expected at least 1.")
        self.encoding, self.surrogate = encoding, surrogate
        self.steps = steps if encoding in ("rate", "latency") else 1
        several = encoding in ("multi_threshold", "phase")
        # The distances between levels, so that learning keeps them in order.
        shape = (levels,) if several else ()
        gaps = np.diff(threshold * 2.0 ** np.arange(levels), prepend=0) if several else threshold
        self.threshold = Positive("SpikeBridge: threshold", gaps, shape, learnable)

    @property
    def thresholds(self) -> Float[Array, "..."]:
        """The threshold; for `multi_threshold` and `phase` all of them, ascending."""
        values = self.threshold.value
        return jnp.cumsum(values) if values.ndim else values

    def channels(self, features: int) -> int:
        """How many channels so many features become.

        >>> SpikeBridge(encoding="phase", levels=3).channels(10)
        60
        """
        return 2 * features * self.thresholds.size

    def __call__(
        self, x: Float[Array, "time features"], *, key: PRNGKeyArray | None = None
    ) -> Float[Array, "steps channels"]:
        """Spikes of one sample, in the precision of `x`; `key` is for `rate`, which draws.

        They are found in at least float32, so that in half precision no change is lost beside a
        threshold, and no probability.

        Raises:
            ValueError: `rate` without a key.
        """
        exact = et.widened(x)
        spikes = self._events(exact, self.thresholds.astype(exact.dtype), key)
        return spikes.reshape(spikes.shape[0], -1).astype(x.dtype)

    def _events(self, x: Array, threshold: Array, key: PRNGKeyArray | None) -> Array:
        match self.encoding:
            case "temporal_contrast":
                return encodings.temporal_contrast(x, threshold, self.surrogate)
            case "delta":
                return encodings.delta(x, threshold, self.surrogate)
            case "rate":
                if key is None:
                    raise ValueError("SpikeBridge: encoding 'rate' draws its spikes; pass key=.")
                return encodings.rate(x, threshold, self.steps, key)
            case "latency":
                return encodings.latency(x, threshold, self.steps, self.surrogate)
            case "multi_threshold":
                return encodings.multi_threshold(x, threshold, self.surrogate)
            case _:
                return encodings.phase(x, threshold, self.surrogate)
