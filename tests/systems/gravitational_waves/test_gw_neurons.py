"""Neurons against closed forms."""

from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from etude.systems.gravitational_waves.spiking import (
    ALIF,
    LI,
    LIF,
    CuBaLIF,
    FastSigmoid,
    Graded,
)

KINDS = [LIF, ALIF, CuBaLIF, LI, Graded]
SPIKING = [LIF, ALIF, CuBaLIF]


def membranes(neurons, currents):
    """The membrane (the first array of the state) after every step."""
    advance = neurons.advance()

    def step(state, current):
        state, _ = advance(state, current)
        return state, jax.tree.leaves(state)[0]

    return np.asarray(jax.lax.scan(step, neurons.rest(), currents)[1])


def impulse(size: float, steps: int, features: int = 1):
    return jnp.zeros((steps, features)).at[0].set(size)


@pytest.mark.parametrize("kind", [LIF, ALIF, LI, Graded])
@given(tau=st.floats(1e-3, 1.0), dt=st.floats(1e-5, 1e-2))
@settings(max_examples=8)
def test_an_impulse_decays_as_the_exponential_of_dt_over_tau(kind, tau, dt):
    found = membranes(kind(1, dt=dt, time_constant=tau), impulse(0.9, 6))[:, 0]
    np.testing.assert_allclose(found, 0.9 * np.exp(-dt / tau * np.arange(6)), rtol=1e-4, atol=1e-7)


def test_a_current_based_neuron_answers_with_two_exponentials():
    dt, slow, fast = 1e-3, 0.02, 0.005
    neurons = CuBaLIF(1, dt=dt, time_constant=slow, synaptic_time_constant=fast, threshold=9.0)
    n = np.arange(1, 41)
    a, b = np.exp(-dt / slow), np.exp(-dt / fast)
    found = membranes(neurons, impulse(1.0, 40))[:, 0]
    np.testing.assert_allclose(found, (a**n - b**n) / (a - b), rtol=1e-5)
    np.testing.assert_allclose(found.argmax(), np.log(slow / fast) / (1 / fast - 1 / slow) / dt, 1)


@pytest.mark.parametrize("kind", [*SPIKING, LI])
def test_a_membrane_remembers_many_steps(kind):
    # exp(-1 / tau), without dt, would forget everything within one step.
    neurons = kind(1, dt=1e-3, time_constant=0.02)
    found = membranes(neurons, impulse(0.5, 30))[-1, 0]
    assert found > 0.5 * np.exp(-29 / 20) * 0.99


@pytest.mark.parametrize("kind", SPIKING)
@pytest.mark.parametrize("early", [0, 3])
def test_an_early_input_reaches_a_late_spike(kind, early):
    late = jnp.full((30, 1), 0.01).at[12].set(0.5)
    primed = late.at[early].add(0.3)
    peak = float(membranes(kind(1, dt=1e-3, threshold=99.0), late).max())
    neurons = kind(1, dt=1e-3, threshold=1.01 * peak)
    assert neurons(late).sum() == 0
    assert neurons(primed)[:12].sum() == 0
    assert neurons(primed)[12:].sum() > 0


@pytest.mark.parametrize("current", [1.2, 2.0, 5.0])
def test_the_first_spike_is_at_the_closed_form_time(current):
    # The membrane tends to `current` and passes 1 at -tau ln(1 - 1 / current).
    dt, tau = 1e-4, 0.02
    x = jnp.full((2000, 1), current * (1 - np.exp(-dt / tau)), jnp.float32)
    first = int(LIF(1, dt=dt, time_constant=tau)(x)[:, 0].argmax())
    assert first * dt == pytest.approx(-tau * np.log(1 - 1 / current), abs=2 * dt)


@pytest.mark.parametrize("current", [1.2, 2.0, 5.0])
def test_the_firing_rate_is_the_closed_form(current):
    dt, tau, steps = 1e-4, 0.02, 20_000
    x = jnp.full((steps, 1), current * (1 - np.exp(-dt / tau)), jnp.float32)
    rate = float(LIF(1, dt=dt, time_constant=tau)(x).sum()) / (steps * dt)
    # A reset by the threshold keeps what lies above it, and comes a step late: within a few steps.
    period = -tau * np.log(1 - 1 / current)
    assert 1 / (period + 2 * dt) - 1 < rate < 1 / (period - 2 * dt) + 1


def test_a_spike_takes_one_threshold_in_the_step_after_the_crossing():
    neurons = LIF(1, dt=1e-3, time_constant=1e6, threshold=0.5)
    currents = jnp.array([[1.3], [0.0], [0.0], [0.0]])
    np.testing.assert_allclose(membranes(neurons, currents)[:, 0], [1.3, 0.8, 0.3, 0.3], rtol=1e-5)
    np.testing.assert_array_equal(neurons(currents)[:, 0], [0, 1, 1, 0])


def test_adaptation_spaces_out_the_spikes():
    neurons = ALIF(1, dt=1e-3, adaptation_time_constant=0.1, jump=0.1)
    gaps = np.diff(np.flatnonzero(neurons(jnp.full((300, 1), 0.2))[:, 0]))
    assert gaps[-3:].mean() > gaps[:3].mean() + 1


