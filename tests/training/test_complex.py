"""Complex parameters go downhill, and stay complex whatever a learner does with their updates."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from problems import fit

import etude as et

TARGET = 3 + 2j


class Point(eqx.Module):
    w: jnp.ndarray


def distance(model, batch, context):
    return jnp.mean(jnp.abs(model.w - batch) ** 2)


def found(optimizer=None, steps=150, start=0j, target=TARGET, **options):
    data = et.ArrayData(jnp.full(4, target, jnp.complex64), 4)
    learner = et.Learner(et.Gradient(distance), optimizer or optax.sgd(0.2), **options)
    keep = "ema" if "ema" in options else "last"
    phase = et.Phase("fit", learner, data, et.Steps(steps), keep=keep)
    w = fit(Point(jnp.asarray(start, jnp.complex64)), phase).model.w
    assert w.dtype == jnp.complex64
    return complex(w)


@pytest.mark.parametrize(
    "options",
    [
        {"clip_norm": 10.0},
        {"optimizer": optax.adam(0.1)},
        {"accumulate": 2},
        {"accumulate": 3},
        {"precision": "float16"},
        {"precision": "bfloat16"},
        {"precision": "float16", "accumulate": 2, "clip_norm": 5.0, "repeat": 2},
        {"clip_value": 0.5},
        {"ema": 0.5},
        {"ema": 0.5, "accumulate": 2, "precision": "float16"},
        {"project": lambda model: Point(model.w * 1)},
    ],
    ids=lambda options: "-".join(options),
)
def test_complex_parameters_reach_their_minimum(options):
    assert found(**options) == pytest.approx(TARGET, abs=1e-2)


def test_one_update_is_the_closed_form():
    # The gradient of |w - z|^2 that descends is 2 (w - z): here -(6 + 4j).
    for options in ({}, {"accumulate": 2}, {"precision": "float16"}):
        assert found(optax.sgd(0.5), 1, **options) == pytest.approx(TARGET, rel=1e-3)
    step = 6 + 4j
    clipped = found(optax.sgd(1.0), 1, clip_value=0.5)
    assert clipped == pytest.approx(0.5 * step / abs(step), rel=1e-5), "the modulus is bounded"
    assert found(optax.sgd(1.0), 1, clip_value=100.0) == pytest.approx(step, rel=1e-5)
    by_norm = found(optax.sgd(1.0), 1, clip_norm=0.5)
    assert by_norm == pytest.approx(0.5 * step / abs(step), rel=1e-5)
    assert found(optax.sgd(0.5), 2, ema=0.5) == pytest.approx(0.75 * TARGET, rel=1e-5)


def test_nan_in_an_imaginary_part_is_seen():
    with pytest.raises(et.NonFiniteError):
        found(start=complex(0, np.inf), steps=3)


def test_a_complex_loss_and_a_complex_update_of_a_real_parameter_are_refused():
    data = et.ArrayData(jnp.ones(4, jnp.complex64), 4)

    def refused(rule, match):
        phase = et.Phase("fit", et.Learner(rule, optax.sgd(0.1)), data, et.Steps(1))
        with pytest.raises(et.ConfigurationError, match=match):
            fit(jnp.ones(()), phase)

    refused(et.Gradient(lambda w, z, c: (w.astype(complex) * z).mean()), "A loss must be real")
    refused(
        lambda trainable, rest, z, c: et.Proposal(trainable.astype(complex) * z.mean()),
        "is complex, the parameter is real",
    )
