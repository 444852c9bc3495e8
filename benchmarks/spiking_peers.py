"""The spiking network of `benchmarks.spikes`, once in each library: one step of training."""

import itertools
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

SIZES, BATCH, STEPS = (128, 512, 256, 128, 2), 256, 100
DECAY, SLOPE, RATE = float(np.exp(-1 / 20)), 25.0, 1e-3

Weights = list[tuple[np.ndarray, np.ndarray]]


def weights() -> Weights:
    """The kernels, `(inputs, outputs)`, and biases that every peer starts from."""
    rng = np.random.default_rng(0)
    pairs = itertools.pairwise(SIZES)
    return [
        ((2 / i**0.5 * rng.normal(size=(i, o))).astype("f4"), np.zeros(o, "f4")) for i, o in pairs
    ]


def data() -> tuple[np.ndarray, np.ndarray]:
    """Spikes `(time, batch, channels)` in a tenth of the steps, and labels."""
    rng = np.random.default_rng(1)
    x = rng.random((STEPS, BATCH, SIZES[0])) < 0.1
    return x.astype("f4"), rng.integers(0, 2, BATCH)


class Ours:
    """`SNNClassifier`, differentiated by its weights; the time constants are fixed."""

    def __init__(self, *, hoisted: bool = False):
        import equinox as eqx
        import jax
        import jax.numpy as jnp
        import optax

        from etude.systems.gravitational_waves.spiking import LIF, SNNClassifier, SuperSpike

        dt = 1e-3
        tau = -dt / np.log(DECAY)
        model = SNNClassifier(
            SIZES[0],
            SIZES[-1],
            SIZES[1:-1],
            dt=dt,
            neurons=partial(LIF, time_constant=tau, surrogate=SuperSpike(SLOPE)),
            readout_time_constant=tau,
            hoisted=hoisted,
            key=jax.random.key(0),
        )
        x, labels = map(jnp.asarray, data())
        optimizer = optax.adam(RATE)

        def built(pairs: Any) -> Any:
            layers = [
                eqx.tree_at(lambda m: (m.weight, m.bias), layer, pair)
                for layer, pair in zip((*model.layers, model.readout), pairs, strict=True)
            ]
            return eqx.tree_at(lambda m: (*m.layers, m.readout), model, layers)

        def loss(pairs: Any, x: Any, labels: Any) -> Any:
            logits = jax.vmap(built(pairs), in_axes=1)(x)
            return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

        def step(pairs: Any, memory: Any) -> Any:
            value, gradient = jax.value_and_grad(loss)(pairs, x, labels)
            updates, memory = optimizer.update(gradient, memory)
            return optax.apply_updates(pairs, updates), memory, value

        self.pairs = [tuple(map(jnp.asarray, pair)) for pair in weights()]
        self.memory, self.differentiate = optimizer.init(self.pairs), jax.jit(jax.grad(loss))
        self.run: Callable = jax.jit(step, donate_argnums=(0, 1))

    def gradient(self, x: np.ndarray, labels: np.ndarray) -> list[np.ndarray]:
        return [np.asarray(kernel) for kernel, _ in self.differentiate(self.pairs, x, labels)]

    def step(self) -> float:
        self.pairs, self.memory, value = self.run(self.pairs, self.memory)
        return float(value)


class Spyx:
    """spyx, with its LIF and LI, `nnx.Linear`, `nnx.Optimizer` and `spyx.nn.run`."""

    def __init__(self):
        import jax.numpy as jnp
        import optax
        from flax import nnx
        from spyx import axn, nn

        rngs, layers = nnx.Rngs(0), []
        for number, (kernel, bias) in enumerate(weights(), 1):
            linear = nnx.Linear(*kernel.shape, rngs=rngs)
            linear.kernel, linear.bias = nnx.Param(jnp.asarray(kernel)), nnx.Param(bias)
            last = number == len(SIZES) - 1
            kind = nn.LI if last else partial(nn.LIF, activation=axn.superspike(SLOPE))
            layers += [linear, kind(bias.shape, beta=DECAY, rngs=rngs)]
        self.model = nn.Sequential(*layers)
        self.optimizer = nnx.Optimizer(self.model, optax.adam(RATE), wrt=nnx.Param)
        self.x, self.labels = map(jnp.asarray, data())

        def loss(model: Any, x: Any, labels: Any) -> Any:
            logits = nn.run(model, x)[0].mean(0)
            return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

        @nnx.jit
        def step(model: Any, optimizer: Any, x: Any, labels: Any) -> Any:
            value, gradient = nnx.value_and_grad(loss)(model, x, labels)
            optimizer.update(model, gradient)
            return value

        self.run, self.differentiate = step, nnx.jit(nnx.grad(loss))

    def gradient(self, x: np.ndarray, labels: np.ndarray) -> list[np.ndarray]:
        found = self.differentiate(self.model, x, labels)
        return [np.asarray(found.layers[i].kernel[...]) for i in range(0, 8, 2)]

    def step(self) -> float:
        return float(self.run(self.model, self.optimizer, self.x, self.labels))


class Snntorch:
    """snntorch, a loop over time with `Leaky`; its reset passes no gradient."""

    def __init__(self):
        import snntorch
        import torch

        self.torch = torch
        self.linear, self.neurons = [], []
        for number, (kernel, bias) in enumerate(weights(), 1):
            linear = torch.nn.Linear(*kernel.shape)
            linear.weight.data, linear.bias.data = torch.tensor(kernel.T), torch.tensor(bias)
            reset = "none" if number == len(SIZES) - 1 else "subtract"
            bump = snntorch.surrogate.fast_sigmoid(slope=SLOPE)
            neurons = snntorch.Leaky(beta=DECAY, spike_grad=bump, reset_mechanism=reset)
            self.linear.append(linear)
            self.neurons.append(neurons)
        parameters = [p for linear in self.linear for p in linear.parameters()]
        self.optimizer = torch.optim.Adam(parameters, RATE)
        self.x, self.labels = map(torch.tensor, data())

    def step(self) -> float:
        self.optimizer.zero_grad()
        membranes = [neurons.init_leaky() for neurons in self.neurons]
        total = 0
        for x in self.x:
            for index, (linear, neurons) in enumerate(zip(self.linear, self.neurons, strict=True)):
                x, membranes[index] = neurons(linear(x), membranes[index])
            total = total + membranes[-1]
        loss = self.torch.nn.functional.cross_entropy(total / STEPS, self.labels)
        loss.backward()
        self.optimizer.step()
        return loss.item()


PEERS: dict[str, Callable[[], Any]] = {
    "étude": Ours,
    "étude, products hoisted": partial(Ours, hoisted=True),
    "spyx 1.0.0": Spyx,
    "snntorch 1.0.0": Snntorch,
}
