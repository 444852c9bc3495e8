"""Members side by side against trainings one after another: `python -m benchmarks.population`.

Needs nothing but the package. On a GPU: `python -m benchmarks.population --members 32 --only b`.
Members over virtual devices of a CPU are measured in a process of their own, which alone is
`python -m benchmarks.population --over 2`.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import etude as et
from benchmarks import by_hand, problems
from benchmarks.problems import Problem
from benchmarks.rounds import ratio
from benchmarks.tables import section, table


@dataclass(frozen=True)
class Case:
    """What is trained: a model from a key, and its phase.

    Attributes:
        members: how many, at most; large models are measured with fewer.
        seconds: that one training should take, without its compilation.
    """

    title: str
    init: Callable[[jax.Array], Any]
    learner: et.Learner
    data: Any
    members: int = 16
    seconds: float = 0.4

    def phase(self, steps: int) -> et.Phase:
        """The phase, of so many steps."""
        return et.Phase("fit", self.learner, self.data, et.Steps(steps))


class Clock(et.Callback):
    """The seconds of the steps after the first chunk, which holds what is done once."""

    def __init__(self, time: Callable[[], float] = time.perf_counter) -> None:
        self.time = time
        self.first = self.last = 0
        self.began = self.ended = 0.0

    def with_members(self) -> Any:
        return "all"

    def on_steps_end(self, event: Any, metrics: Any) -> None:
        self.ended, self.last = self.time(), event.step
        if not self.began:
            self.began, self.first = self.ended, self.last

    @property
    def seconds_per_step(self) -> float:
        """Of a step, of all members if there are several."""
        return (self.ended - self.began) / max(1, self.last - self.first)


def classifier(problem: Problem, **options: Any) -> Case:
    """A problem of the loops benchmark, with weights from a key."""

    def init(key: jax.Array) -> Any:
        keys = jax.random.split(key, len(problem.layers))
        return [
            (jax.random.normal(one, w.shape) / np.sqrt(w[0].size), jnp.zeros(b.shape))
            for one, (w, b) in zip(keys, problem.layers, strict=True)
        ]

    def loss(layers: Any, batch: Any, context: Any) -> Any:
        return by_hand.loss(layers, *batch)

    learner = et.Learner(et.Gradient(loss), optax.adam(problem.learning_rate))
    data = et.ArrayData((jnp.asarray(problem.x), jnp.asarray(problem.y)), problem.batch)
    return Case(f"({problem.name}) {problem.title}", init, learner, data, **options)


def attractor() -> Case:
    """An attractor network that learns by a local rule."""
    from etude.systems.attractor import LocalRule, PrototypeData, local_updates
    from etude.systems.attractor.networks import one_hidden_layer

    sizes = (100, 128, 10)

    def updates(*arguments: Any, **options: Any) -> Any:
        return local_updates(*arguments, **options)

    learner = et.Learner(LocalRule(sizes, updates), optax.adam(5e-3))
    data = PrototypeData(jax.random.split(jax.random.key(59))[1]).source()
    return Case(
        "attractor network 100-128-10, local rule",
        lambda key: one_hidden_layer(key, sizes),
        learner,
        data,
        members=8,
    )


def born() -> Case:
    """A Born machine that learns classes."""
    from etude.systems.born_machine import BornMachine, Embedding

    sites, classes, batch = 64, 10, 64

    def loss(machine: Any, batch: Any, context: Any) -> Any:
        x, y = batch
        return -jnp.take_along_axis(machine.class_log_probabilities(x), y[:, None], 1).mean()

    rng = np.random.default_rng(0)
    x = rng.uniform(size=(512, sites)).astype(np.float32)
    y = rng.integers(0, classes, 512).astype(np.int32)
    data = et.ArrayData((jnp.asarray(x), jnp.asarray(y)), batch)
    learner = et.Learner(et.Gradient(loss), optax.adam(1e-3))
    return Case(
        f"Born machine, {sites} sites, bond 10, batch {batch}",
        lambda key: BornMachine.create(key, sites, classes, Embedding("fourier", 2), 10),
        learner,
        data,
        members=8,
    )


def spiking() -> Case:
    """A spiking classifier, differentiated by a surrogate."""
    from etude.systems.gravitational_waves.spiking import SNNClassifier

    rng = np.random.default_rng(1)
    x = (rng.random((256, 100, 64)) < 0.1).astype(np.float32)
    y = rng.integers(0, 2, 256).astype(np.int32)

    def loss(model: Any, batch: Any, context: Any) -> Any:
        x, y = batch
        logits = jax.vmap(model)(x)
        return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()

    learner = et.Learner(et.Gradient(loss), optax.adam(1e-3))
    data = et.ArrayData((jnp.asarray(x), jnp.asarray(y)), 32)
    return Case(
        "spiking network 64-64-2, 100 time steps, batch 32",
        lambda key: SNNClassifier(64, 2, (64,), dt=1e-3, key=key),
        learner,
        data,
        members=8,
    )


CASES: Mapping[str, Callable[[], Case]] = {
    "a": lambda: classifier(problems.a()),
    "b": lambda: classifier(problems.b()),
    "c": lambda: classifier(problems.c(), members=4, seconds=2.0),
    "attractor": attractor,
    "born": born,
    "spiking": spiking,
}


class Race:
    """One case: members side by side, and one after another, with compiled programs."""

    def __init__(self, case: Case, members: int):
        self.case, self.members = case, members
        first = self._alone(0, 40)
        self.steps = int(np.clip(case.seconds / first.seconds_per_step, 10, 40_000))
        self.teams = ""
        self._together()

    def together(self) -> float:
        """Seconds of a step of all members, side by side."""
        return self._together().seconds_per_step

    def one_by_one(self) -> float:
        """Seconds of a step of each member, one after another."""
        return sum(self._alone(s, self.steps).seconds_per_step for s in range(self.members))

    def _together(self) -> Clock:
        clock = Clock()
        population = et.Population(self.case.init, self.members)
        result = et.Trainer(
            phases=self.case.phase(self.steps), population=population, callbacks=[clock],
            progress=False,
        ).fit()  # fmt: skip
        sizes = result.history.events[0]["teams"]
        self.teams = f"{len(sizes)} of {max(sizes)}"
        return clock

    def _alone(self, seed: int, steps: int) -> Clock:
        clock = Clock()
        et.Trainer(
            self.case.init(jax.random.key(seed)), self.case.phase(steps), callbacks=[clock],
            seed=seed, progress=False,
        ).fit()  # fmt: skip
        return clock


def report(quick: bool, only: tuple[str, ...] = tuple(CASES), members: int | None = None) -> str:
    """The table: how much faster side by side is than one after another."""
    rows = []
    for name in only:
        case = CASES[name]()
        many = members or (min(4, case.members) if quick else case.members)
        race = Race(case, many)
        times: tuple[list[float], list[float]] = [], []
        for number in range(1 if quick else 5):
            turns = (race.together, race.one_by_one)
            for place in (0, 1) if number % 2 else (1, 0):
                times[place].append(turns[place]())
        rows.append([case.title, str(many), race.teams, str(ratio(times[1], times[0]))])
    head = ["what", "members", "teams", "side by side is faster by"]
    notes = [
        "Seconds of a step of all members, without compilation and without the timing by which the "
        "teams were chosen. Median of the ratios of interleaved rounds (quartiles).",
        f"On {jax.default_backend()}.",
    ]
    return section("Populations", table(head, rows), notes)


class Spreading:
    """One case on one device without a mesh, and over devices, in the same teams of two."""

    def __init__(self, case: Case, members: int):
        self.case, self.population = case, et.Population(case.init, members, team=2)
        once = self.seconds(None, 200)
        self.steps = int(np.clip(2 * case.seconds / once, 100, 40_000))

    def seconds(self, devices: int | None, steps: int | None = None) -> float:
        """Seconds of a step of all members, those of all cores together."""
        clock = Clock(time.process_time)
        et.Trainer(
            phases=self.case.phase(self.steps if steps is None else steps),
            population=self.population, callbacks=[clock], progress=False,
            mesh=None if devices is None else et.mesh(members=devices),
        ).fit()  # fmt: skip
        return clock.seconds_per_step


def over_devices(quick: bool) -> str:
    """The table of members over one device and two, of a process that has two."""
    flags = f"--xla_force_host_platform_device_count=2 {os.environ.get('XLA_FLAGS', '')}"
    command = [sys.executable, "-m", "benchmarks.population", "--over", "2", *["--quick"] * quick]
    environment = {**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr}")
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    head = ["what", "members", "one device of a mesh", "two", "CPU us a step, without a mesh"]
    notes = [
        "CPU time of a step of all members, relative to that without a mesh, in the same teams.",
        "Virtual devices share the cores of a CPU: this is what the mesh adds, not how fast "
        "several devices are.",
    ]
    return section("Members over devices", table(head, rows), notes)


def rows_over(devices: int, quick: bool) -> list[list[str]]:
    """The rows of so many devices, which must be visible."""
    rows = []
    for name in ("a", "b"):
        case = CASES[name]()
        race = Spreading(case, 4 if quick else 8)
        kinds = (None, 1, devices)
        times: dict[int | None, list[float]] = {kind: [] for kind in kinds}
        for number in range(1 if quick else 7):
            for kind in kinds if number % 2 else reversed(kinds):
                times[kind].append(race.seconds(kind))
        ratios = [str(ratio(times[kind], times[None])) for kind in kinds[1:]]
        median = f"{1e6 * statistics.median(times[None]):.0f}"
        rows.append([case.title, str(race.population.count), *ratios, median])
    return rows


def main() -> None:
    """Prints the tables, or the rows of members over devices, separated by tabs."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.population", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=list(CASES), default=list(CASES))
    parser.add_argument("--members", type=int, help="in place of each case's own number")
    parser.add_argument("--quick", action="store_true", help="one round: does it run at all?")
    parser.add_argument("--over", type=int, help="members over so many devices; nothing else")
    options = parser.parse_args()
    if options.over is not None:
        for row in rows_over(options.over, options.quick):
            print("\t".join(row))
        return
    print(report(options.quick, tuple(options.only), options.members))


if __name__ == "__main__":
    main()
