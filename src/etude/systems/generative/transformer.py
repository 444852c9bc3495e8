"""A small causal transformer over the values of an example, each one of a few tokens.

>>> model = CausalTransformer.create(jax.random.key(0), (4, 4), width=8, layers=2, heads=2)
>>> model.log_prob(jnp.ones((5, 4, 4))).shape, model.sample(jax.random.key(1), 3).shape
((5,), (3, 4, 4))
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple, final

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

import etude as et
from etude.systems.generative.checks import shapes_of, sizes_of, temperature_of
from etude.systems.generative.examples import check_range, read_examples, sample_labels
from etude.systems.generative.perceptron import Perceptron


class Cache(NamedTuple):
    """Keys and values of the positions so far, for every block."""

    keys: Float[Array, "layers batch positions heads size"]
    values: Float[Array, "layers batch positions heads size"]


@final
class Block(eqx.Module):
    """Attention, then a perceptron; each reads what is normalised and adds to its input."""

    first: eqx.nn.LayerNorm
    second: eqx.nn.LayerNorm
    attention: eqx.nn.Linear
    out: eqx.nn.Linear
    perceptron: Perceptron
    heads: int = eqx.field(static=True)

    @classmethod
    def create(cls, key: Key[Array, ""], width: int, heads: int) -> "Block":
        """An untrained block."""
        one, two, three = jax.random.split(key, 3)
        return cls(
            eqx.nn.LayerNorm(width),
            eqx.nn.LayerNorm(width),
            eqx.nn.Linear(width, 3 * width, use_bias=False, key=one),
            eqx.nn.Linear(width, width, use_bias=False, key=two),
            Perceptron(width, (4 * width,), width, key=three),
            heads,
        )

    def queries_keys_values(
        self, x: Float[Array, "batch n width"]
    ) -> Float[Array, "3 batch n heads size"]:
        """What attention is computed from."""
        all_ = _each(self.first, x) @ self.attention.weight.T
        return jnp.moveaxis(all_.reshape(*x.shape[:2], 3, self.heads, -1), 2, 0)

    def finish(
        self,
        x: Float[Array, "batch n width"],
        queries: Float[Array, "batch n heads size"],
        keys: Float[Array, "batch m heads size"],
        values: Float[Array, "batch m heads size"],
        seen: Bool[Array, "n m"],
    ) -> Float[Array, "batch n width"]:
        """The output of the block, where position i sees the positions j with seen[i, j]."""
        scores = jnp.einsum("bnhd,bmhd->bhnm", queries, keys) / math.sqrt(queries.shape[-1])
        shares = jax.nn.softmax(jnp.where(seen, scores, -jnp.inf), axis=-1)
        mixed = jnp.einsum("bhnm,bmhd->bnhd", shares, values)
        x = x + mixed.reshape(x.shape) @ self.out.weight.T
        return x + self.perceptron(_each(self.second, x))


@final
class CausalTransformer(eqx.Module):
    """An autoregressive model of tokens (Radford et al. 2018), with an exact log p(x).

    With classes, the embedding of the label is added at every position.

    Attributes:
        embedding: of each token, as the input of the next position.
        start: input of the first position.
        places: added at each position.
        labels: embedding of each class, or None.
        blocks: stacked; every array has an axis of layers before its own.
        norm: before the head.
        head: to the logits of the tokens.
        shape: of an example.
        classes: number of classes; 0 for a model without labels.
    """

    embedding: Float[Array, "tokens width"]
    start: Float[Array, " width"]
    places: Float[Array, "positions width"]
    labels: Float[Array, "classes width"] | None
    blocks: Block
    norm: eqx.nn.LayerNorm
    head: eqx.nn.Linear
    shape: tuple[int, ...] = eqx.field(static=True)
    classes: int = eqx.field(static=True)

    @classmethod
    def create(
        cls,
        key: Key[Array, ""],
        shape: Sequence[int],
        *,
        tokens: int = 2,
        width: int = 64,
        layers: int = 2,
        heads: int = 4,
        classes: int = 0,
    ) -> "CausalTransformer":
        """An untrained model.

        Args:
            key: random key of the weights.
            shape: of an example, whose values are read in order.
            tokens: how many values there are, counted from 0; 2 for pictures of zeros and ones.
            width: numbers at each position.
            layers: blocks.
            heads: of the attention; a divisor of the width.
            classes: of a conditional model.

        Raises:
            ConfigurationError: sizes below 1, one token, classes below 0, or heads that do not
                divide the width.
        """
        shapes_of("CausalTransformer", shape=shape)
        sizes_of("CausalTransformer", width=width, layers=layers, heads=heads)
        sizes_of("CausalTransformer", least=2, tokens=tokens)
        sizes_of("CausalTransformer", least=0, classes=classes)
        if width % heads:
            raise et.ConfigurationError(
                f"CausalTransformer: heads must divide the width; got {heads} and {width}."
            )
        keys = jax.random.split(key, 6)

        def normal(key: Array, *size: int) -> Array:
            return 0.1 * jax.random.normal(key, (*size, width))

        return cls(
            normal(keys[0], tokens),
            normal(keys[1]),
            normal(keys[2], math.prod(shape)),
            normal(keys[3], classes) if classes else None,
            eqx.filter_vmap(lambda k: Block.create(k, width, heads))(
                jax.random.split(keys[4], layers)
            ),
            eqx.nn.LayerNorm(width),
            eqx.nn.Linear(width, tokens, key=keys[5]),
            tuple(shape),
            classes,
        )

    def read(self, batch: Any) -> tuple[Int[Array, "batch positions"], Array | None]:
        """Rows of tokens, and rows of labels.

        Under jit a value that is no token becomes -1. Raises `DataError` for what cannot be read.
        """
        x, labels = read_examples("CausalTransformer", batch, self.shape, self.classes)
        last = len(self.embedding) - 1
        cure = f"Tokens are whole numbers from 0 to {last}."
        check_range("CausalTransformer", x, 0, last, cure, whole=True)
        tokens = jnp.asarray(x).astype(jnp.int32)
        possible = (tokens.astype(x.dtype) == x) & (tokens >= 0) & (tokens < len(self.embedding))
        return jnp.where(possible, tokens, -1), labels

    def logits(
        self, tokens: Int[Array, "batch positions"], labels: Array | None = None
    ) -> Float[Array, "batch positions tokens"]:
        """Of the token at each position, given those before it."""
        start = jnp.broadcast_to(self.start, (len(tokens), 1, len(self.start)))
        x = jnp.concatenate([start, self.embedding[tokens[:, :-1]]], axis=1)
        x = self._placed(x, self.places, labels)
        arrays, static = eqx.partition(self.blocks, eqx.is_array)
        seen = jnp.tril(jnp.ones((len(self.places), len(self.places)), bool))

        def one(x: Array, layer: Any) -> tuple[Array, None]:
            block: Block = eqx.combine(layer, static)
            queries, keys, values = block.queries_keys_values(x)
            return block.finish(x, queries, keys, values, seen), None

        return self._out(jax.lax.scan(one, x, arrays)[0])

    def empty_cache(self, count: int) -> Cache:
        """A cache of `count` examples, before the first position."""
        layers, _, width = self.blocks.out.weight.shape
        size = (layers, count, len(self.places), self.blocks.heads, width // self.blocks.heads)
        return Cache(jnp.zeros(size), jnp.zeros(size))

    def next_logits(
        self,
        cache: Cache,
        position: Int[Array, ""],
        before: Int[Array, " batch"],
        labels: Array | None = None,
    ) -> tuple[Float[Array, "batch tokens"], Cache]:
        """The logits at a position, given the token before it and the cache, and the new cache.

        At position 0 the token before is not looked at.
        """
        token = jnp.where(position == 0, self.start, self.embedding[before])
        x = self._placed(token[:, None], self.places[position], labels)
        arrays, static = eqx.partition(self.blocks, eqx.is_array)
        seen = (jnp.arange(len(self.places)) <= position)[None]

        def one(x: Array, of_layer: Any) -> tuple[Array, tuple[Array, Array]]:
            layer, keys, values = of_layer
            block: Block = eqx.combine(layer, static)
            query, key, value = block.queries_keys_values(x)
            keys = jax.lax.dynamic_update_slice_in_dim(keys, key, position, axis=1)
            values = jax.lax.dynamic_update_slice_in_dim(values, value, position, axis=1)
            return block.finish(x, query, keys, values, seen), (keys, values)

        x, moved = jax.lax.scan(one, x, (arrays, *cache))
        return self._out(x)[:, 0], Cache(*moved)

    def log_prob(self, batch: Any) -> Float[Array, " n"]:
        """log p(x) of each example, in nats; NaN for values that are no tokens.

        Raises:
            DataError: what is no example.
        """
        tokens, labels = self.read(batch)
        logs = jax.nn.log_softmax(self.logits(tokens, labels), axis=-1)
        chosen = jnp.take_along_axis(logs, jnp.maximum(tokens, 0)[..., None], axis=-1)
        return jnp.where(jnp.all(tokens >= 0, axis=1), chosen[..., 0].sum(1), jnp.nan)

    def sample(
        self, key: Key[Array, ""], count: int, labels: Any = None, *, temperature: float = 1.0
    ) -> Float[Array, "count ..."]:
        """Examples, one token after the other; keys and values of attention are computed once.

        Args:
            key: random key.
            count: how many.
            labels: for a conditional model, the class of all of them, or one for each.
            temperature: what logits are divided by; below 1, likelier tokens.

        Raises:
            DataError: labels that are missing, or that the model has no use for.
            ConfigurationError: a count below 1, or a temperature that is not above 0.
        """
        temperature_of("CausalTransformer.sample", temperature, above=True)
        rows = sample_labels("CausalTransformer.sample", labels, count, self.classes)

        def one(carry: tuple[Array, Cache], position: Array) -> tuple[tuple[Array, Cache], Array]:
            before, cache = carry
            logits, cache = self.next_logits(cache, position, before, rows)
            drawn = jax.random.categorical(
                jax.random.fold_in(key, position), logits / temperature
            ).astype(jnp.int32)
            return (drawn, cache), drawn

        start = jnp.zeros(count, jnp.int32), self.empty_cache(count)
        _, tokens = jax.lax.scan(one, start, jnp.arange(len(self.places)))
        return tokens.T.astype(jnp.float32).reshape(count, *self.shape)

    def _placed(
        self, x: Float[Array, "batch n width"], places: Array, labels: Array | None
    ) -> Float[Array, "batch n width"]:
        """With the embeddings of position and class."""
        x = x + places
        if labels is None or self.labels is None:
            return x
        return x + (labels.astype(x.dtype) @ self.labels)[:, None]

    def _out(self, x: Float[Array, "batch n width"]) -> Float[Array, "batch n tokens"]:
        assert self.head.bias is not None
        return _each(self.norm, x) @ self.head.weight.T + self.head.bias


def _each(norm: eqx.nn.LayerNorm, x: Float[Array, "batch n width"]) -> Array:
    """The normalisation of each position."""
    return jax.vmap(jax.vmap(norm))(x)
