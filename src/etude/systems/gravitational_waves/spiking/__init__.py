"""Spiking networks: surrogate gradients, neurons, the bridge from features, and a classifier."""

from etude.systems.gravitational_waves.spiking.bridge import Encoding, SpikeBridge
from etude.systems.gravitational_waves.spiking.classifier import Activity, SNNClassifier
from etude.systems.gravitational_waves.spiking.counts import Counts, count
from etude.systems.gravitational_waves.spiking.neurons import (
    ALIF,
    LI,
    LIF,
    AbstractNeurons,
    CuBaLIF,
)
from etude.systems.gravitational_waves.spiking.surrogate import (
    AbstractSurrogate,
    Arctan,
    FastSigmoid,
    SuperSpike,
    Triangular,
    spike_function,
)
from etude.systems.gravitational_waves.spiking.twin import Graded, ann_twin

__all__ = [
    "ALIF",
    "LI",
    "LIF",
    "AbstractNeurons",
    "AbstractSurrogate",
    "Activity",
    "Arctan",
    "Counts",
    "CuBaLIF",
    "Encoding",
    "FastSigmoid",
    "Graded",
    "SNNClassifier",
    "SpikeBridge",
    "SuperSpike",
    "Triangular",
    "ann_twin",
    "count",
    "spike_function",
]