def test_adaptation_is_the_sum_of_decayed_spikes():
    dt, tau = 1e-3, 0.1
    neurons = ALIF(1, dt=dt, adaptation_time_constant=tau, jump=0.1)
    x = jnp.full((60, 1), 0.2)
    spikes = np.asarray(neurons(x))[:, 0]
    state = neurons.rest()
    for current in x:
        state, _ = neurons.advance()(state, current)
    expected = (spikes * np.exp(-dt / tau * np.arange(59, -1, -1))).sum()
    np.testing.assert_allclose(state[1][0], expected, rtol=1e-5)


def test_without_a_jump_adaptive_neurons_are_plain_ones():
    x = jax.random.normal(jax.random.key(0), (100, 5)) * 0.5
    np.testing.assert_array_equal(ALIF(5, dt=1e-3, jump=0.0)(x), LIF(5, dt=1e-3)(x))


@pytest.mark.parametrize("kind", SPIKING)
def test_spikes_are_zero_or_one(kind):
    spikes = kind(20, dt=1e-3)(jax.random.normal(jax.random.key(0), (200, 20)))
    assert set(np.unique(spikes)) == {0.0, 1.0}


@pytest.mark.parametrize("kind", SPIKING)
def test_the_gradient_reaches_early_inputs_time_constants_and_thresholds(kind):
    neurons = kind(3, dt=1e-3, learnable=True, surrogate=FastSigmoid())
    x = 0.1 + 0.1 * jax.random.normal(jax.random.key(1), (50, 3))
    gradient, inputs = eqx.filter_jit(jax.grad(lambda both: both[0](both[1]).sum()))((neurons, x))
    assert np.abs(inputs[:5]).min() > 0
    for quantity in (gradient.membrane, gradient.threshold):
        assert np.abs(quantity.log_ratio).min() > 0
    # A higher threshold means fewer spikes, whatever the surrogate.
    assert gradient.threshold.log_ratio.max() < 0


def test_a_gradient_by_the_time_constant_is_that_of_the_closed_form():
    dt, tau = 1e-3, 0.02
    neurons = LI(1, dt=dt, time_constant=tau, learnable=True)
    gradient = eqx.filter_jit(jax.grad(lambda n: n(impulse(1.0, 11))[10, 0]))(
        neurons
    ).membrane.log_ratio[0]
    # d/d(ln tau) of exp(-10 dt / tau)
    assert float(gradient) == pytest.approx(10 * dt / tau * np.exp(-10 * dt / tau), rel=1e-4)


def test_what_is_not_learnable_has_no_parameters():
    from etude.engine.leaf_roles import Role, roles

    assert Role.PARAMETER not in roles(LIF(3, dt=1e-3))
    assert roles(LIF(3, dt=1e-3, learnable=True)).count(Role.PARAMETER) == 2


@pytest.mark.parametrize("kind", KINDS)
def test_one_sample_is_as_in_a_batch_compiled_or_not(kind):
    neurons = kind(4, dt=1e-3)
    x = 0.3 * jax.random.normal(jax.random.key(2), (3, 40, 4))
    batch = jax.jit(jax.vmap(neurons))(x)
    for sample, expected in zip(x, batch, strict=True):
        np.testing.assert_allclose(neurons(sample), expected, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
@given(cut=st.integers(1, 29))
@settings(max_examples=5)
def test_the_future_does_not_reach_the_past(kind, cut):
    run = eqx.filter_jit(kind(2, dt=1e-3))
    x = 0.5 * jax.random.normal(jax.random.key(3), (30, 2))
    np.testing.assert_array_equal(run(x)[:cut], run(x.at[cut:].set(9.0))[:cut])


@pytest.mark.parametrize("kind", [LIF, partial(ALIF, jump=0.0), CuBaLIF])
def test_the_gain_is_the_rate_without_a_leak(kind):
    neurons = kind(1, dt=1e-3, time_constant=1e4, threshold=0.5)
    x = jnp.full((2000, 1), 0.3) / neurons.gain()
    assert float(neurons(x)[100:].mean()) == pytest.approx(0.3, abs=0.002)


@pytest.mark.parametrize("kind", [LI, Graded])
def test_the_gain_is_where_the_membrane_settles(kind):
    neurons = kind(1, dt=1e-3)
    settled = float(neurons(jnp.full((400, 1), 0.1))[-1, 0])
    assert settled == pytest.approx(0.1 * float(neurons.gain()), rel=1e-3)


def test_half_precision_stays_half():
    x = jnp.ones((5, 2), jnp.bfloat16)
    neurons = jax.tree.map(lambda a: a.astype(jnp.bfloat16), LIF(2, dt=1e-3))
    assert neurons(x).dtype == jnp.bfloat16


@pytest.mark.parametrize("kind", KINDS)
def test_times_are_checked(kind):
    with pytest.raises(ValueError, match=r"features=0; expected at least 1"):
        kind(0, dt=1e-3)
    with pytest.raises(ValueError, match="length of a step in seconds"):
        kind(2, dt=0.0)
    with pytest.raises(ValueError, match=r"time_constant=-1\.0; expected positive"):
        kind(2, dt=1e-3, time_constant=-1.0)
    with pytest.raises(ValueError, match=r"time_constant has shape \(3,\)"):
        kind(2, dt=1e-3, time_constant=np.ones(3))
