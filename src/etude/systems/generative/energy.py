"""Energy-based models: p(x) = exp(-E(x)) / Z, where only the energy E is a network.

>>> model = EnergyModel.create(jax.random.key(0), (2,), hidden=(16,), chains=32)
>>> model.energy(jnp.zeros((5, 2))).shape, model.sample(jax.random.key(1), 3).shape
((5,), (3, 2))
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

import etude as et
from etude.inputs import concrete
from etude.systems.generative.backbones import still
from etude.systems.generative.checks import (
    count_of,
    model_of,
    positive_of,
    shapes_of,
    sizes_of,
    weights_of,
)
from etude.systems.generative.examples import read_examples
from etude.systems.generative.langevin import Langevin
from etude.systems.generative.perceptron import Perceptron

#: Energies computed at one time by a quadrature.
_AT_ONCE = 4096
#: Log density at the edge of a quadrature, relative to the highest, from which on it counts.
_NEGLIGIBLE = -10.0
#: Logarithm of the share that one point of an axis may have: a normal density that is sampled so
#: finely has its constant to three digits.
_LARGEST_SHARE = math.log(0.45)


@final
class EnergyModel(eqx.Module):
    """A network beside the energy of a normal density: E(x) = net(x) + |x|^2 / (2 width^2).

    A perceptron grows no faster than |x|, so that Z is finite whatever the weights. Batches are
    arrays or dictionaries with "images"; examples are real numbers around 0.

    Attributes:
        net: rows of values -> a number each.
        chains: persistent chains, or None; an `etude.Carry` that `Contrastive` moves.
        shape: of an example.
        width: standard deviation of the normal density.
        inference: whether the chains stand still, as in every validation.
    """

    net: Callable[[Array], Array]
    chains: et.Carry | None
    shape: tuple[int, ...] = eqx.field(static=True)
    width: float = eqx.field(static=True)
    inference: bool

    @classmethod
    def create(
        cls,
        key: Key[Array, ""],
        shape: Sequence[int],
        *,
        hidden: Sequence[int] = (128, 128),
        chains: int = 0,
        width: float = 2.0,
    ) -> "EnergyModel":
        """An untrained model; its chains begin as samples of the normal density.

        Raises:
            ConfigurationError: sizes below 1, a number of chains below 0, or a width that is not
                positive.
        """
        shapes_of("EnergyModel", shape=shape, hidden=hidden)
        sizes_of("EnergyModel", least=0, chains=chains)
        positive_of("EnergyModel", width=width)
        first, second = jax.random.split(key)
        values = math.prod(shape)
        start = width * jax.random.normal(second, (chains, values))
        return cls(
            Perceptron(values, tuple(hidden), 1, key=first),
            et.Carry(start) if chains else None,
            tuple(shape),
            width,
            inference=False,
        )

    def read(self, batch: Any) -> Float[Array, "batch values"]:
        """Examples as rows of floats. Raises `DataError` for what cannot be."""
        x, _ = read_examples("EnergyModel", batch, self.shape, 0)
        if not jnp.issubdtype(x.dtype, jnp.floating):
            raise et.DataError(
                f"EnergyModel: examples are real numbers; got {x.dtype}. Give floats, standardised."
            )
        return jnp.asarray(x)

    def energy(self, x: Float[Array, "n values"]) -> Float[Array, " n"]:
        """The energy of rows of values, in nats: -log p(x) - log Z."""
        return self.net(x)[..., 0] + 0.5 * (x**2).sum(-1) / self.width**2

    def score(self, x: Float[Array, "n values"]) -> Float[Array, "n values"]:
        """The gradient of log p at rows of values, of each by itself."""
        return -jax.grad(lambda x: self.energy(x).sum())(x)

    def log_partition(self, *, edge: float | None = None, points: int = 400) -> Float[Array, ""]:
        """log Z in nats, by the trapezoid rule; for examples of one or two values.

        Args:
            edge: the quadrature goes from -edge to edge; None: six widths of the normal density.
            points: of each axis.

        A grid that misses some of the density is refused. Under jit, where no value can be seen,
        the result is NaN instead.

        Raises:
            ConfigurationError: examples of more values; an edge that is not positive or fewer than
                three points; a density that goes on beyond the edge, or falls between the points.
        """
        owner = "EnergyModel.log_partition"
        values = math.prod(self.shape)
        if values > 2:
            raise et.ConfigurationError(
                f"{owner}: takes at most two values; got {values}. For more there is no quadrature."
            )
        edge = 6 * self.width if edge is None else edge
        positive_of(owner, edge=edge)
        sizes_of(owner, least=3, points=points)
        axis = jnp.linspace(-edge, edge, points)
        grid = jnp.stack([a.ravel() for a in jnp.meshgrid(*[axis] * values)], axis=-1)
        logs = jax.lax.map(lambda x: -self.energy(x[None])[0], grid, batch_size=_AT_ONCE)
        total, most = jax.nn.logsumexp(logs), logs.max()
        inner = np.zeros((points,) * values, bool)
        inner[(slice(1, -1),) * values] = True
        cut = jnp.where(inner.ravel(), -jnp.inf, logs).max() - most > _NEGLIGIBLE
        coarse = most - total > values * _LARGEST_SHARE
        for problem, cure in [(cut, "edge"), (coarse, "number of points")]:
            seen = concrete(problem)
            if seen is not None and seen.any():
                raise et.ConfigurationError(
                    f"{owner}: {points} points from {-edge:g} to {edge:g} miss some of the "
                    f"density. Give a larger {cure}."
                )
        found = total + values * math.log(2 * edge / (points - 1))
        return jnp.where(cut | coarse, jnp.nan, found)

    def log_prob(
        self, batch: Any, *, edge: float | None = None, points: int = 400
    ) -> Float[Array, " batch"]:
        """log p(x) of each example, in nats; see `log_partition` for the settings and errors."""
        return -self.energy(self.read(batch)) - self.log_partition(edge=edge, points=points)

    def sample(
        self, key: Key[Array, ""], count: int, *, langevin: Langevin | None = None
    ) -> Float[Array, "count ..."]:
        """Examples, which chains reach from the persistent ones or from the normal density.

        Args:
            key: random key.
            count: how many.
            langevin: the steps; None: 1000 adjusted ones.

        Raises:
            ConfigurationError: a count below 1.
        """
        count_of("EnergyModel.sample", count)
        first, second = jax.random.split(key)
        if self.chains is None:
            start = self.width * jax.random.normal(first, (count, math.prod(self.shape)))
        else:
            start = jax.random.choice(first, self.chains.value, (count,))
        x, _ = (Langevin(1000) if langevin is None else langevin)(self.energy, second, start)
        return x.reshape(count, *self.shape)


@dataclass(frozen=True)
class Contrastive:
    """The loss of contrastive divergence: E(data) - E(chains), in nats per example.

    Its gradient is that of -log p(x) where the chains are samples of the model. They begin at the
    data of the batch (Hinton 2002); if the model has chains of its own, at these, which persist
    (Tieleman 2008) and come back in the model. No gradient goes through the steps.

    Attributes:
        langevin: the steps of the chains.
        decay: weight of E(data)^2 + E(chains)^2 (Du and Mordatch 2019), which keeps energies
            near 0.

    Metrics: `loss`; `data` and `chains`, their mean energies; `accepted`, a share of the steps.

    Raises:
        ConfigurationError: a decay that is negative or infinite.
    """

    langevin: Langevin = field(default_factory=Langevin)
    decay: float = 0.0

    def __post_init__(self) -> None:
        weights_of("Contrastive", decay=self.decay)

    def check_data(self, model: Any, batch: Any) -> None:
        """Refuses examples and labels out of their range, before the training."""
        model_of("Contrastive", model, EnergyModel).read(batch)

    def __call__(
        self, model: Any, batch: Any, context: et.Context
    ) -> tuple[Float[Array, ""], dict[str, Array], EnergyModel]:
        """The loss, its metrics, and the model with its chains moved."""
        model = model_of("Contrastive", model, EnergyModel)
        x = model.read(batch)
        start = x if model.chains is None else model.chains.value
        ends, accepted = self.langevin(still(model).energy, context.key, start)
        data, chains = model.energy(x), model.energy(ends)
        loss = data.mean() - chains.mean()
        if self.decay:
            loss = loss + self.decay * ((data**2).mean() + (chains**2).mean())
        metrics = {"data": data.mean(), "chains": chains.mean(), "accepted": accepted}
        if model.chains is not None and not model.inference:
            model = eqx.tree_at(lambda m: m.chains, model, et.Carry(ends))
        return loss, metrics, model


@dataclass(frozen=True)
class DenoisingScore:
    """The loss of denoising score matching (Vincent 2011): E|score(x + scale e) + e / scale|^2.

    Summed over the values of an example, e normal noise. Its minimum is the score of the data with
    that noise: the model's density is wider than that of the data.

    Attributes:
        scale: standard deviation of the noise.

    Raises:
        ConfigurationError: a scale that is not positive.
    """

    scale: float = 0.1

    def __post_init__(self) -> None:
        positive_of("DenoisingScore", scale=self.scale)

    def check_data(self, model: Any, batch: Any) -> None:
        """Refuses examples and labels out of their range, before the training."""
        model_of("DenoisingScore", model, EnergyModel).read(batch)

    def __call__(
        self, model: Any, batch: Any, context: et.Context
    ) -> tuple[Float[Array, ""], dict[str, Array]]:
        """The loss, and no other metrics."""
        model = model_of("DenoisingScore", model, EnergyModel)
        x = model.read(batch)
        noise = jax.random.normal(context.key, x.shape, x.dtype)
        found = model.score(x + self.scale * noise)
        return ((found + noise / self.scale) ** 2).sum(-1).mean(), {}
