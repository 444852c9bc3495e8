"""What is deployed of generative models: samples by seeds, or the likelihood of examples."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from etude.export import Exportable, one_by_one


def sampler(
    draw: Callable[[Array, Array | None], Array], gives: str, *, classes: int = 0
) -> Exportable:
    """One sample for each seed, always the same one.

    Args:
        draw: `draw(key, labels)` gives a batch of one sample; `labels` is None without classes.
        gives: what a sample is.
        classes: of a conditional model, which is told the class of each sample.
    """

    def function(seeds: Array, labels: Array | None = None) -> Array:
        return draw(jax.random.key(seeds[0]), labels)

    inputs = {"seeds": jax.ShapeDtypeStruct((), jnp.uint32)}
    takes = "whole numbers: the seed of each sample"
    if classes:
        inputs["labels"] = jax.ShapeDtypeStruct((), jnp.int32)
        takes += f"; and its class, counted from 0 to {classes - 1}"
    return Exportable(one_by_one(function), inputs, takes, gives, "None is needed.")


def likelihood(
    log_prob: Callable[[Any], Array], name: str, shape: tuple[int, ...], *, classes: int = 0
) -> Exportable:
    """log p(x) of examples in nats; of conditional models log p(x | label).

    Args:
        log_prob: of a batch, as the model reads it.
        name: of the examples: "points", or "pictures", which the function makes binary.
        shape: of an example.
        classes: of a conditional model.
    """
    binary = name == "pictures"

    def function(x: Array, labels: Array | None = None) -> Array:
        seen = (x >= 0.5).astype(x.dtype) if binary else x
        return log_prob(seen if labels is None else (seen, labels))

    inputs = {name: jax.ShapeDtypeStruct(shape, jnp.float32)}
    takes = f"{name}{' with intensities from 0 to 1' if binary else ''}"
    if classes:
        inputs["labels"] = jax.ShapeDtypeStruct((), jnp.int32)
        takes += f"; and the class of each, counted from 0 to {classes - 1}"
    preparation = (
        "The function makes pixels 1 from 0.5 on, and 0 below." if binary else "None is needed."
    )
    return Exportable(one_by_one(function), inputs, takes, "log p(x) in nats", preparation)
