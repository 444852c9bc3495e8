"""Plain JAX by hand: the limit that a trainer can reach."""

import time
from functools import partial

import jax
import jax.numpy as jnp
import optax

from benchmarks.problems import Problem

Weights = list[tuple[jax.Array, jax.Array]]


def weights(problem: Problem) -> Weights:
    """The first weights, on the device."""
    return [(jnp.asarray(w), jnp.asarray(b)) for w, b in problem.layers]


def predict(layers: Weights, x: jax.Array) -> jax.Array:
    """The logits of a batch: convolutions, mean over time, linear layers."""
    for number, (w, b) in enumerate(layers):
        if w.ndim == 3:
            x = jax.lax.conv_general_dilated(
                x, w, window_strides=(2,), padding="SAME", dimension_numbers=("NCH", "OIH", "NCH")
            )
            x = jax.nn.relu(x + b[:, None])
            continue
        x = x.mean(-1) if x.ndim == 3 else x
        x = x @ w.T + b
        x = jax.nn.relu(x) if number < len(layers) - 1 else x
    return x


def loss(layers: Weights, x: jax.Array, y: jax.Array) -> jax.Array:
    """The mean cross entropy of a batch."""
    return optax.softmax_cross_entropy_with_integer_labels(predict(layers, x), y).mean()


class Scan:
    """One `lax.scan` per epoch, permuted and gathered on the device; one read per epoch."""

    def __init__(self, problem: Problem):
        self.x, self.y = jnp.asarray(problem.x), jnp.asarray(problem.y)
        self.key, self.count = jax.random.key(0), 0
        adam = optax.adam(problem.learning_rate)
        layers = weights(problem)
        self.carry = layers, adam.init(layers)
        self.epoch = jax.jit(
            partial(epoch, adam, problem.batch, steps=problem.steps), donate_argnums=0
        )

    def train(self, epochs: int) -> tuple[float, float]:
        begin, value = time.perf_counter(), float("nan")
        for _ in range(epochs):
            key = jax.random.fold_in(self.key, self.count)
            self.carry, losses = self.epoch(self.carry, self.x, self.y, key)
            value = float(jax.device_get(losses).mean())
            self.count += 1
        return time.perf_counter() - begin, value


class InOrder:
    """As `Scan`, over batches that lie in order: nothing is permuted or gathered."""

    def __init__(self, problem: Problem):
        batches = problem.steps, problem.batch
        self.x = jnp.asarray(problem.x).reshape(*batches, *problem.x.shape[1:])
        self.y = jnp.asarray(problem.y).reshape(batches)
        adam = optax.adam(problem.learning_rate)
        layers = weights(problem)
        self.carry = layers, adam.init(layers)

        def epoch(carry, x, y):
            return jax.lax.scan(lambda carry, batch: _update(adam, carry, *batch), carry, (x, y))

        self.epoch = jax.jit(epoch, donate_argnums=0)

    def train(self, epochs: int) -> tuple[float, float]:
        begin, value = time.perf_counter(), float("nan")
        for _ in range(epochs):
            self.carry, losses = self.epoch(self.carry, self.x, self.y)
            value = float(jax.device_get(losses).mean())
        return time.perf_counter() - begin, value


class Steps:
    """One jitted call per step, arguments donated; one read per epoch."""

    def __init__(self, problem: Problem):
        self.x, self.y = jnp.asarray(problem.x), jnp.asarray(problem.y)
        self.key, self.count, self.steps = jax.random.key(0), 0, problem.steps
        adam = optax.adam(problem.learning_rate)
        layers = weights(problem)
        self.carry = layers, adam.init(layers)
        self.permutation = jax.jit(lambda key: jax.random.permutation(key, len(problem.x)))

        def step(carry, x, y, order, index):
            return _step(adam, problem.batch, carry, x, y, order, index)

        self.step = jax.jit(step, donate_argnums=0)

    def train(self, epochs: int) -> tuple[float, float]:
        begin, losses = time.perf_counter(), []
        for _ in range(epochs):
            order = self.permutation(jax.random.fold_in(self.key, self.count))
            losses = []
            for index in range(self.steps):
                self.carry, value = self.step(self.carry, self.x, self.y, order, index)
                losses.append(value)
            losses = jax.device_get(losses)
            self.count += 1
        return time.perf_counter() - begin, float(sum(losses) / len(losses))


def _step(adam, batch, carry, x, y, order, index):
    taken = jax.lax.dynamic_slice_in_dim(order, index * batch, batch)
    return _update(adam, carry, x[taken], y[taken])


def _update(adam, carry, x, y):
    layers, state = carry
    value, grads = jax.value_and_grad(loss)(layers, x, y)
    updates, state = adam.update(grads, state, layers)
    return (optax.apply_updates(layers, updates), state), value


def epoch(adam, batch, carry, x, y, key, *, steps):
    """The first steps of an epoch, in a new order: the carry, and the losses."""
    order = jax.random.permutation(key, len(x))

    def body(carry, index):
        return _step(adam, batch, carry, x, y, order, index)

    return jax.lax.scan(body, carry, jnp.arange(steps))
