"""The output of the network."""

from __future__ import annotations

from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Array

import etude as et
from etude.systems.attractor.modules.base import AbstractLayer, silent


class OutputLayer(AbstractLayer):
    """A layer without couplings that sums what arrives: its activity is the score of each class.

    >>> OutputLayer().activation(jnp.array([[-1.5, 2.0]])).tolist()
    [[-1.5, 2.0]]
    """

    threshold: et.Fixed

    def __init__(self):
        self.threshold = et.Fixed(jnp.zeros(()))

    def operator(self) -> Callable[[Array], Array]:
        return jnp.zeros_like

    def correlate(self, x: Array, signal: Array) -> OutputLayer:
        return silent(self)

    def activation(self, field: Array) -> Array:
        return field
