"""Spikes are steps, and their derivative is the surrogate's."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
from hypothesis import given, strategies as st
from hypothesis.extra import numpy as hnp

from etude.systems.gravitational_waves.spiking import (
    Arctan,
    FastSigmoid,
    SuperSpike,
    Triangular,
    spike_function,
)
from etude.systems.gravitational_waves.spiking.surrogate import SURROGATES

V = np.array([-2.0, -0.3, -0.01, 0.0, 0.01, 0.3, 2.0], np.float32)
NAMES = sorted(SURROGATES)


def smooth(name: str, k: float, v: np.ndarray) -> np.ndarray:
    """The function whose derivative the surrogate is, up to a factor, from its definition."""
    if name == "arctan":
        return 0.5 + np.arctan(np.pi * k * v / 2) / np.pi
    if name == "fast_sigmoid":
        return (1 + k * v / (1 + k * abs(v))) / 2
    if name == "superspike":
        return v / (1 + k * abs(v))
    inside = np.clip(v, -1 / k, 1 / k)
    return inside - np.sign(inside) * k * inside**2 / 2


@pytest.mark.parametrize("name", NAMES)
@given(
    # XLA flushes subnormal numbers to zero.
    v=hnp.arrays(np.float32, 5, elements=st.floats(-99, 99, width=32, allow_subnormal=False)),
    slope=st.floats(0.1, 100),
)
def test_a_spike_is_zero_or_one(name, v, slope):
    np.testing.assert_array_equal(spike_function(name, slope)(jnp.asarray(v)), v > 0)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("slope", [0.7, 2.0, 10.0])
def test_the_gradient_is_the_derivative_of_the_smooth_step(name, slope):
    gradient = jax.vmap(jax.grad(spike_function(name, slope)))(jnp.asarray(V))
    x, h = V.astype(np.float64), 1e-6
    expected = (smooth(name, slope, x + h) - smooth(name, slope, x - h)) / (2 * h)
    np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_the_gradient_is_largest_at_the_threshold_and_never_negative(name):
    derivative = jax.vmap(jax.grad(spike_function(name)))(jnp.arange(-30, 31) / 10)
    assert derivative[30] == 1.0  # the peak at the default slope
    assert derivative.argmax() == 30
    assert (derivative >= 0).all()


@pytest.mark.parametrize("surrogate", [FastSigmoid(3.0), Arctan(3.0)])
def test_the_area_is_one(surrogate):
    area = scipy.integrate.quad(lambda v: float(surrogate.derivative(jnp.array(v))), -1e3, 1e3)[0]
    assert area == pytest.approx(1, abs=2e-3)


@pytest.mark.parametrize("surrogate", [SuperSpike(3.0), Triangular(3.0)])
def test_the_peak_is_one(surrogate):
    assert float(jax.grad(surrogate)(0.0)) == 1.0


def test_forward_and_reverse_mode_agree():
    v, spike = jnp.asarray(V), Arctan()
    _, forward = jax.jvp(spike, (v,), (jnp.ones_like(v),))
    np.testing.assert_allclose(
        forward, eqx.filter_jit(jax.grad(lambda v: spike(v).sum()))(v), rtol=1e-6
    )


def test_names_and_slopes_are_checked():
    with pytest.raises(ValueError, match="Did you mean 'superspike'"):
        spike_function("super_spike")
    with pytest.raises(ValueError, match="expected slope > 0"):
        Arctan(0.0)
