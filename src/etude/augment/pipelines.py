"""Pipelines: one after another, sometimes, one of several, and the presets for patches.

An augmentation here is a function `(signals, key) -> signals`; fix its settings with
`functools.partial`.

>>> import jax.numpy as jnp
>>> from functools import partial
>>> from etude.augment import gaussian_noise, time_shift
>>> augment = compose(partial(time_shift, max_shift=5), partial(gaussian_noise, snr_db=20.0))
>>> augment(jnp.ones((2, 50)), jax.random.key(0)).shape
(2, 50)
"""

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import partial
from typing import Any

import jax
from jaxtyping import Array, Inexact, Key

from etude.inputs import Values, check_count, check_real, floating

from .draws import batched, choose, require
from .patches import (
    patch_cutout,
    patch_dropout,
    patch_jitter,
    patch_permutation,
    temporal_shift_patches,
)
from .signals import amplitude_scaling, gaussian_noise, time_masking, time_shift

Augmentation = Callable[[Any, Any], Any]


def compose(*augmentations: Augmentation) -> Augmentation:
    """Apply augmentations in order, each with its own part of the key.

    They may all take signals, or all take batches `(inputs, labels)` (see `on_inputs`).

    >>> import jax.numpy as jnp
    >>> compose()(jnp.ones(3), jax.random.key(0)).tolist()
    [1.0, 1.0, 1.0]
    """

    def composed(batch: Any, key: Key[Array, ""]) -> Any:
        for index, augmentation in enumerate(augmentations):
            batch = augmentation(batch, jax.random.fold_in(key, index))
        return batch

    return composed


def on_inputs(augmentation: Augmentation) -> Augmentation:
    """Let an augmentation of signals take a batch `(inputs, labels)`, so it composes with mixup.

    >>> import jax.numpy as jnp
    >>> double = on_inputs(lambda x, key: 2 * x)
    >>> double((jnp.ones(2), "labels"), jax.random.key(0))[1]
    'labels'
    """

    def augmented(batch: tuple[Any, Any], key: Key[Array, ""]) -> tuple[Any, Any]:
        inputs, labels = batch
        return augmentation(inputs, key), labels

    return augmented


def sometimes(augmentation: Augmentation, probability: float) -> Augmentation:
    """Apply an augmentation of signals to each sample with a probability.

    Raises:
        ValueError: `probability` outside 0..1.

    >>> import jax.numpy as jnp
    >>> never = sometimes(lambda x, key: x + 1, 0.0)
    >>> never(jnp.zeros((2, 1)), jax.random.key(0)).tolist()
    [[0.0], [0.0]]
    """
    check_real("sometimes", "probability", probability, 0, 1)

    def augmented(signals: Values, key: Key[Array, ""]) -> Array:
        signals = batched("sometimes", signals)
        choice_key, key = jax.random.split(key)
        chosen = jax.random.bernoulli(choice_key, probability, (len(signals),))
        return choose(chosen, augmentation(signals, key), signals)

    return augmented


@dataclass(frozen=True)
class Policy:
    """Draw one of several sub-policies for each sample, all equally likely.

    It has the form of AutoAugment (Cubuk et al. 2019), without its search. Every sub-policy runs
    on the whole batch and the draw selects, so the cost is the sum of theirs.

    >>> import jax.numpy as jnp
    >>> policy = Policy((lambda x, key: x + 1, lambda x, key: x - 1))
    >>> sorted(set(policy(jnp.zeros((20, 1)), jax.random.key(0))[:, 0].tolist()))
    [-1.0, 1.0]
    """

    sub_policies: tuple[Augmentation, ...]

    def __post_init__(self):
        require(len(self.sub_policies) > 0, "Policy: give at least one sub-policy")

    def __call__(self, signals: Values, key: Key[Array, ""]) -> Array:
        """Apply a sub-policy to each sample."""
        signals = batched("Policy", signals)
        choice_key, key = jax.random.split(key)
        choice = jax.random.randint(choice_key, (len(signals),), 0, len(self.sub_policies))
        changed = signals
        for index, sub_policy in enumerate(self.sub_policies):
            candidate = sub_policy(signals, jax.random.fold_in(key, index))
            changed = choose(choice == index, candidate, changed)
        return changed


