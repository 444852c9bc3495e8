"""Half precision, infinities and float64: computed in float32 at least, and never cut."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from scipy.special import log_softmax

from etude import augment, losses, metrics
from etude.losses._reductions import unit_rows
from etude.systems.gravitational_waves.losses import Predictors, cpc_loss, neighbour_info_nce


def _embeddings(dtype, size):
    """Eight rows of a size whose squares float16 cannot hold, nearly orthogonal."""
    z = jax.random.normal(jax.random.key(0), (8, 256)) * size
    return z.astype(dtype), np.asarray(z.astype(dtype), np.float64)


def _info_nce(z, temperature=0.1):
    z = z / np.linalg.norm(z, axis=1, keepdims=True)
    return -np.diag(log_softmax(z @ z.T / temperature, axis=1)).mean()


@pytest.mark.parametrize(("dtype", "size"), [(jnp.float16, 300.0), (jnp.bfloat16, 1e25)])
def test_contrastive_norms_do_not_overflow(dtype, size):
    z, exact = _embeddings(dtype, size)
    value, gradient = jax.jit(jax.value_and_grad(losses.info_nce))(z, z)
    np.testing.assert_allclose(value, _info_nce(exact), rtol=1e-3)
    assert value < 0.1 < np.log(8)
    assert jnp.isfinite(gradient).all()
    contrast, pairs = jax.jit(losses.supervised_contrastive), np.concatenate([z, z])
    labels = np.tile(np.arange(8), 2)
    small = contrast(np.concatenate([exact, exact]).astype(np.float32) / np.float32(size), labels)
    np.testing.assert_allclose(contrast(pairs, labels), small, rtol=1e-3)


@pytest.mark.parametrize("size", [1e-30, 1.0, 1e30, 3e38])
def test_rows_of_any_length_become_units(size):
    row = np.array([[1.0, -0.5, 0.25]])
    got = unit_rows(jnp.asarray(row * size, jnp.float32))
    np.testing.assert_allclose(got, row / np.sqrt(1.3125), rtol=1e-6)


def test_rows_of_nan_stay_nan_and_rows_of_zeros_stay_zero():
    assert jnp.isnan(unit_rows(jnp.array([[jnp.nan, 1.0]]))).all()
    np.testing.assert_array_equal(unit_rows(jnp.zeros((1, 3))), jnp.zeros((1, 3)))


def test_predictive_coding_in_half_precision():
    latents = (300 * jax.random.normal(jax.random.key(1), (2, 5, 4))).astype(jnp.float16)
    wide = latents.astype(jnp.float32)
    predictors = Predictors(4, 4, steps=1, key=jax.random.key(2))
    half = jax.tree.map(lambda w: w.astype(jnp.float16), predictors)
    loss = jax.jit(cpc_loss)
    np.testing.assert_allclose(
        loss(half, latents, latents), loss(predictors, wide, wide), rtol=3e-2
    )
    loss = jax.jit(neighbour_info_nce)
    np.testing.assert_allclose(loss(latents), loss(wide), rtol=1e-5)


def test_sums_over_many_samples_do_not_overflow():
    dtype = jnp.float16
    logits = (2 * jax.random.normal(jax.random.key(0), (20_000, 10))).astype(dtype)
    labels, weight = jnp.arange(20_000) % 10, jnp.linspace(1, 8, 10).astype(dtype)
    exact, w = np.asarray(logits, np.float64), np.asarray(weight, np.float64)[labels]
    log_p = log_softmax(exact, -1)[np.arange(20_000), labels]
    got = losses.cross_entropy(logits, labels, weight=weight)
    np.testing.assert_allclose(got, -(w * log_p).sum() / w.sum(), rtol=1e-4)
    total = losses.cross_entropy(logits, labels, reduction="sum")
    np.testing.assert_allclose(total, -log_p.sum(), rtol=1e-4)
    scores = logits[:, 0]
    for critic in (losses.wasserstein_critic_loss, losses.hinge_critic_loss):
        value = critic(scores, scores)
        np.testing.assert_allclose(value, critic(*[scores.astype(jnp.float32)] * 2), rtol=1e-6)
        assert value.dtype == jnp.float32


@pytest.mark.parametrize(("gamma", "right"), [(2.0, 0.1733), (0.0, 0.6931), (0.5, 0.4901)])
def test_focal_loss_of_a_class_that_is_ruled_out(gamma, right):
    logits = jnp.array([[0.0, 0.0, -jnp.inf]])
    loss = jax.value_and_grad(lambda x: losses.focal_loss(x, jnp.array([0]), gamma=gamma))
    value, gradient = loss(logits)
    np.testing.assert_allclose(value, right, atol=1e-4)
    assert jnp.isfinite(gradient).all()
    assert gradient[0, 2] == 0


def test_distillation_of_a_class_that_the_teacher_rules_out():
    teacher = jnp.array([[1.0, 0.0, -jnp.inf]])
    for student in (jnp.zeros((1, 3)), teacher):
        loss = jax.value_and_grad(losses.distillation_loss)
        value, gradient = loss(student, teacher, jnp.array([0]), temperature=1.0, alpha=1.0)
        p, q = jax.nn.softmax(teacher)[0, :2], jax.nn.softmax(student)[0, :2]
        np.testing.assert_allclose(value, (p * jnp.log(p / q)).sum(), atol=1e-6)
        assert jnp.isfinite(gradient).all()


@given(st.tuples(*[st.sampled_from([1.0, -2.0, np.inf, -np.inf, np.nan, 1e30])] * 3))
@settings(max_examples=15)
def test_means_with_infinities_are_those_of_numpy(values):
    x = np.array(values, np.float32)
    exact = x.astype(np.float64)
    merged = metrics.Mean.empty()
    for index in range(len(x)):
        merged = merged.merge(metrics.Mean.of(x[index : index + 1]))
    with np.errstate(invalid="ignore"):
        expected = exact.mean()
    np.testing.assert_allclose(metrics.Mean.of(x).compute(), expected, rtol=1e-6)
    np.testing.assert_allclose(merged.compute(), expected, rtol=1e-6)


def test_complex_numbers_and_foreign_shapes_have_no_mean():
    with pytest.raises(ValueError, match="Mean: got values of complex64"):
        metrics.Mean.of(np.ones(2, np.complex64))
    with pytest.raises(ValueError, match=r"Variance: got weights .*\(3, 1\).*\(3,\)"):
        metrics.Variance.empty().update(np.ones(3), np.ones((3, 1)))


def test_with_x64_metrics_see_what_float32_cannot():
    p, labels = np.array([[0.3, 0.7], [0.6, 0.4]]), np.array([1, 1])

    @jax.jit
    def found(x, p, labels):
        return {
            "mean": metrics.Mean.of(x).compute(),
            "variance": metrics.Variance.empty().update(x).compute(),
            "brier": metrics.Brier.empty().update(p, labels).compute(),
            "ece": metrics.ExpectedCalibrationError.empty(1).update(p, labels).compute(),
            "f1": metrics.F1.empty(2).update(p, labels).compute(),
            "loss": losses.cross_entropy(jnp.log(p), labels),
        }

    with jax.enable_x64(True):
        got = {
            name: float(v) for name, v in found(np.array([1 + 1e-9, 1 + 3e-9]), p, labels).items()
        }
    expected = {"mean": 1 + 2e-9, "variance": 1e-18, "brier": 0.225, "ece": 0.15, "f1": 1 / 3}
    expected["loss"] = -np.log([0.7, 0.4]).mean()
    assert got == pytest.approx(expected, rel=1e-6, abs=1e-15)
    assert got["mean"] - 1 == pytest.approx(2e-9, abs=1e-15)


IMAGES = np.array([[[200, 10], [0, 255]], [[78, 10], [19, 4]], [[1, 2], [3, 77]]], np.uint8)
LABELS = np.array([0, 1, 2])
AUGMENTATIONS = {
    "amplitude_scaling": augment.amplitude_scaling,
    "gaussian_noise": lambda x, key: augment.gaussian_noise(x, key, snr_db=3.0),
    "time_shift": lambda x, key: augment.time_shift(x, key, max_shift=1),
    "time_masking": lambda x, key: augment.time_masking(x, key, max_width=1, fill=0.5),
    "spec_augment": lambda x, key: augment.spec_augment(x[:, None], key, 1, 1, fill=0.5),
    "patch_dropout": lambda x, key: augment.patch_dropout(x, key, 0.3),
    "patch_cutout": lambda x, key: augment.patch_cutout(x, key, 1, 1),
    "patch_permutation": lambda x, key: augment.patch_permutation(x, key, 0.9),
    "patch_jitter": lambda x, key: augment.patch_jitter(x, key, 0.3),
    "temporal_shift": lambda x, key: augment.temporal_shift_patches(x, key, 1),
    "sometimes": lambda x, key: augment.sometimes(augment.amplitude_scaling, 0.5)(x, key),
    "policy": augment.Policy((augment.amplitude_scaling, lambda x, key: x)),
    "presets": augment.PatchAugmentation(),
    "fgsm": lambda x, key: augment.fgsm(jnp.sum, x, 0.3),
    "pgd": lambda x, key: augment.pgd(jnp.sum, x, key, 0.3, num_steps=2),
    "mixup": lambda x, key: augment.mixup((x, LABELS), key, num_classes=3)[0],
    "cutmix": lambda x, key: augment.cutmix((x, LABELS), key, num_classes=3)[0],
}


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_integer_images_become_float32_and_half_precision_is_rounded_once(name):
    change, key = jax.jit(AUGMENTATIONS[name]), jax.random.key(3)
    exact = change(IMAGES.astype(np.float32), key)
    whole = change(IMAGES, key)
    assert whole.dtype == jnp.float32
    np.testing.assert_allclose(whole, exact, rtol=1e-5, atol=1e-5)
    half = change(jnp.asarray(IMAGES).astype(jnp.bfloat16), key)  # holds 8 bits exactly
    assert half.dtype == jnp.bfloat16
    np.testing.assert_allclose(np.asarray(half, np.float64), exact, rtol=2**-8, atol=1e-6)


def test_mixup_of_integer_images_mixes_what_its_labels_say():
    images = np.array([[200, 100, 100, 50], [17, 22, 5, 0], [255, 0, 1, 9]], np.uint8)
    mixed, soft = augment.mixup((images, np.array([0, 1, 2], np.uint8)), jax.random.key(1),
                                num_classes=3)  # fmt: skip
    np.testing.assert_allclose(mixed, np.asarray(soft) @ images.astype(float), rtol=1e-5)
    assert (np.asarray(mixed) % 1 != 0).any()


def test_complex_signals_stay_complex_with_noise_of_the_given_power():
    signal = jnp.full((1, 20_000), 3 + 4j, jnp.complex64)
    noise = augment.gaussian_noise(signal, jax.random.key(0), snr_db=10.0) - signal
    assert noise.dtype == jnp.complex64
    assert float(jnp.mean(jnp.abs(noise) ** 2)) == pytest.approx(2.5, rel=0.05)
    scaled = augment.amplitude_scaling(signal, jax.random.key(0)) / signal
    np.testing.assert_allclose(scaled.imag, 0, atol=1e-6)
    for attack in (augment.fgsm, augment.pgd):
        with pytest.raises(ValueError, match="complex64"):
            attack(lambda x: jnp.abs(x).sum(), signal)
