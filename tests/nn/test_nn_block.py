"""The convolution block against torch, or a plain NumPy form; statistics that the engine moves."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import optax
import pytest

import etude as et
from etude.nn import BatchNorm, ConvolutionBlock


def plain(x, weight, stride, before, behind):
    """A convolution along the third axis of NHWC, where the height is 1, by its definition."""
    padded = np.pad(x, ((0, 0), (0, 0), (before, behind), (0, 0)))
    taps = weight.shape[1]
    starts = range(0, padded.shape[2] - taps + 1, stride)
    rows = [np.einsum("bti,tio->bo", padded[:, 0, s : s + taps], weight[0]) for s in starts]
    return np.stack(rows, axis=1)[:, None]


@pytest.mark.parametrize(("taps", "stride", "size"), [(7, 2, 20), (7, 2, 21), (1, 2, 5), (4, 1, 9)])
def test_block_is_convolution_then_normalisation_then_rectifier(taps, stride, size):
    block = ConvolutionBlock(2, 3, kernel=(1, taps), stride=(1, stride), key=jax.random.key(0))
    x = np.random.default_rng(0).normal(size=(4, 1, size, 2)).astype(np.float32)
    got, _ = block(jnp.asarray(x))
    steps = -(-size // stride)
    assert got.shape == (4, 1, steps, 3)
    before = (taps - 1) // 2
    found = plain(x, np.asarray(block.weight), stride, before, taps)[:, :, :steps]
    mean, variance = found.mean((0, 1, 2)), found.var((0, 1, 2))
    expected = np.maximum((found - mean) / np.sqrt(variance + 1e-5), 0)
    np.testing.assert_allclose(got, expected, atol=1e-4)


def test_normalisation_is_that_of_torch_in_training_and_after_it():
    torch = pytest.importorskip("torch")
    theirs, ours = torch.nn.BatchNorm1d(3), BatchNorm(3)
    theirs.weight.data = torch.tensor([0.5, 1.0, 2.0])
    ours = eqx.tree_at(lambda n: n.scale, ours, jnp.array([0.5, 1.0, 2.0]))
    for seed in range(3):
        x = np.random.default_rng(seed).normal(2.0, 3.0, size=(5, 7, 3)).astype(np.float32)
        y, ours = ours(jnp.asarray(x))
        wanted = theirs(torch.tensor(x).transpose(1, 2)).transpose(1, 2).detach().numpy()
        np.testing.assert_allclose(y, wanted, atol=1e-4)
    value = ours.running.value
    np.testing.assert_allclose(value["mean"], theirs.running_mean.numpy(), rtol=1e-5)
    np.testing.assert_allclose(value["variance"], theirs.running_var.numpy(), rtol=1e-5)
    theirs.eval()
    y, same = eqx.nn.inference_mode(ours)(jnp.asarray(x))
    wanted = theirs(torch.tensor(x).transpose(1, 2)).transpose(1, 2).detach().numpy()
    np.testing.assert_allclose(y, wanted, atol=1e-4)
    assert same.running.value["mean"] is value["mean"]


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_engine_moves_the_statistics_and_trains_the_rest(precision):
    """Validation uses the running statistics and moves nothing; half precision shortens none."""
    x = np.random.default_rng(0).normal(5.0, 2.0, size=(32, 1, 8, 1)).astype(np.float32)

    def loss(block, batch, context):
        y, block = block(batch[0])
        return jnp.mean(jnp.square(et.widened(y) - 1)), {}, block

    data = et.ArrayData((x,), 8)
    learner = et.Learner(
        et.Gradient(loss), optax.adamw(1e-3, weight_decay=0.9), precision=precision
    )
    phase = et.Phase("fit", learner, data, et.Epochs(30), et.Validation(data, every=et.Epochs(30)))
    block = ConvolutionBlock(1, 4, kernel=(1, 3), key=jax.random.key(0))
    result = et.Trainer(block, phase, progress=False).fit()
    running = result.model.norm.running.value
    assert running["mean"].dtype == running["variance"].dtype == jnp.float32
    convolved = plain(x, np.asarray(result.model.weight), 1, 1, 1)
    np.testing.assert_allclose(running["variance"], convolved.var((0, 1, 2)), rtol=0.2)
    inferred = loss(eqx.nn.inference_mode(result.model), (jnp.asarray(x),), None)[0]
    assert result.metrics["valid/loss"] == pytest.approx(float(inferred), rel=1e-4)


def test_bad_sizes_are_refused_by_name():
    with pytest.raises(ValueError, match="momentum=0"):
        BatchNorm(2, momentum=0.0)
    with pytest.raises(ValueError, match=r"stride=\(1, 0\)"):
        ConvolutionBlock(1, 1, kernel=(1, 3), stride=(1, 0), key=jax.random.key(0))


@pytest.mark.parametrize("x", [jnp.ones((4, 1)), jnp.ones((4, 8), jnp.int32), jnp.ones((0, 8))])
def test_batch_norm_refuses_what_it_would_spread_cut_or_make_nan(x):
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        with pytest.raises(ValueError, match=r"BatchNorm: got .*shape \(\d, \d\), expected"):
            BatchNorm(8)(x)
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)
