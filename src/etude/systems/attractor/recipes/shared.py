"""What the recipes share: back-propagation beside the local rule, results, figures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import equinox as eqx
import numpy as np
import optax
from jaxtyping import Array

import etude as et
from etude.metrics import compute_accuracy, compute_confusion_matrix
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


def predicted(network: SequentialOrchestrator, x: Array) -> Array:
    """The scores of a network of one hidden layer."""
    return scores(network, sizes_of(network), x)


def measured(
    model: Any, predict: Callable[[Any, Array], Array], x: Array, y: Array
) -> dict[str, Any]:
    """Accuracy and confusion matrix of a model with scores `predict(model, x)`."""
    compiled = eqx.filter_jit(predict)
    parts = [np.asarray(compiled(model, x[k : k + 2000])) for k in range(0, len(x), 2000)]
    found, label = np.concatenate(parts), np.asarray(y).argmax(1)
    return {
        "accuracy": compute_accuracy(found, label),
        "confusion_matrix": compute_confusion_matrix(found, label).tolist(),
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
