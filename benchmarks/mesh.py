"""The engine on a mesh against a sharded loop by hand, on the same virtual devices of a CPU.

`python -m benchmarks mesh` starts a process for each number of devices; such a process alone is
`python -m benchmarks.mesh DEVICES`.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from functools import partial

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

import etude as et
from benchmarks import by_hand, ours, problems
from benchmarks.peers import Peer
from benchmarks.problems import Problem
from benchmarks.rounds import race, ratio
from benchmarks.tables import section, table

HEAD = ["problem, devices", "by hand", "engine", "étude", "us a step, by hand"]


class Sharded:
    """As `by_hand.Scan`, with the samples of each batch spread over the devices of a mesh."""

    def __init__(self, problem: Problem, mesh: Mesh):
        whole = NamedSharding(mesh, PartitionSpec())
        spread = NamedSharding(mesh, PartitionSpec("data"))
        adam = optax.adam(problem.learning_rate)
        layers = by_hand.weights(problem)
        first = layers, adam.init(layers)
        self.x, self.y, self.carry, self.key = jax.device_put(
            (jnp.asarray(problem.x), jnp.asarray(problem.y), first, jax.random.key(0)), whole
        )
        self.count = 0

        def step(carry, x, y, order, index):
            rows = jax.lax.dynamic_slice_in_dim(order, index * problem.batch, problem.batch)
            batch = jax.lax.with_sharding_constraint((x[rows], y[rows]), spread)
            layers, state = carry
            value, gradient = jax.value_and_grad(by_hand.loss)(layers, *batch)
            updates, state = adam.update(gradient, state, layers)
            return (optax.apply_updates(layers, updates), state), value

        def epoch(carry, x, y, key, count):
            order = jax.random.permutation(jax.random.fold_in(key, count), len(x))
            steps = jnp.arange(problem.steps)
            return jax.lax.scan(lambda c, n: step(c, x, y, order, n), carry, steps)

        self.epoch = jax.jit(epoch, donate_argnums=0, out_shardings=whole)

    def train(self, epochs: int) -> tuple[float, float]:
        """Trains on, one program at a time."""
        begin, value = time.perf_counter(), float("nan")
        for _ in range(epochs):
            self.carry, losses = self.epoch(self.carry, self.x, self.y, self.key, self.count)
            value = float(jax.device_get(losses).mean())
            self.count += 1
        return time.perf_counter() - begin, value


def report(quick: bool) -> str:
    """The table, of one process for each number of devices."""
    counts = (2,) if quick else (2, 4, 8)
    rows = [row for devices in counts for row in in_process("mesh", devices, quick)]
    notes = [
        "Ratios to the loop by hand on the same devices: the median of the rounds (quartiles).",
        "Virtual devices share the cores: this is what the engine adds, not how fast devices are.",
        "The engine should take at most 1.05 of the loop by hand.",
    ]
    return section("On a mesh", table(HEAD, rows), notes)


def rows_of(devices: int, quick: bool) -> list[list[str]]:
    """The rows of so many devices, which must be visible."""
    mesh = et.mesh(data=devices)
    peers = [
        Peer("by hand", partial(Sharded, mesh=mesh)),
        Peer("engine", partial(ours.Engine, mesh=mesh)),
        Peer("étude", partial(ours.Ours, mesh=mesh)),
    ]
    found = []
    for problem in (problems.a(), problems.b()):
        hand, *others = race(problem, peers, 3 if quick else 9, 0.5 if quick else 1.5, 120)[0]
        ratios = [str(ratio(one.seconds_per_step, hand.seconds_per_step)) for one in others]
        median = f"{1e6 * statistics.median(hand.seconds_per_step):.0f}"
        found.append([f"({problem.name}), {devices}", "1.00", *ratios, median])
    return found


def in_process(module: str, devices: int, quick: bool) -> list[list[str]]:
    """The rows that `python -m benchmarks.MODULE DEVICES` prints, where so many are visible."""
    flags = f"--xla_force_host_platform_device_count={devices} {os.environ.get('XLA_FLAGS', '')}"
    command = [sys.executable, "-m", f"benchmarks.{module}", str(devices)]
    command += ["--quick"][: int(quick)]
    environment = {**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr}")
    return [line.split("\t") for line in done.stdout.splitlines()]


def main() -> None:
    """Prints the rows of one number of devices, separated by tabs."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.mesh", description=__doc__)
    parser.add_argument("devices", type=int)
    parser.add_argument("--quick", action="store_true", help="few rounds")
    options = parser.parse_args()
    for row in rows_of(options.devices, options.quick):
        print("\t".join(row))


if __name__ == "__main__":
    main()
