"""Settings that are no count or no number are refused where they are made.

Values of other types are refused by the checker of annotations here, and by `is_count` and
`is_real` (whose examples run) for users, who have no such checker.
"""

import jax.numpy as jnp
import optax
import pytest

import etude as et

RULE = et.Gradient(lambda w, batch, context: jnp.mean((w - batch) ** 2))


@pytest.mark.parametrize("count", [True, 0, -1])
def test_what_counts_is_a_whole_number_from_one(count):
    for make in (
        et.Steps,
        et.Epochs,
        lambda count: et.EarlyStopping("valid/loss", count),
        lambda count: et.Learner(RULE, optax.sgd(0.1), repeat=count),
        lambda count: et.Learner(RULE, optax.sgd(0.1), accumulate=count),
    ):
        with pytest.raises(et.ConfigurationError, match="whole number from 1; got"):
            make(count)


def test_what_measures_is_a_number():
    for make in (
        et.Seconds,
        lambda value: et.EarlyStopping("valid/loss", min_delta=value),
        lambda value: et.Learner(RULE, optax.sgd(0.1), clip_norm=value),
        lambda value: et.Learner(RULE, optax.sgd(0.1), ema=value),
    ):
        with pytest.raises(et.ConfigurationError, match="got nan"):
            make(float("nan"))
