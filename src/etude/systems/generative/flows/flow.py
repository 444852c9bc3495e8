"""Normalising flows: invertible layers between data and a standard normal density.

>>> model = Flow.create(jax.random.key(0), (2,), layers=3, hidden=(8,))
>>> model.log_prob(jnp.zeros((5, 2))).shape, model.sample(jax.random.key(1), 4).shape
((5,), (4, 2))
"""

import math
from collections.abc import Sequence
from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

import etude as et
from etude.inputs import concrete
from etude.inputs.arrays import read
from etude.systems.generative.checks import shapes_of, sizes_of, temperature_of
from etude.systems.generative.examples import read_examples, sample_labels
from etude.systems.generative.flows.elementwise import Elementwise, Spline
from etude.systems.generative.flows.layers import Autoregressive, Coupling

HALF_LOG_TAU = 0.5 * math.log(2 * math.pi)


@final
class Flow(eqx.Module):
    """A normalising flow, with an exact log p(x).

    Layers of one kind, the order of the values reversed after each; they are stacked, so that one
    is compiled. A `Flow` of `Affine` couplings is RealNVP (Dinh et al. 2017), of autoregressive
    `Affine` layers MAF (Papamakarios et al. 2017), of `Spline` couplings a neural spline flow
    (Durkan et al. 2019). With classes, labels reach every layer.

    Attributes:
        layers: stacked; every array has an axis of layers before its own.
        location: what is subtracted from data, then
        scale: what they are divided by.
        shape: of an example.
        classes: number of classes; 0 for a model without labels.
    """

    layers: Coupling | Autoregressive
    location: et.Fixed
    scale: et.Fixed
    shape: tuple[int, ...] = eqx.field(static=True)
    classes: int = eqx.field(static=True)

    @classmethod
    def create(
        cls,
        key: Key[Array, ""],
        shape: Sequence[int],
        *,
        elementwise: Elementwise | None = None,
        autoregressive: bool = False,
        layers: int = 8,
        hidden: Sequence[int] = (64, 64),
        classes: int = 0,
        location: Any = 0.0,
        scale: Any = 1.0,
    ) -> "Flow":
        """An untrained model: the normal density of mean `location` and deviation `scale`.

        Args:
            key: random key of the weights.
            shape: of an example.
            elementwise: the functions of the values; None: `Spline()`.
            autoregressive: whether each value chooses the functions of all after it, rather than
                one half those of the other; samples then take a pass for each value.
            layers: how many.
            hidden: widths of the network in each.
            classes: of a conditional model.
            location: mean of the data, one number or one for each value; never trained.
            scale: standard deviation of the data, as `location`.

        Raises:
            ConfigurationError: sizes below 1, a coupling of a single value, classes below 0,
                location or scale of another number or not finite, or a scale that is not positive.
        """
        shapes_of("Flow", shape=shape, hidden=hidden)
        sizes_of("Flow", layers=layers)
        sizes_of("Flow", least=0, classes=classes)
        values = math.prod(shape)
        if values < 2 and not autoregressive:
            raise et.ConfigurationError("Flow: a coupling needs two values; set autoregressive.")
        place, width = _row("location", location, values), _row("scale", scale, values)
        seen = concrete(width)
        if seen is not None and not (seen > 0).all():
            raise et.ConfigurationError("Flow: scale must be positive.")
        kind = Autoregressive if autoregressive else Coupling
        functions = Spline() if elementwise is None else elementwise

        def layer(key: Array) -> Any:
            return kind.create(key, values, functions, hidden=hidden, context=classes)

        return cls(
            eqx.filter_vmap(layer)(jax.random.split(key, layers)),
            et.Fixed(place),
            et.Fixed(width),
            tuple(shape),
            classes,
        )

    def read(self, batch: Any) -> tuple[Float[Array, "batch values"], Array | None]:
        """Examples as rows of floats, and rows of labels. Raises `DataError` for what cannot be."""
        x, labels = read_examples("Flow", batch, self.shape, self.classes)
        if not jnp.issubdtype(x.dtype, jnp.floating):
            raise et.DataError(
                f"Flow: a density needs real values; got {x.dtype}. Give floats or, for levels of "
                "a picture, NegativeLogLikelihood(levels=256), which adds noise to them."
            )
        return jnp.asarray(x), labels

    def forward(
        self, x: Float[Array, "batch values"], labels: Array | None = None
    ) -> tuple[Float[Array, "batch values"], Float[Array, " batch"]]:
        """The noise of data, rows as `read` gives them, and log |det| of the derivative."""
        arrays, static = eqx.partition(self.layers, eqx.is_array)

        def one(carry: tuple[Array, Array], layer: Any) -> tuple[tuple[Array, Array], None]:
            z, total = carry
            z, log_det = eqx.combine(layer, static).forward(z, labels)
            return (z[:, ::-1], total + log_det), None

        z = self._widened((x - self.location.value) / self.scale.value)
        total = jnp.broadcast_to(-jnp.log(self.scale.value).sum(), len(x)).astype(z.dtype)
        return jax.lax.scan(one, (z, total), arrays)[0]

    def inverse(
        self, z: Float[Array, "batch values"], labels: Array | None = None
    ) -> Float[Array, "batch values"]:
        """The data whose `forward` is z."""
        arrays, static = eqx.partition(self.layers, eqx.is_array)

        def one(z: Array, layer: Any) -> tuple[Array, None]:
            return eqx.combine(layer, static).inverse(z[:, ::-1], labels), None

        x, _ = jax.lax.scan(one, self._widened(z), arrays, reverse=True)
        return x * self.scale.value + self.location.value

    def _widened(self, z: Float[Array, "batch values"]) -> Float[Array, "batch values"]:
        """In the dtype of the layers where that is wider: a scan gives what it takes."""
        layers = jax.tree.leaves(eqx.filter(self.layers, eqx.is_inexact_array))
        widest = max((z, *layers), key=lambda array: jnp.finfo(array.dtype).bits).dtype
        return z.astype(widest)

    def log_prob(self, batch: Any) -> Float[Array, " n"]:
        """log p(x) of each example, in nats. Raises `DataError` for what is no example."""
        z, log_det = self.forward(*self.read(batch))
        return log_det - (0.5 * z**2 + HALF_LOG_TAU).sum(1)

    def sample(
        self, key: Key[Array, ""], count: int, labels: Any = None, *, temperature: float = 1.0
    ) -> Float[Array, "count ..."]:
        """Examples drawn from the model.

        Args:
            key: random key.
            count: how many.
            labels: for a conditional model, the class of all of them, or one for each.
            temperature: scale of the noise's standard deviation; below 1, more typical examples.

        Raises:
            DataError: labels that are missing, or that the model has no use for.
            ConfigurationError: a count below 1, or a temperature below 0.
        """
        temperature_of("Flow.sample", temperature)
        rows = sample_labels("Flow.sample", labels, count, self.classes)
        z = temperature * jax.random.normal(key, (count, math.prod(self.shape)))
        return self.inverse(z, rows).reshape(count, *self.shape)


def _row(name: str, numbers: Any, values: int) -> Float[Array, " values"]:
    """One number or an example's, as a row."""
    array = jnp.asarray(read("Flow", name, numbers), jnp.float32)
    if array.size not in (1, values):
        raise et.ConfigurationError(
            f"Flow: {name} has {array.size} numbers for {values} values. Give one, or one for each "
            "value of an example."
        )
    seen = concrete(array)
    if seen is not None and not np.isfinite(seen).all():
        raise et.ConfigurationError(f"Flow: {name} must be finite.")
    return jnp.broadcast_to(array.ravel() if array.ndim else array, (values,))
