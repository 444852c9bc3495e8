"""Spiking networks: surrogate gradients, neurons, the bridge from features, and a classifier."""

from etude.systems.gravitational_waves.spiking.bridge import Encoding, SpikeBridge
from etude.systems.gravitational_waves.spiking.classifier import Activity, SNNClassifier
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

__all__ = [
    "ALIF",
    "LI",
    "LIF",
    "AbstractNeurons",
    "AbstractSurrogate",
    "Activity",
    "Arctan",
    "CuBaLIF",
    "Encoding",
    "FastSigmoid",
    "SNNClassifier",
    "SpikeBridge",
    "SuperSpike",
    "Triangular",
    "spike_function",
]
