"""Attractor networks trained by a local rule, without gradients.

A network of binary units settles into a fixed point under the influence of its input and its
label; then every connection learns, from what it sees at its two ends, to keep that fixed point
when the label is gone. Badalotti, Baldassi, Mézard, Scardecchia and Zecchina, arXiv:2509.05041.
"""

from etude.systems.attractor.data import PrototypeData, standardised
from etude.systems.attractor.layer_map import LayerMap
from etude.systems.attractor.learning import LocalRule, contrastive_updates, local_updates
from etude.systems.attractor.metrics import (
    accuracy,
    batch_accuracy,
    flipped,
    overlap,
    stability,
)
from etude.systems.attractor.modules import (
    AbstractConnection,
    AbstractLayer,
    Conv2D,
    FrozenFullyConnected,
    FullyConnected,
    OutputLayer,
    RecurrentConv2D,
    RecurrentDiscrete,
    RecurrentTanh,
    SparseFullyConnected,
    Uncoupled,
    sign,
)
from etude.systems.attractor.networks import one_hidden_layer
from etude.systems.attractor.orchestrator import SequentialOrchestrator
from etude.systems.attractor.plasticity import (
    Local,
    Plasticity,
    field_perceptron,
    hebbian,
    no_learning,
    own_message_perceptron,
    softmax_cross_entropy,
    tanh_delta,
)
from etude.systems.attractor.plots import plot_flips, plot_overlap, plot_stability, plot_weights
from etude.systems.attractor.settling import settle, trace
from etude.systems.attractor.state import SequentialState
from etude.systems.attractor.training import (
    AttractorTrainer,
    back_propagation,
    measure_accuracy,
    scores,
)

__all__ = [
    "AbstractConnection",
    "AbstractLayer",
    "AttractorTrainer",
    "Conv2D",
    "FrozenFullyConnected",
    "FullyConnected",
    "LayerMap",
    "Local",
    "LocalRule",
    "OutputLayer",
    "Plasticity",
    "PrototypeData",
    "RecurrentConv2D",
    "RecurrentDiscrete",
    "RecurrentTanh",
    "SequentialOrchestrator",
    "SequentialState",
    "SparseFullyConnected",
    "Uncoupled",
    "accuracy",
    "back_propagation",
    "batch_accuracy",
    "contrastive_updates",
    "field_perceptron",
    "flipped",
    "hebbian",
    "local_updates",
    "measure_accuracy",
    "no_learning",
    "one_hidden_layer",
    "overlap",
    "own_message_perceptron",
    "plot_flips",
    "plot_overlap",
    "plot_stability",
    "plot_weights",
    "scores",
    "settle",
    "sign",
    "softmax_cross_entropy",
    "stability",
    "standardised",
    "tanh_delta",
    "trace",
]
