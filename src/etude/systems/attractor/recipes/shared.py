"""What the recipes share: back-propagation beside the local rule, results, figures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import numpy as np
import optax
from jaxtyping import Array

import etude as et
from etude.metrics import ConfusionMatrix
from etude.systems.attractor import plots
from etude.systems.attractor.orchestrator import SequentialOrchestrator
from etude.systems.attractor.settling import trace
from etude.systems.attractor.state import SequentialState
from etude.systems.attractor.training import back_propagation, judge, scores, settle_freely

LOCAL, BACK_PROPAGATION, READ_OUT = "local rule", "back-propagation", "read-out alone"

Splits = dict[str, tuple[Array, Array]]


def gradient_phase(
    sizes: tuple[int, ...],
    data: et.ArrayData,
    *,
    length: et.Epochs,
    optimizer: optax.GradientTransformation,
    held: tuple[Array, Array],
    free_steps: int = 10,
) -> et.Phase:
    """The phase that trains the same network by back-propagation."""
    learner = et.Learner(et.Gradient(back_propagation(sizes, free_steps)), optimizer)
    return et.Phase("gradient", learner, data, length, **judge(sizes, held, free_steps))


def sizes_of(network: SequentialOrchestrator) -> tuple[int, int, int]:
    """Inputs, hidden units and classes of a network of one hidden layer."""
    inputs, units = network.layers[1, 0].weight.shape
    return inputs, units, network.layers[2, 1].weight.shape[1]


@eqx.filter_jit
def predicted(model: Any, x: Array) -> Array:
    """The scores of a network of one hidden layer, or of a perceptron."""
    if isinstance(model, SequentialOrchestrator):
        return scores(model, sizes_of(model), x)
    return jax.vmap(model)(x)


def _confusion(model: Any, batch: tuple[Array, Array], context: et.Context) -> dict[str, Any]:
    x, y = batch
    counted = ConfusionMatrix.empty(y.shape[1]).update(predicted(model, x), y.argmax(1))
    return {"confusion_matrix": counted}


_counted = et.Evaluation(_confusion)


def measured(model: Any, x: Array, y: Array) -> dict[str, Any]:
    """Accuracy and confusion matrix of a model on samples and targets of ±1."""
    matrix = _counted(model, et.ArrayData((x, y), min(2000, len(x))))["confusion_matrix"]
    return {
        "accuracy": float(np.trace(matrix) / np.sum(matrix)),
        "confusion_matrix": matrix,
    }


def draw_network(network: SequentialOrchestrator, x: Array, patterns: Array, folder: Path) -> None:
    """Overlap with patterns, flips while settling, stability, weights: on samples `x`."""
    folder.mkdir(parents=True, exist_ok=True)
    sizes = sizes_of(network)
    blank = SequentialState(sizes).init(x)
    settled = settle_freely(network, sizes, x)
    figures = {
        "overlap": plots.plot_overlap(trace(network, blank, 6)[1], patterns),
        "flips": plots.plot_flips(network, blank, 6),
        "stability": plots.plot_stability(network, settled),
        "weights": plots.plot_weights(network.layers[1, 0].weight, "Weights of the input"),
    }
    for name, figure in figures.items():
        figure.savefig(folder / f"{name}.png", dpi=60 if name == "weights" else 90)
