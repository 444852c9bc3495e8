"""Models of every library train as they are, and are evaluated in inference mode."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from problems import blobs, cross_entropy, fit, learner, mlp, same

import etude as et


def test_equinox_learns_and_the_model_passed_in_is_unharmed():
    model, data = mlp(), et.ArrayData(blobs(), 32)
    before = jax.tree.map(lambda x: np.array(x) if eqx.is_array(x) else x, model)
    phase = et.Phase("fit", learner(), data, et.Epochs(30), validation=et.Validation(data))
    result = fit(model, phase)
    assert result.metrics["valid/accuracy"] > 0.85
    assert same(model, before)
    assert not same(result.model, before)


def test_the_loop_equals_a_hand_written_one():
    """Weights and metrics of every step, against a plain loop over the same batches."""
    x, y = blobs(100)
    data = et.ArrayData((x, y), 32, shuffle=False)
    model, optimizer = mlp(), optax.adam(1e-2)
    result = fit(model, et.Phase("fit", learner(), data, et.Epochs(3)))

    params, static = eqx.partition(model, eqx.is_inexact_array)
    state, losses, accuracies = optimizer.init(params), [], []

    @jax.jit
    def step(params, state, batch):
        def loss(p):
            return cross_entropy(eqx.combine(p, static), batch, None)

        (value, metrics), grads = jax.value_and_grad(loss, has_aux=True)(params)
        with jax.numpy_dtype_promotion("standard"):
            updates, state = optimizer.update(grads, state, params)
        return optax.apply_updates(params, updates), state, value, metrics["accuracy"]

    for _ in range(3):
        for start in range(0, 100, 32):
            batch = x[start : start + 32], y[start : start + 32]
            params, state, value, accuracy = step(params, state, batch)
            losses.append(float(value))
            accuracies.append(float(accuracy))
    steps = [r for r in result.history if "train/loss" in r]
    assert [r["step"] for r in steps] == list(range(1, 13))
    np.testing.assert_allclose([r["train/loss"] for r in steps], losses, rtol=1e-5)
    np.testing.assert_allclose([r["train/accuracy"] for r in steps], accuracies, rtol=1e-6)
    for a, b in zip(jax.tree.leaves(params), jax.tree.leaves(result.model), strict=False):
        if eqx.is_array(b):
            np.testing.assert_allclose(a, b, atol=1e-6)


class Stateful(eqx.Module):
    linear: eqx.nn.Linear
    norm: eqx.nn.BatchNorm
    head: eqx.nn.Linear

    def __init__(self, key):
        keys = jax.random.split(key)
        self.linear = eqx.nn.Linear(2, 8, key=keys[0])
        self.norm = eqx.nn.BatchNorm(8, axis_name="batch", mode="batch")
        self.head = eqx.nn.Linear(8, 2, key=keys[1])

    def __call__(self, x, state):
        x, state = self.norm(self.linear(x), state)
        return self.head(jax.nn.relu(x)), state


def stateful_loss(model, batch, context):
    network, state = model
    x, labels = batch
    call = jax.vmap(network, in_axes=(0, None), out_axes=(0, None), axis_name="batch")
    logits, state = call(x, state)
    loss = optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()
    return loss, {}, (network, state)


def test_equinox_state_moves_in_training_and_not_in_evaluation():
    model = eqx.nn.make_with_state(Stateful)(jax.random.key(0))
    data = et.ArrayData(blobs(), 50)
    phase = et.Phase(
        "fit",
        et.Learner(et.Gradient(stateful_loss), optax.adamw(1e-2, weight_decay=0.5)),
        data,
        et.Epochs(10),
        validation=et.Validation(data),
    )
    result = fit(model, phase)
    assert not same(result.model[1], model[1])

    # With momentum m, a running mean is the closed form of what it has seen; it would decay to
    # nothing if an optimizer with weight decay held it. Evaluating twice gives the same numbers.
    def measure(model, batch, context):
        return {"loss": stateful_loss(model, batch, context)[0]}

    twice = [et.evaluate(result.model, data, measure) for _ in range(2)]
    assert twice[0] == twice[1]
    single = et.evaluate(result.model, et.ArrayData(blobs(), 1), measure)
    # In inference mode a sample's output does not depend on its batch.
    assert single["loss"] == pytest.approx(twice[0]["loss"], rel=1e-4)


class Dropping(nnx.Module):
    def __init__(self, rngs):
        self.linear = nnx.Linear(2, 16, rngs=rngs)
        self.norm = nnx.BatchNorm(16, rngs=rngs)
        self.drop = nnx.Dropout(0.5, rngs=rngs)
        self.head = nnx.Linear(16, 2, rngs=rngs)

    def __call__(self, x):
        return self.head(self.drop(nnx.relu(self.norm(self.linear(x)))))


def nnx_loss(model, batch, context):
    x, labels = batch
    return optax.softmax_cross_entropy_with_integer_labels(model(x), labels).mean()


@pytest.mark.parametrize("executor", ["loop", "dispatch"])
def test_nnx_passes_as_it_is(executor):
    model = Dropping(nnx.Rngs(0))
    before = jax.tree.map(lambda x: x, model)
    data = et.ArrayData(blobs(), 50)
    optimizer = optax.adamw(1e-2, weight_decay=0.1)
    phase = et.Phase(
        "fit",
        et.Learner(et.Gradient(nnx_loss), optimizer),
        data,
        et.Epochs(40),
        validation=et.Validation(
            data, lambda m, b, c: {"accuracy": jnp.mean(m(b[0]).argmax(-1) == b[1])}
        ),
    )
    result = fit(model, phase, executor=executor)
    trained = result.model
    assert result.metrics["valid/accuracy"] > 0.85
    # Random streams advance by one a step, statistics move, and nothing else is different.
    assert int(trained.drop.rngs.count[...]) == int(before.drop.rngs.count[...]) + 160
    assert not np.allclose(trained.norm.mean[...], before.norm.mean[...])
    assert int(model.drop.rngs.count[...]) == int(before.drop.rngs.count[...])
    counts = []

    def measure(m, batch, context):
        counts.append((m.drop.deterministic, m.norm.use_running_average))
        return {"mean": m(batch[0]).mean()}

    a, b = (et.evaluate(trained, data, measure) for _ in range(2))
    assert a == b
    assert counts[0] == (True, True)
    assert trained.drop.deterministic is False, "evaluation must not switch the model itself"


def test_nnx_batch_statistics_are_the_closed_form_of_the_batches():
    """An optimizer with weight decay that held them would shrink them."""
    model, (x, y) = Dropping(nnx.Rngs(0)), blobs(100)
    rule = et.Gradient(nnx_loss)
    still = optax.chain(optax.adamw(1.0, weight_decay=0.5), optax.scale(0.0))
    data = et.ArrayData((x, y), 50, shuffle=False)
    result = fit(model, et.Phase("fit", et.Learner(rule, still), data, et.Steps(6)))
    mean = np.zeros(16)
    for step in range(6):
        hidden = model.linear(x[50 * (step % 2) : 50 * (step % 2 + 1)])
        mean = 0.99 * mean + 0.01 * np.asarray(hidden.mean(0))
    np.testing.assert_allclose(result.model.norm.mean[...], mean, rtol=1e-4)
    assert same(result.model.linear.kernel[...], model.linear.kernel[...])


def test_nnx_shared_variable_is_refused():
    class Tied(nnx.Module):
        def __init__(self, rngs):
            self.a = nnx.Linear(2, 2, rngs=rngs)
            self.b = nnx.Linear(2, 2, rngs=rngs)
            self.b.kernel = self.a.kernel

    data = et.ArrayData(blobs(), 50)
    phase = et.Phase("fit", et.Learner(et.Gradient(nnx_loss), optax.sgd(0.1)), data, et.Steps(1))
    with pytest.raises(et.ConfigurationError, match="shares one variable"):
        fit(Tied(nnx.Rngs(0)), phase)


def test_a_dict_with_integers_and_fixed_arrays():
    model = {
        "w": jnp.zeros(2),
        "mask": et.Fixed(jnp.array([1.0, 0.0])),
        "seen": jnp.int32(0),
        "name": "linear",
    }

    def loss(model, batch, context):
        x, y = batch
        error = x @ (model["w"] * model["mask"].value) - y
        seen = model["seen"] + len(y)
        return jnp.mean(error**2), {}, {**model, "seen": seen}

    x = jax.random.normal(jax.random.key(0), (64, 2))
    data = et.ArrayData((x, 3 * x[:, 0]), 16)
    optimizer = optax.adamw(0.1, weight_decay=0.01)
    result = fit(
        model, et.Phase("fit", et.Learner(et.Gradient(loss), optimizer), data, et.Epochs(50))
    )
    assert float(result.model["w"][0]) == pytest.approx(3, abs=0.1)
    assert float(result.model["w"][1]) == 0
    assert same(result.model["mask"], model["mask"])
    assert int(result.model["seen"]) == 64 * 50
    assert result.model["name"] == "linear"