def default_policy() -> Policy:
    """Three mild sub-policies for vibration signals of some thousand samples or more.

    >>> import jax.numpy as jnp
    >>> default_policy()(jnp.ones((2, 4000)), jax.random.key(0)).shape
    (2, 4000)
    """
    return Policy(
        (
            compose(
                sometimes(partial(gaussian_noise, std=0.01), 0.3),
                sometimes(partial(amplitude_scaling, scale_range=(0.9, 1.1)), 0.5),
            ),
            compose(
                sometimes(partial(time_shift, max_shift=500), 0.5),
                sometimes(partial(time_masking, max_width=1000), 0.3),
            ),
            compose(
                sometimes(partial(gaussian_noise, std=0.02), 0.5),
                sometimes(partial(time_shift, max_shift=1000), 0.5),
            ),
        )
    )


@dataclass(frozen=True)
class PatchAugmentation:
    """Dropout, cutout, shift, jitter and permutation of patches, in this order.

    A strength of zero, the default, leaves a step out.

    Args:
        dropout_prob: see `patch_dropout`.
        n_holes: see `patch_cutout`.
        hole_size: see `patch_cutout`.
        max_shift: see `temporal_shift_patches`.
        jitter_std: see `patch_jitter`.
        permute_prob: see `patch_permutation`.

    Raises:
        ValueError: a strength that is negative, or no whole number where it counts; a probability
            outside its range, or holes without a size.

    >>> import jax.numpy as jnp
    >>> patches = jnp.ones((2, 16, 4))
    >>> get_medium_augmentation()(patches, jax.random.key(0)).shape
    (2, 16, 4)
    """

    dropout_prob: float = 0.0
    n_holes: int = 0
    hole_size: int = 0
    max_shift: int = 0
    jitter_std: float = 0.0
    permute_prob: float = 0.0

    def __post_init__(self):
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(field.default, int):
                check_count("PatchAugmentation", field.name, value, 0)
            else:
                check_real("PatchAugmentation", field.name, value, 0)
        require(self.dropout_prob < 1, "PatchAugmentation: dropout_prob must be below 1")
        require(self.permute_prob <= 1, "PatchAugmentation: permute_prob must be at most 1")
        require(
            (self.n_holes == 0) == (self.hole_size == 0),
            f"PatchAugmentation: n_holes={self.n_holes} and hole_size={self.hole_size} need each "
            "other: set both, or neither",
        )

    def __call__(self, patches: Values, key: Key[Array, ""]) -> Inexact[Array, "batch patches dim"]:
        """Apply the steps."""
        steps = (
            (self.dropout_prob, partial(patch_dropout, drop_prob=self.dropout_prob)),
            (self.n_holes, partial(patch_cutout, n_holes=self.n_holes, hole_size=self.hole_size)),
            (self.max_shift, partial(temporal_shift_patches, max_shift=self.max_shift)),
            (self.jitter_std, partial(patch_jitter, noise_std=self.jitter_std)),
            (self.permute_prob, partial(patch_permutation, permute_prob=self.permute_prob)),
        )
        return compose(*(step for strength, step in steps if strength))(floating(patches), key)


def get_light_augmentation() -> PatchAugmentation:
    """Dropout 5 %, shifts of up to 2 patches.

    >>> get_light_augmentation().max_shift
    2
    """
    return PatchAugmentation(dropout_prob=0.05, max_shift=2)


def get_medium_augmentation() -> PatchAugmentation:
    """Dropout 10 %, 5 holes of 3 patches, shifts of up to 3.

    >>> get_medium_augmentation().n_holes
    5
    """
    return PatchAugmentation(dropout_prob=0.1, n_holes=5, hole_size=3, max_shift=3)


def get_heavy_augmentation() -> PatchAugmentation:
    """Dropout 15 %, 10 holes of 5 patches, shifts of up to 5, jitter 0.02, permutation 10 %.

    >>> get_heavy_augmentation().permute_prob
    0.1
    """
    return PatchAugmentation(
        dropout_prob=0.15, n_holes=10, hole_size=5, max_shift=5, jitter_std=0.02, permute_prob=0.1
    )
