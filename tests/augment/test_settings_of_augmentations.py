"""Settings and shapes that would do something else in silence are refused by name."""

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest

from etude import augment

KEY = jax.random.key(0)
X, PATCHES = jnp.ones((2, 8)), jnp.ones((2, 8, 3))


@pytest.fixture(autouse=True)
def unchecked():
    """As users have it: annotations are not checked at run time."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


def total(x):
    return jnp.sum(x**2)


@pytest.mark.parametrize("wrong", [True, 2.5, float("nan"), float("inf"), "3", -1])
def test_a_count_is_a_whole_number(wrong):
    for make in (
        lambda: augment.time_shift(X, KEY, wrong),
        lambda: augment.time_masking(X, KEY, wrong),
        lambda: augment.time_masking(X, KEY, 3, wrong),
        lambda: augment.spec_augment(PATCHES, KEY, wrong),
        lambda: augment.spec_augment(PATCHES, KEY, num_freq_masks=wrong),
        lambda: augment.temporal_shift_patches(PATCHES, KEY, wrong),
        lambda: augment.patch_cutout(PATCHES, KEY, wrong),
        lambda: augment.patch_cutout(PATCHES, KEY, 1, wrong),
        lambda: augment.PatchAugmentation(max_shift=wrong),
        lambda: augment.PatchAugmentation(n_holes=wrong, hole_size=2),
        lambda: augment.mixup((X, jnp.array([0, 0])), KEY, num_classes=wrong),
        lambda: augment.pgd(total, X, num_steps=wrong),
    ):
        with pytest.raises(ValueError, match=r"expected a whole number of [01] or more"):
            make()


@pytest.mark.parametrize("wrong", [True, float("nan"), float("inf"), "0.1", -0.5])
def test_a_strength_is_a_finite_number_in_its_range(wrong):
    for make in (
        lambda: augment.gaussian_noise(X, KEY, std=wrong),
        lambda: augment.patch_jitter(PATCHES, KEY, wrong),
        lambda: augment.patch_dropout(PATCHES, KEY, wrong),
        lambda: augment.patch_permutation(PATCHES, KEY, wrong),
        lambda: augment.PatchAugmentation(jitter_std=wrong),
        lambda: augment.sometimes(augment.time_shift, wrong),
        lambda: augment.mixup((X, jnp.eye(2)), KEY, wrong),
        lambda: augment.cutmix((X, jnp.eye(2)), KEY, probability=wrong),
        lambda: augment.fgsm(total, X, wrong),
        lambda: augment.pgd(total, X, epsilon=wrong),
        lambda: augment.pgd(total, X, step_size=wrong),
    ):
        with pytest.raises(ValueError, match=r"expected a (finite )?number"):
            make()


@pytest.mark.parametrize("wrong", [True, float("nan"), -float("inf"), "3"])
def test_a_ratio_in_decibels_is_a_number_or_infinite(wrong):
    with pytest.raises(ValueError, match="got snr_db="):
        augment.gaussian_noise(X, KEY, snr_db=wrong)
    assert jnp.all(augment.gaussian_noise(X, KEY, snr_db=float("inf")) == X)


def test_an_unknown_norm_and_texts_for_flags_are_refused():
    with pytest.raises(ValueError, match=r"pgd: got norm='Linf'\. Did you mean 'linf'"):
        augment.pgd(total, X, norm="Linf")  # pyright: ignore[reportArgumentType]
    for attack in (augment.fgsm, augment.pgd):
        with pytest.raises(ValueError, match="got relative='no', expected True or False"):
            attack(total, X, relative="no")
    with pytest.raises(ValueError, match="got circular='no', expected True or False"):
        augment.temporal_shift_patches(PATCHES, KEY, circular="no")


def test_a_sample_without_its_batch_axis_is_refused():
    one, patches = X[0], PATCHES[0]
    for make in (
        lambda: augment.gaussian_noise(one, KEY, snr_db=3.0),
        lambda: augment.amplitude_scaling(one, KEY),
        lambda: augment.time_shift(one, KEY),
        lambda: augment.time_masking(one, KEY),
        lambda: augment.sometimes(augment.time_shift, 0.5)(one, KEY),
        lambda: augment.default_policy()(one, KEY),
        lambda: augment.spec_augment(patches, KEY),
        lambda: augment.patch_dropout(patches, KEY),
        lambda: augment.patch_cutout(patches, KEY),
        lambda: augment.patch_jitter(patches, KEY),
        lambda: augment.patch_permutation(patches, KEY),
        lambda: augment.temporal_shift_patches(patches, KEY),
        lambda: augment.get_heavy_augmentation()(patches, KEY),
    ):
        with pytest.raises(ValueError, match="the batch first"):
            make()
    with pytest.raises(ValueError, match=r"expected \(batch, \.\.\., time\)"):
        augment.cutmix((jnp.ones(4), jnp.eye(4)), KEY)


def test_a_batch_of_nothing_stays_one_and_long_integers_keep_their_values():
    empty = jnp.ones((0, 8))
    assert augment.pgd(total, empty, KEY, norm="l2", relative=True).shape == (0, 8)
    long = augment.time_shift(np.array([[2**40]]), KEY)
    assert long.tolist() == [[2.0**40]]
