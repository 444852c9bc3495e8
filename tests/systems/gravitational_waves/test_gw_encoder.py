"""The encoder: responses against theory, causality."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from etude.systems.gravitational_waves.chirps import chirp_filters
from etude.systems.gravitational_waves.encoder import CPCEncoder
from etude.systems.gravitational_waves.quadrature import QuadratureFilters


@pytest.fixture(scope="module")
def chirps():
    """Sine sweeps of several masses, so to speak, with the loudest part at the end."""
    t = np.arange(2458) / 2048 - 1.0
    rates = np.linspace(0.5, 1.5, 12)[:, None]
    past = np.clip(-t, 1e-3, None) + 0.004
    envelope = past**-0.25 * (t < 0) * np.clip((t + 0.24) / 0.04, 0, 1)
    return (envelope * np.cos(-2 * np.pi * 60 * rates * past**0.625)).astype(np.float32)


def test_a_filter_responds_to_its_signal_by_its_ratio_whatever_the_phase(chirps):
    kernels = chirp_filters(chirps, 12)
    norms = np.linalg.norm(kernels, axis=1)
    np.testing.assert_allclose(norms[0], norms[1], rtol=0.05)
    filters = QuadratureFilters(jnp.asarray(kernels))
    spectrum = np.fft.rfft(chirps[5])
    for phase in (0.0, 1.0, 2.5):
        turned = np.fft.irfft(spectrum * np.exp(1j * phase), chirps.shape[1])
        loud = 20 * turned / np.linalg.norm(turned)
        responses = filters(jnp.asarray(loud, jnp.float32)[:, None]) + np.sqrt(np.pi / 2)
        assert 15 < responses.max() < 20.5


def test_noise_responds_as_a_rayleigh_variable(chirps):
    filters = QuadratureFilters(jnp.asarray(chirp_filters(chirps, 4)))
    noise = jax.random.normal(jax.random.key(0), (60, 2048, 2))
    responses = jax.vmap(filters)(noise)
    assert abs(responses.mean()) < 0.03
    assert responses.std() == pytest.approx(np.sqrt(2 - np.pi / 2), abs=0.03)


def test_more_filters_recover_more(chirps):
    def recovered(count):
        filters = QuadratureFilters(jnp.asarray(chirp_filters(chirps, count)))
        units = chirps / np.linalg.norm(chirps, axis=1, keepdims=True)
        loud = jax.vmap(filters)(jnp.asarray(100 * units)[..., None])
        return float(loud.max(axis=(1, 2)).min())

    assert recovered(1) < recovered(4) - 3 < recovered(12)


def test_chirp_filters_refuse_too_few_signals(chirps):
    with pytest.raises(ValueError, match="at least 13"):
        chirp_filters(chirps, 13)


@pytest.mark.parametrize("context", ["gru", "transformer"])
def test_the_context_is_causal(context):
    encoder = CPCEncoder(16, filters=3, channels=8, context=context, key=jax.random.key(0))
    window = jax.random.normal(jax.random.key(1), (2048, 2))
    changed = window.at[1280:].set(0.0)
    before, after = eqx.filter_jit(encoder)(window), eqx.filter_jit(encoder)(changed)
    # Step t ends 1/4 s + (t + 1) / 64 s after the start of the window, less the low-pass filter.
    first = (1280 - 512) // 32 - 1
    for name in ("latents", "context"):
        one, other = getattr(before, name), getattr(after, name)
        np.testing.assert_array_equal(one[: first - 1], other[: first - 1])
        assert jnp.abs(one - other)[first + 1 :].max() > 1e-3


@pytest.mark.parametrize("context", ["gru", "transformer"])
def test_the_context_remembers(context):
    encoder = CPCEncoder(16, filters=3, channels=8, context=context, key=jax.random.key(0))
    window = jax.random.normal(jax.random.key(1), (2048, 2))
    last = lambda x: encoder(x).context[-1].sum()  # noqa: E731
    gradient = jax.jit(jax.grad(last))(window)
    assert jnp.abs(gradient[:900]).max() > 1e-6  # at first, a third of a second back and more


def test_an_unknown_context_is_refused():
    with pytest.raises((ValueError, TypeError), match="lstm"):  # the hook is faster
        CPCEncoder(8, context="lstm", key=jax.random.key(0))  # pyright: ignore
