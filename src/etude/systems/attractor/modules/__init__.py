"""Connections carry activity between layers; layers also sum what arrives and apply a threshold."""

from etude.systems.attractor.modules.base import AbstractConnection, AbstractLayer, sign
from etude.systems.attractor.modules.convolution import Conv2D, RecurrentConv2D
from etude.systems.attractor.modules.dense import (
    FrozenFullyConnected,
    FullyConnected,
    SparseFullyConnected,
)
from etude.systems.attractor.modules.readout import OutputLayer
from etude.systems.attractor.modules.recurrent import (
    RecurrentDiscrete,
    RecurrentTanh,
    Uncoupled,
)

__all__ = [
    "AbstractConnection",
    "AbstractLayer",
    "Conv2D",
    "FrozenFullyConnected",
    "FullyConnected",
    "OutputLayer",
    "RecurrentConv2D",
    "RecurrentDiscrete",
    "RecurrentTanh",
    "SparseFullyConnected",
    "Uncoupled",
    "sign",
]
