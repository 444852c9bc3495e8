"""Figures of an attractor network. Matplotlib is imported when a figure is drawn.

Every function returns a `matplotlib.figure.Figure` that belongs to no window; save it with
``figure.savefig(...)``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from etude.systems.attractor.metrics import overlap, stability
from etude.systems.attractor.orchestrator import SequentialOrchestrator
from etude.systems.attractor.settling import trace
from etude.systems.attractor.state import SequentialState

if TYPE_CHECKING:
    from matplotlib.figure import Figure
else:
    Figure = Any


def plot_overlap(
    path: Float[Array, "steps batch units"],
    patterns: Float[Array, "patterns units"],
    sample: int = 0,
) -> Figure:
    """Overlap of one sample with every pattern, sweep by sweep.

    Args:
        path: activity after each sweep, as from `trace`.
        patterns: ±1 patterns, such as prototypes or the mean activity of each class.
        sample: index into the batch.

    >>> figure = plot_overlap(jnp.ones((3, 1, 4)), jnp.ones((2, 4)))
    >>> len(figure.axes[0].lines)
    2
    """
    figure, axes = _figure("sweep", "overlap", "Overlap with the patterns")
    curves = np.asarray(overlap(path[:, sample], patterns))
    for k, curve in enumerate(curves.T):
        axes.plot(np.arange(1, len(curve) + 1), curve, marker=".", label=str(k))
    axes.set_ylim(-1.05, 1.05)
    axes.legend(title="pattern", fontsize="small", ncols=2)
    return figure


def plot_flips(network: SequentialOrchestrator, state: SequentialState, steps: int = 10) -> Figure:
    """Fraction of the units of each hidden row that flip in each sweep, from `state` on.

    The labels are heard only as far as the free phase hears them: not at all.
    """
    figure, axes = _figure("sweep", "fraction of units that flip", "Settling")
    for row, path in trace(network, state, steps).items():
        before = jnp.concatenate([state[row][None], path[:-1]])
        flips = (before != path).reshape(steps, -1).mean(axis=1)
        axes.plot(np.arange(1, steps + 1), np.asarray(flips), marker=".", label=f"layer {row}")
    axes.set_ylim(bottom=0)
    axes.legend()
    return figure


def plot_stability(network: SequentialOrchestrator, state: SequentialState) -> Figure:
    """Histogram of the stabilities ``s h`` of each hidden row; above zero a unit is stable."""
    figure, axes = _figure("stability $s\\,h$", "density", "Stability")
    for row in network.layers.rows[:-1]:
        values = np.asarray(stability(network, state, row)).ravel()
        axes.hist(values, bins=60, density=True, alpha=0.6, label=f"layer {row}")
    axes.axvline(0, color="black", linewidth=0.8)
    axes.legend()
    return figure


def plot_weights(weight: Float[Array, "inputs outputs"], title: str = "Weights") -> Figure:
    """A weight matrix as an image, sender by receiver, on a scale symmetric about zero.

    >>> plot_weights(jnp.eye(3)).axes[0].images[0].get_clim()
    (-1.0, 1.0)
    """
    figure, axes = _figure("receiver", "sender", title)
    bound = float(jnp.abs(weight).max())
    image = axes.imshow(np.asarray(weight), cmap="RdBu_r", vmin=-bound, vmax=bound, aspect="auto")
    figure.colorbar(image)
    return figure


def _figure(xlabel: str, ylabel: str, title: str) -> tuple[Figure, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    axes.set(xlabel=xlabel, ylabel=ylabel, title=title)
    return figure, axes
