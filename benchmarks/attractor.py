"""One epoch of the attractor tutorial: un-jitted, by hand in one scan, and ours.

`python -m benchmarks.attractor` prints the table.
"""

import importlib.util
import statistics
import time
from functools import partial
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

import etude as et
from benchmarks.rounds import ratio
from benchmarks.tables import section, table
from etude.engine.program import Program
from etude.systems.attractor import LocalRule, PrototypeData, SequentialState, local_updates
from etude.systems.attractor.networks import one_hidden_layer

SIZES, STEPS = (100, 256, 10), 10
EXAMPLE = Path(__file__).parents[1] / "examples" / "attractor_tutorial.py"


class Tutorial:
    """The loop of the tutorial, nothing compiled but JAX's single operations."""

    def __init__(self, data: PrototypeData):
        spec = importlib.util.spec_from_file_location("attractor_tutorial", EXAMPLE)
        assert spec is not None
        assert spec.loader is not None
        self.example = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(self.example)
        self.data, self.optimizer = data, optax.adam(5e-3)
        self.network = self.example.build(jax.random.key(44))
        self.memory = self.optimizer.init(eqx.filter(self.network, eqx.is_inexact_array))

    def epoch(self) -> np.ndarray:
        state, rng = SequentialState(SIZES), jax.random.key(0)
        for x, y in self.data:
            self.network, self.memory = self.example.train_step(
                self.network, state, x, y, rng, optimizer=self.optimizer, opt_state=self.memory
            )
        return np.asarray(self.network.layers[1, 0].weight)


class Scan:
    """The same training in plain JAX, written for this one network."""

    def __init__(self, data: PrototypeData, units: int = SIZES[1]):
        layers = one_hidden_layer(jax.random.key(44), (SIZES[0], units, SIZES[2])).layers
        weights = layers[1, 0].weight, layers[1, 1].weight, layers[2, 1].weight
        self.optimizer = optax.adam(5e-3)
        self.carry = weights, self.optimizer.init(weights)
        x, y, w = data.source().arrays
        self.batches = tuple(a.reshape(63, 16, *a.shape[1:]) for a in (x, y, w))
        step = partial(_step, self.optimizer, layers[1, 2].weight.value)
        self.run = jax.jit(partial(jax.lax.scan, step), donate_argnums=0)

    def epoch(self) -> np.ndarray:
        self.carry, accuracy = self.run(self.carry, self.batches)
        np.asarray(accuracy)
        return np.asarray(self.carry[0][0])


def _step(optimizer: Any, back: jax.Array, carry: Any, batch: Any) -> Any:
    (w_in, couplings, w_out), memory = carry
    x, y, weight = batch
    share = (weight / weight.sum())[:, None]
    diagonal = jnp.eye(len(couplings), dtype=bool)
    j = jnp.where(diagonal, 0.5, couplings)
    forth, taught = x @ w_in, y @ back * 0.3

    def sign(field):
        return jnp.where(field >= 0, 1.0, -1.0)

    s = jnp.zeros_like(forth)
    s = jax.lax.fori_loop(0, STEPS, lambda _, s: sign(forth + s @ j + taught), s)
    s = jax.lax.fori_loop(0, STEPS, lambda _, s: sign(forth + s @ j), s)

    def update(before, after, margin, threshold):
        return -before.T @ (jnp.where(after * margin <= threshold, after, 0) * share)

    scores = s @ w_out
    updates = (
        update(x, s, forth, 3.5),
        jnp.where(diagonal, 0, update(s, s, forth + s @ j, 0.5)),
        update(s, y, scores, 3.5),
    )
    changes, memory = optimizer.update(updates, memory)
    accuracy = ((scores.argmax(1) == y.argmax(1)) * weight).sum() / weight.sum()
    return (optax.apply_updates((w_in, couplings, w_out), changes), memory), accuracy


class Ours:
    """The engine beneath `AttractorTrainer`: its program, an epoch at a time."""

    def __init__(self, data: PrototypeData, units: int = SIZES[1], *, early_stop: bool = False):
        self.sizes = SIZES[0], units, SIZES[2]
        network = one_hidden_layer(jax.random.key(44), self.sizes)
        rule = LocalRule(self.sizes, partial(local_updates, early_stop=early_stop))
        learner = et.Learner(rule, optax.adam(5e-3))
        plan = et.Plan.of(et.Phase("local", learner, data.source(), et.Epochs(10**6)), network)
        self.state = et.init_state(plan, network)
        self.program, self.step = Program(plan, self.state), 0

    def epoch(self) -> np.ndarray:
        until = self.step + 63
        while self.step < until:
            self.state, chunk = self.program.advance(self.state, self.step, until - self.step)
            self.step = chunk.read()[1]
        return np.asarray(self.first_weight())

    def first_weight(self) -> jax.Array:
        return next(a for a in jax.tree.leaves(self.state) if jnp.shape(a) == self.sizes[:2])


def report(quick: bool) -> str:
    """The table; fails if the three do not train the same network."""
    data = PrototypeData(jax.random.split(jax.random.key(59))[1])
    compiled = [_first(data) for _ in range(2 if quick else 5)]
    peers = {
        "tutorial": Tutorial(data),
        "scan": Scan(data),
        "ours": Ours(data),
        "early": Ours(data, early_stop=True),
    }
    weights = [peer.epoch() for peer in peers.values()]
    for found in weights[1:]:
        np.testing.assert_allclose(found, weights[0], atol=1e-4)
    seconds: dict[str, list[float]] = {name: [] for name in peers}
    for _ in range(3 if quick else 11):
        for name, peer in peers.items():
            begin = time.perf_counter()
            for _ in range(repeats := 1 if name == "tutorial" else 5):
                peer.epoch()
            seconds[name].append((time.perf_counter() - begin) / repeats)
    compiling = statistics.median(compiled) - statistics.median(seconds["ours"])
    rows = [
        ["un-jitted tutorial / ours", str(ratio(seconds["tutorial"], seconds["ours"])), ">= 40"],
        ["ours / scan by hand", str(ratio(seconds["ours"], seconds["scan"])), "<= 1.1"],
        ["un-jitted tutorial / early stop", str(ratio(seconds["tutorial"], seconds["early"])), "-"],
        ["seconds to compile ours", f"{compiling:.2f}", "< 3"],
    ]
    epoch = ", ".join(f"{name} {1e3 * statistics.median(t):.0f}" for name, t in seconds.items())
    notes = [
        "One epoch, 63 batches of the tutorial, training only; medians (quartiles) of rounds.",
        f"Milliseconds of the median epoch: {epoch}.",
        "The first epoch leaves all four with the same weights, to 1e-4.",
    ]
    return section("Attractor networks", table(["what", "measured", "goal"], rows), notes)


def _first(data: PrototypeData) -> float:
    """Seconds from the network to the end of its first epoch."""
    begin = time.perf_counter()
    Ours(data).epoch()
    return time.perf_counter() - begin


def main() -> None:
    """Prints the table."""
    print(report(quick=False))


if __name__ == "__main__":
    main()
