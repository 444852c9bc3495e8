"""Augmentation as pure functions of a batch and a key, drawn per sample, compiled with the step.

Signals are `(batch, time)` or `(batch, channels, time)`, spectrograms
`(batch, channels, freq, time)`, patches `(batch, patches, dim)`. `mixup` and `cutmix` take batches
`(inputs, labels)` and return soft labels. Shape and dtype of the inputs stay, but integers, as
images of 0 to 255 hold, come back as float32 of the same range, for they would be truncated. Half
precision is mixed in float32 and rounded once. Zero strength is the identity, and the key is the
only source of randomness.

>>> import jax, jax.numpy as jnp
>>> augment = compose(on_inputs(default_policy()), lambda b, key: mixup(b, key, num_classes=3))
>>> batch = (jnp.ones((4, 2000)), jnp.array([0, 1, 2, 0]))
>>> inputs, labels = jax.jit(augment)(batch, jax.random.key(0))
>>> labels.shape
(4, 3)
"""

from .adversarial import fgsm as fgsm, pgd as pgd
from .mixing import cutmix as cutmix, mixup as mixup, soft_labels as soft_labels
from .patches import (
    patch_cutout as patch_cutout,
    patch_dropout as patch_dropout,
    patch_jitter as patch_jitter,
    patch_mixup as patch_mixup,
    patch_permutation as patch_permutation,
    temporal_shift_patches as temporal_shift_patches,
)
from .pipelines import (
    PatchAugmentation as PatchAugmentation,
    Policy as Policy,
    compose as compose,
    default_policy as default_policy,
    get_heavy_augmentation as get_heavy_augmentation,
    get_light_augmentation as get_light_augmentation,
    get_medium_augmentation as get_medium_augmentation,
    on_inputs as on_inputs,
    sometimes as sometimes,
)
from .signals import (
    amplitude_scaling as amplitude_scaling,
    gaussian_noise as gaussian_noise,
    time_masking as time_masking,
    time_shift as time_shift,
)
from .spectrograms import spec_augment as spec_augment
