"""Autoencoders with discrete latents: a codebook, and a prior over the codes.

>>> model = VQVAE.create(jax.random.key(0), (8, 8), positions=4, codes=6, width=3, hidden=(16,))
>>> model.codes(jnp.zeros((5, 8, 8))).shape, model.sample(jax.random.key(1), 2).shape
((5, 4), (2, 8, 8))
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

import etude as et
from etude.systems.generative.checks import (
    count_of,
    model_of,
    shapes_of,
    sizes_of,
    temperature_of,
    weights_of,
)
from etude.systems.generative.examples import read_examples
from etude.systems.generative.likelihoods import Likelihood, likelihood_of
from etude.systems.generative.perceptron import Perceptron

#: Added to the counts of an averaged codebook, so that no code is divided by zero.
_SMALL = 1e-5
#: Of the averages, where none is given: the paper's.
_DECAY = 0.99


@final
class VQVAE(eqx.Module):
    """A vector-quantised autoencoder (van den Oord et al. 2017) with an autoregressive prior.

    An example becomes `positions` vectors, each replaced by the nearest of the codebook. The
    codebook learns by its gradient or, with `average`, as a running mean of the vectors that it
    replaces (appendix A.1 of the paper), which is an `etude.Carry`. The prior gives the codes one
    after the other; it is trained in a phase of its own, on the codes of the trained encoder.

    Attributes:
        encoder: examples -> vectors.
        decoder: vectors of the codebook -> outputs that the likelihood reads.
        prior: codes so far, and the position -> logits of the next code.
        codebook: the vectors, or None if they are averaged.
        average: counts and sums of the vectors of each code, or None.
        likelihood: p(x | outputs).
        shape: of an example.
        positions: codes of an example.
        inference: whether averages stand still, as in every validation.
    """

    encoder: Perceptron
    decoder: Perceptron
    prior: Perceptron
    codebook: Float[Array, "codes width"] | None
    average: et.Carry | None
    likelihood: Likelihood
    shape: tuple[int, ...] = eqx.field(static=True)
    positions: int = eqx.field(static=True)
    inference: bool

    @classmethod
    def create(
        cls,
        key: Key[Array, ""],
        shape: Sequence[int],
        *,
        positions: int = 8,
        codes: int = 32,
        width: int = 4,
        hidden: Sequence[int] = (256,),
        average: bool = False,
        likelihood: Any = None,
    ) -> "VQVAE":
        """An untrained model.

        Args:
            key: random key of the weights.
            shape: of an example.
            positions: codes of an example.
            codes: vectors of the codebook.
            width: components of a vector.
            hidden: widths of the encoder's layers, reversed in the decoder; the prior's, too.
            average: whether the codebook is a running mean rather than a parameter.
            likelihood: p(x | outputs); None: Bernoulli.

        Raises:
            ConfigurationError: sizes below 1, or a codebook of a single vector.
        """
        shapes_of("VQVAE", shape=shape, hidden=hidden)
        sizes_of("VQVAE", positions=positions, width=width)
        sizes_of("VQVAE", least=2, codes=codes)
        first, second, third, fourth = jax.random.split(key, 4)
        values, widths = math.prod(shape), tuple(hidden)
        # Close together, as the authors have it: no vector is far from all that is encoded.
        vectors = jax.random.uniform(fourth, (codes, width), minval=-1 / codes, maxval=1 / codes)
        counts = {"counts": jnp.ones(codes), "sums": vectors}
        return cls(
            Perceptron(values, widths, positions * width, key=first),
            Perceptron(positions * width, widths[::-1], values, key=second),
            Perceptron(positions * codes + positions, widths, codes, key=third),
            None if average else vectors,
            et.Carry(counts) if average else None,
            likelihood_of("VQVAE", likelihood),
            tuple(shape),
            positions,
            False,
        )

    @property
    def vectors(self) -> Float[Array, "codes width"]:
        """The codebook."""
        if self.codebook is not None:
            return self.codebook
        assert self.average is not None
        counts, sums = self.average.value["counts"], self.average.value["sums"]
        total = counts.sum()
        smooth = (counts + _SMALL) / (total + len(counts) * _SMALL) * total
        return sums / smooth[:, None]

    def read(self, batch: Any) -> Float[Array, "batch values"]:
        """Examples as rows of floats. Raises `DataError` for what cannot be."""
        x, _ = read_examples("VQVAE", batch, self.shape, 0)
        return self.likelihood.read("VQVAE", x)

    def encode(self, x: Float[Array, "batch values"]) -> Float[Array, "batch positions width"]:
        """The vectors of examples, before they are replaced."""
        return self.encoder(x).reshape(len(x), self.positions, -1)

    def nearest(
        self, vectors: Float[Array, "batch positions width"]
    ) -> Int[Array, "batch positions"]:
        """The number of the nearest vector of the codebook."""
        squares = jnp.sum((vectors[..., None, :] - self.vectors) ** 2, axis=-1)
        return jnp.argmin(squares, axis=-1)

    def codes(self, batch: Any) -> Int[Array, "batch positions"]:
        """The codes of examples."""
        return self.nearest(self.encode(self.read(batch)))

    def decode(self, vectors: Float[Array, "batch positions width"]) -> Float[Array, "batch n"]:
        """Outputs for the likelihood."""
        return self.decoder(vectors.reshape(len(vectors), -1))

    def log_prior(self, codes: Int[Array, "batch positions"]) -> Float[Array, " batch"]:
        """log p(codes), in nats."""
        logs = jax.nn.log_softmax(self.logits(codes), axis=-1)
        return jnp.take_along_axis(logs, codes[..., None], axis=-1)[..., 0].sum(-1)

    def logits(self, codes: Int[Array, "batch positions"]) -> Float[Array, "batch positions codes"]:
        """Of the code at each position, given those before it."""
        count = len(self.vectors)
        rows = jax.nn.one_hot(codes, count)[:, None]
        before = jnp.tril(jnp.ones((self.positions, self.positions)), -1)[None, :, :, None]
        seen = (rows * before).reshape(len(codes), self.positions, -1)
        place = jnp.broadcast_to(jnp.eye(self.positions), (len(codes), *before.shape[1:3]))
        return self.prior(jnp.concatenate([seen, place], axis=-1))

    def log_bound(self, batch: Any) -> Float[Array, " batch"]:
        """log p(x | codes) + log p(codes): at most log p(x), in nats per example."""
        x = self.read(batch)
        codes = self.nearest(self.encode(x))
        outputs = self.decode(self.vectors[codes])
        return self.likelihood.log_prob(outputs, x) + self.log_prior(codes)

    def sample(
        self,
        key: Key[Array, ""],
        count: int,
        *,
        temperature: float = 1.0,
        noise: bool = True,
    ) -> Float[Array, "count ..."]:
        """Examples whose codes are drawn from the prior, one position after the other.

        Args:
            key: random key.
            count: how many.
            temperature: of the codes; below 1, likelier ones.
            noise: whether the likelihood is drawn from; without, its mean.

        Raises:
            ConfigurationError: a count below 1, or a temperature that is not above 0.
        """
        count_of("VQVAE.sample", count)
        temperature_of("VQVAE.sample", temperature, above=True)
        first, second = jax.random.split(key)

        def one(number: Array, codes: Array) -> Array:
            logits = self.logits(codes)[:, number] / temperature
            drawn = jax.random.categorical(jax.random.fold_in(first, number), logits)
            return codes.at[:, number].set(drawn.astype(codes.dtype))

        start = jnp.zeros((count, self.positions), jnp.int32)
        codes = jax.lax.fori_loop(0, self.positions, one, start)
        outputs = self.decode(self.vectors[codes])
        x = self.likelihood.draw(second, outputs) if noise else self.likelihood.mean(outputs)
        return x.reshape(count, *self.shape)


@dataclass(frozen=True)
class Quantisation:
    """The loss of a `VQVAE` (van den Oord et al. 2017, equation 3), in nats per example.

    -log p(x | codes) + |sg[e] - z|^2 * commitment + |e - sg[z]|^2, the last for a codebook that
    is a parameter. The gradient of the decoder's input goes to the encoder as it is. A codebook
    that is averaged moves by `decay` with every batch, and comes back in the model.

    Attributes:
        commitment: weight of the distance that the encoder is charged.
        decay: of the averages of a codebook that has some; None: 0.99.

    Metrics: `loss`, `reconstruction`, `distance` (squared, summed over the positions) and
    `perplexity`, of the codes of the batch: how many are in use.

    Raises:
        ConfigurationError: a commitment that is negative or infinite, a decay outside of 0 to 1,
            or one for a codebook that is a parameter.
    """

    commitment: float = 0.25
    decay: float | None = None

    def __post_init__(self) -> None:
        weights_of("Quantisation", commitment=self.commitment)
        if self.decay is None:
            return
        weights_of("Quantisation", decay=self.decay)
        if self.decay >= 1:
            raise et.ConfigurationError(f"Quantisation: decay is below 1; got {self.decay}.")

    def check_data(self, model: Any, batch: Any) -> None:
        """Refuses examples and labels out of their range, before the training."""
        model_of("Quantisation", model, VQVAE).read(batch)

    def __call__(
        self, model: Any, batch: Any, context: et.Context
    ) -> tuple[Float[Array, ""], dict[str, Array], VQVAE]:
        """The loss, its metrics, and the model with its averages moved."""
        model = model_of("Quantisation", model, VQVAE)
        if self.decay is not None and model.average is None:
            raise et.ConfigurationError(
                f"Quantisation: decay={self.decay} is for a codebook that is averaged, and the "
                "model's is a parameter. Leave it out, or create the model with average=True."
            )
        x = model.read(batch)
        z = model.encode(x)
        codes = model.nearest(z)
        e = model.vectors[codes]
        straight = z + jax.lax.stop_gradient(e - z)
        error = -model.likelihood.log_prob(model.decode(straight), x).mean()
        charged = _distance(jax.lax.stop_gradient(e), z)
        loss = error + self.commitment * charged
        if model.codebook is not None:
            loss = loss + _distance(e, jax.lax.stop_gradient(z))
        rows = jax.nn.one_hot(codes.ravel(), len(model.vectors))
        share = rows.mean(0)
        entropy = -jnp.sum(jnp.where(share > 0, share * jnp.log(jnp.maximum(share, 1e-30)), 0.0))
        metrics = {"reconstruction": error, "distance": charged, "perplexity": jnp.exp(entropy)}
        return loss, metrics, self._moved(model, rows, z)

    def _moved(self, model: VQVAE, rows: Array, z: Array) -> VQVAE:
        if model.average is None or model.inference:
            return model
        z = jax.lax.stop_gradient(z).reshape(len(rows), -1)
        fresh = {"counts": rows.sum(0), "sums": rows.T @ z}
        old = model.average.value
        decay = _DECAY if self.decay is None else self.decay
        moved = {name: decay * old[name] + (1 - decay) * fresh[name] for name in old}
        return eqx.tree_at(lambda m: m.average.value, model, moved)


@dataclass(frozen=True)
class CodePrior:
    """The loss of the prior of a `VQVAE`: -log p(codes), in nats per example.

    Only the prior gets a gradient; give it a learner with `where=lambda model: model.prior`.
    """

    def check_data(self, model: Any, batch: Any) -> None:
        """Refuses examples and labels out of their range, before the training."""
        model_of("CodePrior", model, VQVAE).read(batch)

    def __call__(
        self, model: Any, batch: Any, context: et.Context
    ) -> tuple[Float[Array, ""], dict[str, Array]]:
        """The loss, and no other metrics."""
        model = model_of("CodePrior", model, VQVAE)
        return -model.log_prior(model.codes(batch)).mean(), {}


def _distance(a: Array, b: Array) -> Float[Array, ""]:
    """Squared, summed over the positions, the mean over the batch."""
    return jnp.sum((a - b) ** 2, axis=(1, 2)).mean()
