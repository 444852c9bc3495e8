"""Weak and strong scaling over virtual devices: equal losses, overhead, bytes of collectives.

`python -m benchmarks scaling` starts a process for each number of devices; such a process alone is
`python -m benchmarks.scaling DEVICES`.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import NamedSharding, PartitionSpec

import etude as et
from benchmarks import by_hand, problems, transformer
from benchmarks.collectives import bytes_by_kind, sent
from benchmarks.mesh import in_process
from benchmarks.rounds import ratio
from benchmarks.tables import section, table
from etude.engine.compiled_loop import Loop, TracedLoop
from etude.engine.layout import Layout
from etude.engine.program import columns

STEPS = 10  # whose losses are compared
TIMES = ["problem", "devices", "batch", "time", "losses differ by"]
BYTES = ["problem", "model", "devices", "all-reduce", "all-gather", "other", "sent", "formula"]

#: Small enough for every array of these models to be spread.
SHARDED = et.Sharded(at_least=1024)


@dataclass(frozen=True)
class Problem:
    """What is trained.

    Attributes:
        name: of the rows.
        model: its first weights.
        loss: `loss(model, batch, place)`, where `place` says on which devices activations are.
        samples: `samples(count)`.
        batch: samples of a batch; one device's in weak scaling, everybody's in strong.
        gathers: how often a step needs each weight whole.
    """

    name: str
    model: Any
    loss: Callable[..., jax.Array]
    samples: Callable[[int], Any]
    batch: int
    gathers: int

    @property
    def bytes(self) -> int:
        """Of its parameters, and so of its gradient."""
        return sum(leaf.nbytes for leaf in jax.tree.leaves(self.model))


def perceptron() -> Problem:
    """The small problem: 784-256-128-10."""
    made = problems.a()

    def loss(layers: Any, batch: Any, place: transformer.Place) -> jax.Array:
        x, y = batch
        for number, (w, b) in enumerate(layers):
            x = place(x) @ w.T + b
            x = jax.nn.relu(x) if number < len(layers) - 1 else x
        return optax.softmax_cross_entropy_with_integer_labels(place(x), y).mean()

    def samples(count: int) -> Any:
        return jnp.asarray(made.x[:count]), jnp.asarray(made.y[:count])

    return Problem("MLP", by_hand.weights(made), loss, samples, made.batch, 1)


def six_layers() -> Problem:
    """The transformer, scanned and checkpointed."""
    sizes = transformer.Sizes()

    def loss(model: Any, batch: Any, place: transformer.Place) -> jax.Array:
        return transformer.loss(model, batch, sizes.heads, place=place)

    def samples(count: int) -> Any:
        return jnp.asarray(sizes.rows(count))

    return Problem("transformer", sizes.model(jax.random.key(0)), loss, samples, 16, 2)


class Engine:
    """The compiled loop of the engine on so many devices."""

    def __init__(
        self,
        problem: Problem,
        devices: int,
        batch: int,
        sharding: Any = None,
        placed: bool = False,
    ):
        mesh = et.mesh(data=devices)
        rows = NamedSharding(mesh, PartitionSpec("data"))

        def place(x: jax.Array) -> jax.Array:
            return jax.lax.with_sharding_constraint(x, rows) if placed else x

        def loss(model: Any, batch: Any, context: et.Context) -> jax.Array:
            return problem.loss(model, batch, place)

        data = et.ArrayData(problem.samples(STEPS * batch), batch)
        learner = et.Learner(et.Gradient(loss), optax.adam(1e-3))
        phase = et.Phase("fit", learner, data, et.Epochs(1_000_000))
        layout = Layout.of(mesh, sharding, problem.model)
        plan = et.Plan.of(phase, problem.model, layout=layout)
        self.state, arrays = et.init_state(plan, problem.model), layout.put_data(data.arrays)
        made = plan, data, self.state, arrays, columns(plan, self.state), layout.place
        self.compiled = TracedLoop(*made).compiled()
        self.loop = Loop(self.compiled, plan, data, arrays, layout.place)
        self.total, self.step = layout.place.put(plan.total), 0

    def train(self, steps: int) -> tuple[float, np.ndarray]:
        """Seconds a step, and the losses."""
        begin = time.perf_counter()
        self.state, chunk = self.loop.run(self.state, self.step, steps, self.total)
        rows, self.step, _ = chunk.read()
        return (time.perf_counter() - begin) / steps, rows[:, 0]


def report(quick: bool) -> str:
    """The tables, of one process for each number of devices."""
    counts = (2,) if quick else (2, 4, 8)
    found = [row for devices in counts for row in in_process("scaling", devices, quick)]
    times = [row[1:] for row in found if row[0] == "time"]
    moved = [row[1:] for row in found if row[0] == "bytes"]
    notes = [
        "Time a step, relative to one device with the same batch: median of rounds (quartiles).",
        "Virtual devices share the cores of the machine. Where one does not fill them, two are "
        "faster; beyond the cores, all that is seen is what more devices cost.",
        f"Losses: the largest relative difference to one device over {STEPS} steps, in float32.",
    ]
    about = [
        "Bytes that collectives give on each device in a step, as multiples of the parameters', "
        "read from the compiled program; `sent` is what each device sends for them in a ring.",
        "Formula: 2 (n - 1) / n for the gradient in data parallel. In FSDP also (n - 1) / n for "
        "each gather of a weight: one, or two where the backward pass gathers it again "
        "(checkpoint). This is for a CPU, where XLA sums a gradient everywhere and takes a part; "
        "a scattered sum, as on a GPU, takes (n - 1) / n less.",
        "FSDP, not placed: the loss does not say where activations are, and XLA moves those.",
    ]
    first = section("Scaling over virtual devices", table(TIMES, times), notes)
    return f"{first}\n{section('Bytes of collectives', table(BYTES, moved), about)}"


def rows_of(devices: int, quick: bool) -> list[list[str]]:
    """The rows of so many devices, which must be visible; the first cell is the table."""
    found = []
    for problem in (perceptron(), six_layers()):
        for title, batch in (("strong", problem.batch), ("weak", problem.batch * devices)):
            found.append(["time", *_raced(problem, devices, title, batch, 3 if quick else 9)])
        kinds = {
            "whole": (None, False),
            "FSDP": (SHARDED, True),
            "FSDP, not placed": (SHARDED, False),
        }
        for title, (sharding, placed) in kinds.items():
            engine = Engine(problem, devices, problem.batch, sharding, placed)
            found.append(["bytes", *_moved(problem, devices, title, engine)])
    return found


def _raced(problem: Problem, devices: int, title: str, batch: int, rounds: int) -> list[str]:
    engines = [Engine(problem, count, batch) for count in (devices, 1)]
    (_, many), (_, one) = (engine.train(STEPS) for engine in engines)
    steps = max(STEPS, round(0.3 / engines[1].train(STEPS)[0]))
    seconds: list[list[float]] = [[], []]
    for number in range(rounds):
        for index in (0, 1) if number % 2 else (1, 0):
            seconds[index].append(engines[index].train(steps)[0])
    difference = float(np.max(np.abs(many - one) / np.abs(one)))
    name = f"{problem.name}, {title}"
    return [name, str(devices), str(batch), str(ratio(*seconds)), f"{difference:.0e}"]


def _moved(problem: Problem, devices: int, title: str, engine: Engine) -> list[str]:
    given = bytes_by_kind(engine.compiled.as_text())
    share = (devices - 1) / devices
    formula = share * (2 if title == "whole" else 2 + problem.gathers)
    known = [given.get(kind, 0) for kind in ("all-reduce", "all-gather")]
    values = [*known, sum(given.values()) - sum(known), sent(given, devices)]
    shown = [f"{value / problem.bytes:.2f}" for value in values]
    return [problem.name, title, str(devices), *shown, f"{formula:.2f}"]


def main() -> None:
    """Prints the rows of one number of devices, separated by tabs."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scaling", description=__doc__)
    parser.add_argument("devices", type=int)
    parser.add_argument("--quick", action="store_true", help="few rounds")
    options = parser.parse_args()
    for row in rows_of(options.devices, options.quick):
        print("\t".join(row))


if __name__ == "__main__":
    main()
