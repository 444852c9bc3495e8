"""Convolutions against SciPy, causality, decimation against theory."""

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from scipy import signal

from etude.nn import (
    BatchNorm,
    CausalConvolution,
    ConvolutionBlock,
    decimate,
    strided_convolution,
)


@pytest.fixture(autouse=True)
def checked_again():
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@settings(max_examples=15, deadline=None)
@given(
    taps=st.integers(1, 12),
    stride=st.integers(1, 5),
    block=st.integers(1, 4),
    seed=st.integers(0, 9),
)
def test_strided_convolution_is_every_so_many_th_correlation(taps, stride, block, seed):
    rng = np.random.default_rng(seed)
    x, kernel = rng.normal(size=(60, 2)), rng.normal(size=(taps, 2, 3))
    got = strided_convolution(
        jnp.asarray(x, jnp.float32), jnp.asarray(kernel, jnp.float32), stride, block
    )
    full = sum(
        np.stack([signal.correlate(x[:, i], kernel[:, i, o], "valid") for o in range(3)], axis=1)
        for i in range(2)
    )
    expected = full[::stride]
    assert len(got) == len(expected) // block * block
    np.testing.assert_allclose(got, expected[: len(got)], rtol=1e-4, atol=1e-4)


def test_too_short_a_signal_is_refused():
    with pytest.raises(ValueError, match="expected at least 8 for 8 taps"):
        strided_convolution(jnp.ones((7, 1)), jnp.ones((8, 1, 1)), 1)


@pytest.mark.parametrize(
    ("taps", "stride", "time"), [(7, 4, 40), (7, 4, 43), (3, 3, 10), (5, 2, 2)]
)
def test_causal_convolution_has_time_over_stride_steps(taps, stride, time):
    layer = CausalConvolution(1, 1, taps=taps, stride=stride, key=jax.random.key(0))
    x = jax.random.normal(jax.random.key(1), (time, 1))
    padded = np.pad(np.asarray(x)[:, 0], (taps - stride, 0))
    steps = np.stack([padded[s * stride :][:taps] for s in range(time // stride)])
    np.testing.assert_allclose(layer(x), steps @ np.asarray(layer.kernel)[:, 0], atol=1e-5)


@pytest.mark.parametrize("wrong", [True, 2.5, float("nan"), "3", 0])
def test_a_size_is_a_whole_number(wrong):
    jaxtyping.config.update("jaxtyping_disable", True)
    key = jax.random.key(0)
    for make in (
        lambda: CausalConvolution(1, 1, taps=wrong, key=key),
        lambda: CausalConvolution(1, 1, taps=4, stride=wrong, key=key),
        lambda: ConvolutionBlock(wrong, 1, kernel=(1, 3), key=key),
        lambda: ConvolutionBlock(1, 1, kernel=(1, wrong), key=key),
        lambda: BatchNorm(wrong),
        lambda: decimate(jnp.ones(12), wrong),
        lambda: strided_convolution(jnp.ones((9, 1)), jnp.ones((2, 1, 1)), wrong),
    ):
        with pytest.raises(ValueError, match="whole number"):
            make()


def test_a_stride_that_skips_samples_is_refused():
    with pytest.raises(ValueError, match="got stride=4 and taps=3"):
        CausalConvolution(1, 1, taps=3, stride=4, key=jax.random.key(0))


def test_decimation_of_integers_and_of_short_signals():
    ramp = jnp.arange(64)
    np.testing.assert_array_equal(decimate(ramp, 4), decimate(ramp.astype(jnp.float32), 4))
    assert decimate(jnp.ones(3), 4).shape == (0,)


def test_causal_convolution_sees_the_past_only():
    layer = CausalConvolution(2, 3, taps=8, stride=4, key=jax.random.key(0))
    x = jax.random.normal(jax.random.key(1), (40, 2))
    later = x.at[20:].add(1.0)
    changed = jnp.any(layer(x) != layer(later), axis=1)
    assert changed.tolist() == [False] * 5 + [True] * 2 + [True] * 3


def test_decimation_keeps_low_frequencies_and_the_variance_of_noise():
    t = np.arange(4096) / 2048
    for frequency, gain in ((50.0, 1.0), (200.0, 1.0), (310.0, 0.0), (800.0, 0.0)):
        low = decimate(jnp.asarray(np.sin(2 * np.pi * frequency * t), jnp.float32), 4)
        assert jnp.std(low[16:-16]) == pytest.approx(2 * gain * 0.5**0.5, abs=0.03)
    noise = jax.random.normal(jax.random.key(0), (2**17,))
    assert jnp.std(decimate(noise, 4)) == pytest.approx(1.0, abs=0.03)  # less the transition
