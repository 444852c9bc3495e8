"""Figures: the numbers that are drawn."""

import sys
from itertools import pairwise
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from etude.systems.attractor import (
    flipped,
    overlap,
    plot_flips,
    plot_overlap,
    plot_stability,
    plot_weights,
    stability,
    trace,
)

sys.path.insert(0, str(Path(__file__).parent))
from networks import tutorial_network
from test_dynamics import random_state

SIZES = (10, 20, 3)


def settled():
    network = tutorial_network(jax.random.key(0), SIZES)
    return network, random_state(jax.random.key(1), sizes=SIZES)


def test_flips():
    network, state = settled()
    path = np.concatenate([state[1][None], trace(network, state, 6)[1]])
    expected = [np.mean(a != b) for a, b in pairwise(path)]
    line = plot_flips(network, state, 6).axes[0].lines[0]
    np.testing.assert_allclose(line.get_ydata(), expected, atol=1e-6)
    assert flipped(path[0], path[1]).item() == np.float32(expected[0])


def test_overlap_counts_agreements():
    rng = np.random.default_rng(0)
    a, b = rng.choice([-1.0, 1.0], (4, 30)), rng.choice([-1.0, 1.0], (3, 30))
    expected = 2 * (a[:, None] == b).mean(axis=-1) - 1
    a, b = jnp.asarray(a, jnp.float32), jnp.asarray(b, jnp.float32)
    np.testing.assert_allclose(overlap(a, b), expected, atol=1e-6)
    lines = plot_overlap(a[:, None], b).axes[0].lines
    np.testing.assert_allclose([line.get_ydata() for line in lines], expected.T, atol=1e-6)


def test_stability_is_positive_exactly_at_fixed_points():
    network, state = settled()
    for _ in range(20):
        state, _ = network.step_inference(state)
    stable = np.asarray(stability(network, state, 1) >= 0)
    again, _ = network.step_inference(state)
    # A tie is +1, so a unit at -1 in a field of zero is the one exception; there is none here.
    np.testing.assert_array_equal(stable, np.asarray(again[1] == state[1]))
    heights = [patch.get_height() for patch in plot_stability(network, state).axes[0].patches]
    assert sum(heights) > 0


def test_weights_share_one_symmetric_scale(tmp_path):
    figure = plot_weights(jnp.array([[1.0, -3.0]]), "W_in")
    assert figure.axes[0].images[0].get_clim() == (-3.0, 3.0)
    figure.savefig(tmp_path / "weights.png")
    assert (tmp_path / "weights.png").stat().st_size > 1000
