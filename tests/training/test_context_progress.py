"""`context.progress` is the share of a phase that is done: it counts as optax schedules count."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest
from problems import fit

import etude as et

N = 7


@pytest.mark.parametrize("executor", ["loop", "dispatch"])
@pytest.mark.parametrize("length", [et.Steps(N), et.Epochs(1)])
def test_schedules_end_with_their_phase(executor, length):
    def seen(context):
        return {
            "progress": context.progress,
            "falling": 1 - context.progress,
            # Written to be 1 at the last step.
            "rising": jnp.minimum(1.0, context.step.astype(jnp.float32) / (N - 1)),
        }

    def loss(w, batch, context):
        return jnp.sum(w) * (1 - context.progress), seen(context)

    optimizer = optax.inject_hyperparams(optax.sgd)(optax.linear_schedule(1.0, 0.0, N))
    data = et.ArrayData(np.zeros(2 * N, np.float32), 2)
    validation = et.Validation(data, lambda w, b, context: seen(context))
    phase = et.Phase("fit", et.Learner(et.Gradient(loss), optimizer), data, length, validation)
    result = fit(jnp.zeros(()), phase, executor=executor)
    steps = np.arange(N)

    def column(name):
        return [r[f"train/{name}"] for r in result.history if f"train/{name}" in r]

    np.testing.assert_allclose(column("progress"), steps / N, rtol=1e-6)
    np.testing.assert_allclose(column("falling"), column("learning_rate"), atol=1e-6)
    np.testing.assert_allclose(column("rising"), steps / (N - 1), rtol=1e-6)
    assert column("rising")[-1] == 1
    assert result.metrics["valid/progress"] == 1
    assert result.metrics["valid/falling"] == 0
