"""The two losses, and the augmentation of small grey images."""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, Key

import etude as et
from etude.inputs import real_floats
from etude.metrics import Accuracy
from etude.systems.quickstart.model import Network

#: Sides of an image; the largest shift (pixels), rotation (radians), change of scale, and the
#: standard deviation of the noise. On 8 pixels, more than this turns digits into others.
SIDE, SHIFT, ANGLE, SCALE, NOISE = 8, 0.5, 0.12, 0.08, 0.05

TEMPERATURE = 0.5


def augment(images: Float[Array, "batch 64"], key: Key[Array, ""]) -> Float[Array, "batch 64"]:
    """Each image a little shifted, turned and scaled (bilinear, zero outside), with noise.

    >>> augment(jnp.ones((3, 64)), jax.random.key(0)).shape
    (3, 64)
    """
    exact, batch = real_floats("augment", "images", images), len(images)
    keys = jax.random.split(key, 4)
    shift = jax.random.uniform(keys[0], (batch, 2, 1), minval=-SHIFT, maxval=SHIFT)
    angle = jax.random.uniform(keys[1], (batch, 1), minval=-ANGLE, maxval=ANGLE)
    scale = jax.random.uniform(keys[2], (batch, 2, 1), minval=1 - SCALE, maxval=1 + SCALE)
    centre = (SIDE - 1) / 2
    rows, columns = jnp.mgrid[:SIDE, :SIDE].reshape(2, 1, -1).astype(exact.dtype) - centre
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    rows, columns = cos * rows - sin * columns, sin * rows + cos * columns
    rows = rows * scale[:, 0] + shift[:, 0] + centre
    columns = columns * scale[:, 1] + shift[:, 1] + centre
    # Hat functions are bilinear interpolation as matrix products: no gather, no branch.
    grid = jnp.arange(SIDE, dtype=exact.dtype)
    along_rows = jnp.maximum(0, 1 - jnp.abs(rows[..., None] - grid))
    along_columns = jnp.maximum(0, 1 - jnp.abs(columns[..., None] - grid))
    pixels = exact.reshape(batch, SIDE, SIDE)
    moved = jnp.sum((along_rows @ pixels) * along_columns, axis=-1)
    return (moved + NOISE * jax.random.normal(keys[3], moved.shape)).astype(images.dtype)


def info_nce(model: Network, images: Float[Array, "batch 64"], context: et.Context) -> Array:
    """NT-Xent: the two views of an image find each other among all views of the batch.

    Chen et al., "A Simple Framework for Contrastive Learning of Visual Representations", 2020,
    equation 1. No label enters.
    """
    first, second = jax.random.split(context.key)
    views = jnp.concatenate([augment(images, first), augment(images, second)])
    projected = real_floats("info_nce", "projections", model.project(views))
    count = len(images)
    similarity = projected @ projected.T / TEMPERATURE
    similarity = jnp.where(jnp.eye(2 * count, dtype=bool), -jnp.inf, similarity)
    partner = jnp.roll(jnp.arange(2 * count), count)
    return optax.softmax_cross_entropy_with_integer_labels(similarity, partner).mean()


def classification(
    model: Network,
    batch: tuple[Float[Array, "batch 64"], Int[Array, " batch"]],
    context: et.Context,
) -> tuple[Array, dict[str, Array]]:
    """Cross-entropy and accuracy of the classifier."""
    images, labels = batch
    logits = real_floats("classification", "logits", model.logits(images))
    loss = optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()
    return loss, {"accuracy": Accuracy.empty().update(logits, labels).compute()}


def augment_labelled(batch: Any, key: Key[Array, ""]) -> Any:
    """The images of a labelled batch augmented."""
    images, labels = batch
    return augment(images, key), labels
