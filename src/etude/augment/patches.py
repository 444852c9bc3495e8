"""Random changes of sequences of patches, `(batch, patches, dim)`, drawn per sample.

Other shapes are refused with a `ValueError`.

>>> patches = jnp.ones((2, 16, 4))
>>> patch_cutout(patches, jax.random.key(0), n_holes=2, hole_size=3).shape
(2, 16, 4)
"""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Inexact, Key

from etude.inputs import Values, check_count, check_flags, check_real

from .draws import batched, in_single, per_sample, random_span, require
from .mixing import Batch, mixup
from .signals import gaussian_noise

Patches = Inexact[Array, "batch patches dim"]


def patch_dropout(patches: Values, key: Key[Array, ""], drop_prob: float = 0.1) -> Patches:
    """Set whole patches to zero, each with probability `drop_prob`.

    The others are divided by `1 - drop_prob`, so that the expectation stays.

    Raises:
        ValueError: `drop_prob` outside 0..1, or 1, which would leave nothing.

    >>> x = jnp.ones((2, 8, 3))
    >>> bool(jnp.all(patch_dropout(x, jax.random.key(0), drop_prob=0.0) == x))
    True
    """
    check_real("patch_dropout", "drop_prob", drop_prob, 0, 1)
    require(drop_prob < 1, f"patch_dropout: drop_prob must be below 1, got {drop_prob}")
    patches = batched("patch_dropout", patches, 3, 3)
    kept = jax.random.bernoulli(key, 1 - drop_prob, patches.shape[:2])[..., None]
    scaled = (in_single(patches) / (1 - drop_prob)).astype(patches.dtype)
    return jnp.where(kept, scaled, jnp.zeros((), patches.dtype))


def patch_mixup(
    batch: Batch, key: Key[Array, ""], alpha: float = 0.4, num_classes: int | None = None
) -> Batch:
    """`mixup` of `(patches, labels)` with the strength that is usual for transformers.

    >>> batch = (jnp.ones((2, 8, 3)), jnp.array([0, 1]))
    >>> patch_mixup(batch, jax.random.key(0), num_classes=2)[1].shape
    (2, 2)
    """
    return mixup(batch, key, alpha, num_classes)


def temporal_shift_patches(
    patches: Values, key: Key[Array, ""], max_shift: int = 5, circular: bool = True
) -> Patches:
    """Move the patches of each sample by a number of places, uniform in -max_shift..max_shift.

    Args:
        patches: the batch.
        key: the source of randomness.
        max_shift: largest number of places that patches move.
        circular: what leaves at one end enters at the other; otherwise zeros enter.

    Raises:
        ValueError: `max_shift` is negative.

    >>> x = jnp.ones((2, 8, 3))
    >>> bool(jnp.all(temporal_shift_patches(x, jax.random.key(0), max_shift=0) == x))
    True
    """
    check_count("temporal_shift_patches", "max_shift", max_shift, 0)
    check_flags("temporal_shift_patches", circular=circular)

    def shift(key: Array, sample: Array) -> Array:
        count = len(sample)
        way = jax.random.randint(key, (), -max_shift, max_shift + 1)
        moved = jnp.roll(sample, way, axis=0)
        source = jnp.arange(count) - way
        inside = ((source >= 0) & (source < count))[:, None]
        return moved if circular else jnp.where(inside, moved, jnp.zeros((), sample.dtype))

    return per_sample(shift, key, batched("temporal_shift_patches", patches, 3, 3))


def patch_cutout(
    patches: Values, key: Key[Array, ""], n_holes: int = 10, hole_size: int = 5
) -> Patches:
    """Set `n_holes` runs of `hole_size` neighbouring patches to zero (DeVries and Taylor 2017).

    Holes may overlap, and overhang the ends, so that each patch is as likely to be in one.

    Raises:
        ValueError: a negative number or size.

    >>> x = jnp.ones((2, 8, 3))
    >>> bool(jnp.all(patch_cutout(x, jax.random.key(0), n_holes=0) == x))
    True
    """
    check_count("patch_cutout", "n_holes", n_holes, 0)
    check_count("patch_cutout", "hole_size", hole_size, 0)

    def cut(key: Array, sample: Array) -> Array:
        count = len(sample)
        width = jnp.asarray(min(hole_size, count))
        spans = jax.vmap(partial(random_span, length=count, width=width))(
            jax.random.split(key, n_holes)
        )
        return jnp.where(spans.any(axis=0)[:, None], jnp.zeros((), sample.dtype), sample)

    return per_sample(cut, key, batched("patch_cutout", patches, 3, 3))


def patch_permutation(patches: Values, key: Key[Array, ""], permute_prob: float = 0.1) -> Patches:
    """Choose each patch with probability `permute_prob` and shuffle the chosen ones.

    Raises:
        ValueError: `permute_prob` outside 0..1.

    >>> x = jnp.arange(8.0)[None, :, None]
    >>> y = patch_permutation(x, jax.random.key(0), permute_prob=1.0)
    >>> sorted(y[0, :, 0].tolist()) == x[0, :, 0].tolist()
    True
    """
    check_real("patch_permutation", "permute_prob", permute_prob, 0, 1)

    def permute(key: Array, sample: Array) -> Array:
        choice_key, order_key = jax.random.split(key)
        count = len(sample)
        chosen = jax.random.bernoulli(choice_key, permute_prob, (count,))
        # Both lists begin with the chosen places, in order and at random.
        places = jnp.argsort(~chosen, stable=True)
        order = jax.random.uniform(order_key, (count,))
        shuffled = jnp.argsort(jnp.where(chosen, order, 2.0))
        source = jnp.where(jnp.arange(count) < jnp.sum(chosen), shuffled, places)
        return jnp.zeros_like(sample).at[places].set(sample[source])

    return per_sample(permute, key, batched("patch_permutation", patches, 3, 3))


def patch_jitter(patches: Values, key: Key[Array, ""], noise_std: float = 0.01) -> Patches:
    """Add Gaussian noise of standard deviation `noise_std`.

    Raises:
        ValueError: `noise_std` is negative.

    >>> x = jnp.ones((2, 8, 3))
    >>> bool(jnp.all(patch_jitter(x, jax.random.key(0), noise_std=0.0) == x))
    True
    """
    check_real("patch_jitter", "noise_std", noise_std, 0)
    return gaussian_noise(batched("patch_jitter", patches, 3, 3), key, std=noise_std)
