"""Complex parameters go downhill: by JAX's own gradient their imaginary part would go up."""

import equinox as eqx
import jax.numpy as jnp
import optax
import pytest
from problems import fit

import etude as et


class Point(eqx.Module):
    w: jnp.ndarray


def distance(model, batch, context):
    return jnp.mean(jnp.abs(model.w - batch) ** 2)


@pytest.mark.parametrize("optimizer", [optax.sgd(0.2), optax.adam(0.1)], ids=["sgd", "adam"])
def test_complex_parameters_reach_their_minimum(optimizer):
    target = jnp.full(4, 1 + 2j, jnp.complex64)
    learner = et.Learner(et.Gradient(distance), optimizer, clip_norm=10.0)
    phase = et.Phase("fit", learner, et.ArrayData(target, 4), et.Steps(200))
    found = fit(Point(jnp.asarray(0j, jnp.complex64)), phase).model.w
    assert abs(complex(found) - (1 + 2j)) < 1e-2
