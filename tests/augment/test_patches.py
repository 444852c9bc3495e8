"""Patch augmentations, pipelines, policies and presets."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from etude.augment import (
    PatchAugmentation,
    Policy,
    compose,
    cutmix,
    default_policy,
    gaussian_noise,
    get_heavy_augmentation,
    get_light_augmentation,
    get_medium_augmentation,
    on_inputs,
    patch_cutout,
    patch_dropout,
    patch_jitter,
    patch_permutation,
    sometimes,
    temporal_shift_patches,
    time_shift,
)

KEY = jax.random.key(11)
CHANGES = [
    partial(patch_dropout, drop_prob=0.4),
    partial(patch_cutout, n_holes=2, hole_size=3),
    temporal_shift_patches,
    partial(temporal_shift_patches, circular=False),
    partial(patch_permutation, permute_prob=0.7),
    patch_jitter,
    get_heavy_augmentation(),
]


def numbered(batch, count, dim=2):
    return jnp.tile(jnp.arange(1.0, count + 1)[None, :, None], (batch, 1, dim))


@pytest.mark.parametrize(
    "augment",
    [
        partial(patch_dropout, drop_prob=0.0),
        partial(patch_cutout, n_holes=0),
        partial(patch_cutout, hole_size=0),
        partial(temporal_shift_patches, max_shift=0),
        partial(temporal_shift_patches, max_shift=0, circular=False),
        partial(patch_permutation, permute_prob=0.0),
        partial(patch_jitter, noise_std=0.0),
        PatchAugmentation(),
        compose(),
        sometimes(lambda x, key: x + 1, 0.0),
    ],
)
def test_zero_strength_is_the_identity(augment):
    x = numbered(3, 9)
    np.testing.assert_array_equal(augment(x, KEY), x)


@pytest.mark.parametrize("augment", CHANGES)
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_pure_per_sample_and_keeps_shape_and_dtype(augment, dtype):
    x = numbered(6, 20).astype(dtype)
    once, again = augment(x, KEY), jax.jit(augment)(x, KEY)
    assert (once.shape, once.dtype) == (x.shape, dtype)
    np.testing.assert_allclose(
        once.astype(jnp.float32), again.astype(jnp.float32), rtol=1e-2, atol=1e-2
    )
    assert len(np.unique(np.asarray(once, np.float32), axis=0)) >= 4


def test_dropout_drops_whole_patches_and_keeps_the_mean():
    dropped = np.asarray(patch_dropout(jnp.ones((4000, 5, 3)), KEY, 0.3))
    assert set(np.unique(dropped)) == {0.0, np.float32(1 / 0.7)}
    np.testing.assert_array_equal(dropped[..., 0], dropped[..., 2])
    np.testing.assert_allclose((dropped == 0).mean(axis=(0, 2)), 0.3, atol=0.04)
    np.testing.assert_allclose(dropped.mean(), 1.0, atol=0.03)


def test_cutout_hits_every_patch_equally_often():
    """The last start of an original was out of reach."""
    cut = np.asarray(patch_cutout(jnp.ones((20_000, 9, 1)), KEY, 1, 4))[..., 0] == 0
    np.testing.assert_allclose(cut.mean(axis=0), 4 / (9 + 4 - 1), atol=0.018)
    assert cut.sum(axis=1).max() == 4
    assert np.abs(np.diff(cut.astype(int), axis=1)).sum(axis=1).max() <= 2


def test_cutout_of_holes_longer_than_the_sequence():
    assert patch_cutout(numbered(2, 3), KEY).shape == (2, 3, 2)


@pytest.mark.parametrize("circular", [True, False])
def test_shifts_by_brute_force(circular):
    shifted = np.asarray(temporal_shift_patches(numbered(500, 6, 1), KEY, 8, circular))[..., 0]
    base, expected = np.arange(1.0, 7.0), set()
    for way in range(-8, 9):
        moved = np.roll(base, way)
        if not circular:
            moved = np.array([base[i - way] if 0 <= i - way < 6 else 0.0 for i in range(6)])
        expected.add(tuple(moved))
    assert {tuple(row) for row in shifted} == expected


def test_permutation_moves_only_the_chosen_patches_uniformly():
    count, p = 6, 0.5
    moved = np.asarray(patch_permutation(numbered(20_000, count, 1), KEY, p))[..., 0]
    np.testing.assert_array_equal(np.sort(moved, axis=1), np.tile(np.arange(1.0, 7.0), (20_000, 1)))
    # A patch leaves its place if it is chosen and, among k chosen, not mapped to itself.
    others = np.arange(count)
    binomial = np.array([5, 10, 10, 5, 1]) / 32  # of k - 1 = 1..5 others being chosen
    expected = p * np.sum(binomial * (1 - 1 / (others[1:] + 1)))
    away = (moved != np.arange(1.0, 7.0)).mean(axis=0)
    np.testing.assert_allclose(away, expected, atol=0.018)


def test_full_permutation_is_uniform():
    moved = np.asarray(patch_permutation(numbered(12_000, 3, 1), KEY, 1.0))[..., 0]
    _, counts = np.unique(moved, axis=0, return_counts=True)
    np.testing.assert_allclose(counts / 12_000, 1 / 6, atol=0.02)


def test_jitter_standard_deviation():
    noise = np.asarray(patch_jitter(jnp.zeros((10, 50, 40)), KEY, 0.05))
    np.testing.assert_allclose(noise.std(), 0.05, rtol=0.03)


def test_presets():
    assert get_light_augmentation() == PatchAugmentation(dropout_prob=0.05, max_shift=2)
    assert get_medium_augmentation() == PatchAugmentation(0.1, 5, 3, 3)
    assert get_heavy_augmentation() == PatchAugmentation(0.15, 10, 5, 5, 0.02, 0.1)


def test_pipeline_is_its_steps_in_order():
    x = numbered(4, 12)
    pipeline = PatchAugmentation(dropout_prob=0.2, max_shift=2)
    steps = compose(
        partial(patch_dropout, drop_prob=0.2), partial(temporal_shift_patches, max_shift=2)
    )
    np.testing.assert_array_equal(pipeline(x, KEY), steps(x, KEY))


def test_compose_gives_each_step_its_own_key():
    noise = partial(gaussian_noise, std=1.0)
    total = compose(noise, noise)(jnp.zeros((2, 20_000)), KEY)
    np.testing.assert_allclose(np.std(total), 2**0.5, rtol=0.03)  # 2 if the key were shared


def test_signals_and_batches_compose():
    augment = compose(on_inputs(partial(time_shift, max_shift=3)), partial(cutmix, num_classes=4))
    inputs, labels = jax.jit(augment)((jnp.ones((4, 1, 30)), jnp.arange(4)), KEY)
    assert inputs.shape == (4, 1, 30)
    np.testing.assert_allclose(labels.sum(axis=1), 1.0, rtol=1e-6)


def test_sometimes_is_per_sample():
    changed = sometimes(lambda x, key: x + 1, 0.3)(jnp.zeros((5000, 1)), KEY)
    np.testing.assert_allclose(changed.mean(), 0.3, atol=0.03)


def test_policy_draws_a_sub_policy_per_sample():
    policy = Policy(tuple(lambda x, key, n=n: x + n for n in range(1, 4)))
    values, counts = np.unique(policy(jnp.zeros((6000, 1)), KEY), return_counts=True)
    np.testing.assert_array_equal(values, [1, 2, 3])
    np.testing.assert_allclose(counts / 6000, 1 / 3, atol=0.03)


def test_default_policy_leaves_the_expected_part_alone():
    x = jnp.tile(jnp.sin(jnp.arange(3000.0)), (600, 1))
    changed = jax.jit(default_policy())(x, KEY)
    untouched = np.all(np.asarray(changed == x), axis=1).mean()
    # Sub-policies that draw none of their steps: .7 * .5, .5 * .7, .5 * .5.
    np.testing.assert_allclose(untouched, (0.35 + 0.35 + 0.25) / 3, atol=0.09)


@pytest.mark.parametrize(
    ("call", "cure"),
    [
        (lambda: patch_dropout(jnp.ones((1, 2, 3)), KEY, 1.0), "drop_prob must be below 1"),
        (lambda: patch_permutation(jnp.ones((1, 2, 3)), KEY, 1.5), "permute_prob=1.5, expected"),
        (lambda: patch_cutout(jnp.ones((1, 2, 3)), KEY, -1), "n_holes=-1, expected"),
        (lambda: temporal_shift_patches(jnp.ones((1, 2, 3)), KEY, -1), "max_shift=-1, expected"),
        (lambda: PatchAugmentation(n_holes=3), "set both, or neither"),
        (lambda: PatchAugmentation(dropout_prob=1.0), "below 1"),
        (lambda: PatchAugmentation(jitter_std=-1.0), "jitter_std=-1.0, expected"),
        (lambda: Policy(()), "at least one"),
        (lambda: sometimes(time_shift, 2.0), "probability"),
    ],
)
def test_refuses_with_the_cure(call, cure):
    with pytest.raises(ValueError, match=cure):
        call()
