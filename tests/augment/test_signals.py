"""Signal augmentations: identity at zero, purity, and the statistics that they promise."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from etude.augment import (
    amplitude_scaling,
    gaussian_noise,
    spec_augment,
    time_masking,
    time_shift,
)

KEY = jax.random.key(7)

IDENTITIES = [
    partial(time_masking, max_width=0),
    partial(time_masking, num_masks=0),
    partial(gaussian_noise, std=0.0),
    partial(gaussian_noise, snr_db=float("inf")),
    partial(amplitude_scaling, scale_range=(1.0, 1.0)),
    partial(time_shift, max_shift=0),
]
CHANGES = [
    partial(time_masking, max_width=20),
    partial(gaussian_noise, std=0.1),
    partial(gaussian_noise, snr_db=3.0),
    amplitude_scaling,
    partial(time_shift, max_shift=20),
]


def signals(*shape, dtype=jnp.float32):
    return (1 + jax.random.uniform(jax.random.key(3), shape)).astype(dtype)


@pytest.mark.parametrize("augment", IDENTITIES)
@pytest.mark.parametrize("shape", [(3, 40), (3, 2, 40)])
def test_zero_strength_is_the_identity(augment, shape):
    x = signals(*shape)
    np.testing.assert_array_equal(augment(x, KEY), x)


@pytest.mark.parametrize("augment", CHANGES)
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_keeps_shape_and_dtype_and_depends_on_the_key_alone(augment, dtype):
    x = signals(4, 2, 40, dtype=dtype)
    once, again = augment(x, KEY), jax.jit(augment)(x, KEY)
    assert (once.shape, once.dtype) == (x.shape, dtype)
    np.testing.assert_allclose(
        once.astype(jnp.float32), again.astype(jnp.float32), rtol=1e-2 if dtype != x.dtype else 1e-5
    )
    assert not np.array_equal(once, augment(x, jax.random.key(8)))


@pytest.mark.parametrize("augment", CHANGES)
def test_each_sample_has_its_own_draw(augment):
    """The originals drew once per batch."""
    x = jnp.tile(signals(1, 40), (12, 1))
    changed = np.asarray(jax.jit(augment)(x, KEY))
    assert len(np.unique(changed, axis=0)) >= 6


@pytest.mark.parametrize("augment", CHANGES[3:4] + CHANGES[4:] + CHANGES[:1])
def test_channels_change_alike(augment):
    x = jnp.tile(signals(3, 1, 40), (1, 2, 1))
    changed = augment(x, KEY)
    np.testing.assert_array_equal(changed[:, 0], changed[:, 1])


@pytest.mark.parametrize("length", [1, 2, 3])
@pytest.mark.parametrize("augment", CHANGES)
def test_signals_shorter_than_four_samples(augment, length):
    """An original crashed below 4."""
    assert augment(jnp.ones((2, length)), KEY).shape == (2, length)


def test_time_masking_masks_every_position_equally_often():
    """The last start of an original was out of reach. Closed form: E_w[w / (T + w - 1)]."""
    batch, length, widest = 40_000, 12, 5
    masked = np.asarray(time_masking(jnp.ones((batch, length)), KEY, widest)) == 0
    widths = np.arange(widest + 1)
    expected = np.mean(widths / (length + widths - 1))
    error = np.sqrt(expected * (1 - expected) / batch)
    np.testing.assert_allclose(masked.mean(axis=0), expected, atol=5 * error)


def test_time_masking_reaches_full_width_and_the_fill_value():
    masked = np.asarray(time_masking(jnp.ones((2000, 12)), KEY, 5, fill=-3.0)) == -3
    assert set(masked.sum(axis=1)) == {0, 1, 2, 3, 4, 5}


def test_several_masks():
    mask = jax.jit(lambda x: time_masking(x, KEY, 3, num_masks=4))
    masked = mask(jnp.ones((2000, 60))) == 0
    assert 3 < masked.sum(axis=1).max() <= 12


@pytest.mark.parametrize("snr_db", [-5.0, 10.0, 30.0])
def test_measured_snr_is_the_one_asked_for(snr_db):
    scale = jnp.array([0.01, 1.0, 50.0])[:, None, None]  # each sample by its own power
    x = scale * jax.random.normal(jax.random.key(1), (3, 2, 20_000))
    noise = gaussian_noise(x, KEY, snr_db=snr_db) - x
    measured = 10 * np.log10(np.mean(x**2, axis=(1, 2)) / np.mean(noise**2, axis=(1, 2)))
    np.testing.assert_allclose(measured, snr_db, atol=0.15)


def test_absolute_noise_is_gaussian_of_the_standard_deviation():
    noise = np.asarray(gaussian_noise(jnp.zeros((4, 20_000)), KEY, std=0.3))
    np.testing.assert_allclose(noise.std(axis=1), 0.3, rtol=0.03)
    np.testing.assert_allclose((np.abs(noise) < 0.3).mean(), 0.6827, atol=0.01)


def test_scales_are_uniform_in_the_range():
    factors = np.sort(np.asarray(amplitude_scaling(jnp.ones((20_000, 1)), KEY, (0.5, 2.0)))[:, 0])
    np.testing.assert_allclose(factors, np.linspace(0.5, 2.0, 20_000), atol=0.03)


def test_shifts_are_circular_and_reach_both_ends():
    """An original never drew +max_shift, and crashed at 0."""
    x = jnp.tile(jnp.arange(10.0), (3000, 1))
    shifted = np.asarray(time_shift(x, KEY, max_shift=3))
    shifts = (-shifted[:, 0] + 5) % 10 - 5
    values, counts = np.unique(shifts, return_counts=True)
    np.testing.assert_array_equal(values, [-3, -2, -1, 0, 1, 2, 3])
    np.testing.assert_allclose(counts / 3000, 1 / 7, atol=0.04)
    for row, shift in zip(shifted[:20], shifts, strict=False):
        np.testing.assert_array_equal(row, np.roll(np.arange(10.0), int(shift)))


def test_spec_augment_masks_bands_and_frames_of_each_sample():
    x = jnp.ones((3000, 2, 10, 14))
    masked = np.asarray(spec_augment(x, KEY, 4, 3, num_time_masks=1, num_freq_masks=1)) == 0
    np.testing.assert_array_equal(masked[:, 0], masked[:, 1])
    bands, frames = masked[:, 0].all(axis=2), masked[:, 0].all(axis=1)
    np.testing.assert_array_equal(masked[:, 0], bands[:, :, None] | frames[:, None, :])
    for hits, length, widest in ((bands, 10, 3), (frames, 14, 4)):
        widths = np.arange(widest + 1)
        expected = np.mean(widths / (length + widths - 1))
        np.testing.assert_allclose(hits.mean(axis=0), expected, atol=0.035)
        assert hits[:, -1].any()  # the last start, out of reach in an original
        assert hits.sum(axis=1).max() == widest


def test_spec_augment_at_zero_is_the_identity():
    x = signals(2, 1, 8, 9)
    np.testing.assert_array_equal(jax.jit(lambda x: spec_augment(x, KEY, 0, 0))(x), x)
    none = jax.jit(lambda x: spec_augment(x, KEY, num_time_masks=0, num_freq_masks=0))
    np.testing.assert_array_equal(none(x), x)


@pytest.mark.parametrize(
    ("call", "cure"),
    [
        (lambda x: gaussian_noise(x, KEY), "either std or snr_db"),
        (lambda x: gaussian_noise(x, KEY, std=0.1, snr_db=3.0), "either std or snr_db"),
        (lambda x: gaussian_noise(x, KEY, std=-0.1), "std=-0.1, expected"),
        (lambda x: time_masking(x, KEY, -1), "max_width=-1, expected a whole"),
        (lambda x: time_shift(x, KEY, -1), "max_shift=-1, expected a whole"),
        (lambda x: amplitude_scaling(x, KEY, (2.0, 1.0)), "must rise"),
    ],
)
def test_refuses_with_the_cure(call, cure):
    with pytest.raises(ValueError, match=cure):
        call(jnp.ones((2, 5)))
