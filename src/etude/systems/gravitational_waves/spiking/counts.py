"""What a spiking network does, counted: spikes and synaptic operations, not an assumed energy.

>>> import jax
>>> classifier = SNNClassifier(16, 2, (32, 8), dt=0.001, key=jax.random.key(0))
>>> counts = count(classifier, jnp.zeros((50, 16)))
>>> float(counts.synaptic_operations), counts.dense_operations
(0.0, 39200)
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

import etude as et
from etude.systems.gravitational_waves.spiking.classifier import SNNClassifier


class Counts(NamedTuple):
    """What one sample cost."""

    #: mean spikes per neuron and second of each hidden layer
    rates: Float[Array, "layers"]
    #: share of the neurons of each hidden layer that never spiked
    silent: Float[Array, "layers"]
    #: additions: one per spike and connection that leads on from it
    synaptic_operations: Float[Array, ""]
    #: what the same layers cost that send numbers: one per connection and step
    dense_operations: int


def count(classifier: SNNClassifier, spikes: Float[Array, "time inputs"]) -> Counts:
    """Counts of one sample; the spikes that come in cost synaptic operations, too."""
    rasters = [et.widened(raster) for raster in classifier.activity(spikes).spikes]
    layers = (*classifier.layers, classifier.readout)
    operations = jnp.zeros(())
    for sent, layer in zip((et.widened(spikes), *rasters), layers, strict=True):
        operations += jnp.sum(sent) * layer.weight.shape[1]
    return Counts(
        rates=jnp.stack([jnp.mean(raster) for raster in rasters]) / classifier.readout.neurons.dt,
        silent=jnp.stack([jnp.mean(jnp.max(raster, axis=0) == 0) for raster in rasters]),
        synaptic_operations=operations,
        dense_operations=len(spikes) * sum(layer.weight.size for layer in layers),
    )
