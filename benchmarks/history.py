"""What the history costs: a step with a run folder against one without, and reading it again.

A linear model, batch 32, so small that its metrics outweigh it. Each round trains once without a
run folder and once with one, in turn; the median over rounds of the ratio within a round is shown.
"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax

import etude as et
from benchmarks.memory import resident
from benchmarks.rounds import ratio
from benchmarks.tables import section, table
from etude.run import History, Run
from etude.run.stretches import Stretch

#: The number of metrics, and the ratio that is allowed.
GOALS = {1: None, 5: None, 100: 1.25, 500: 1.6}
STEPS, ROUNDS, CHUNK = 20_000, 7, 4000


class Clock(et.Callback):
    """The seconds between the first chunk and the last after the first quarter, when chunks have
    grown to their length, and how the process grows meanwhile."""

    def __init__(self, steps: int):
        self.steps = steps
        self.seen: list[tuple[float, int, int]] = []

    def on_steps_end(self, event, metrics):
        if event.step > self.steps // 4:
            self.seen.append((time.perf_counter(), event.step, resident()))

    @property
    def per_step(self) -> float:
        """Seconds a step."""
        (begin, first, _), (end, last, _) = self.seen[0], self.seen[-1]
        return (end - begin) / (last - first)

    @property
    def growth(self) -> int:
        """Bytes."""
        return self.seen[-1][2] - self.seen[0][2]


def train(metrics: int, folder: Path | None, steps: int) -> Clock:
    """One training with so many metrics."""

    def loss(w, batch, context):
        value = jnp.mean((batch @ w) ** 2)
        return value, {f"part{number}": value * number for number in range(2, metrics)}

    data = et.ArrayData(jax.random.normal(jax.random.key(0), (1024, 64)), batch_size=32)
    learner = et.Learner(et.Gradient(loss), optax.sgd(1e-3))
    phase, clock = et.Phase("fit", learner, data, et.Steps(steps)), Clock(steps)
    et.Trainer(
        jnp.ones(64), phase, callbacks=[clock], run=folder, overwrite=folder is not None,
        progress=False,
    ).fit()  # fmt: skip
    return clock


def report(quick: bool) -> str:
    """The tables of writing and reading."""
    with tempfile.TemporaryDirectory() as folder:
        writing, per_step = _writing(Path(folder) / "run", 2 if quick else ROUNDS)
        return "\n".join([writing, _reading(Path(folder), 10**5 if quick else 10**7, per_step)])


def _writing(folder: Path, rounds: int) -> tuple[str, float]:
    rows, of_five = [], 0.0
    for metrics, goal in GOALS.items():
        alone, written, grown = [], [], []
        for number in range(rounds + 1):  # the first compiles for the first time
            one, other = train(metrics, None, STEPS), train(metrics, folder, STEPS)
            if number:
                alone.append(one.per_step)
                written.append(other.per_step)
                grown.append((one.growth, other.growth))
        shown = [f"{1e6 * np.median(seconds):.1f}" for seconds in (alone, written)]
        growth = [f"{size / 2**20:.1f}" for size in np.median(grown, axis=0)]
        rows.append([str(metrics), *shown, str(ratio(written, alone)), str(goal or "-"), *growth])
        if metrics == 5:
            of_five = float(np.median(alone))
    head = ["metrics", "µs a step", "with a run", "ratio", "at most", "MiB more", "with a run"]
    notes = [
        f"{STEPS} steps; medians of {rounds} rounds, with quartiles of the ratio.",
        f"MiB more: growth of the process over the last {3 * STEPS // 4} steps. Without a run, "
        "their history is in memory: four bytes for each metric of each step.",
    ]
    return section("History: writing", table(head, rows), notes), of_five


def _reading(folder: Path, steps: int, per_step: float) -> str:
    names = tuple(f"train/{name}" for name in "abcde")
    values = np.random.default_rng(0).standard_normal((CHUNK, len(names))).astype(np.float32)
    with Run.create(folder / "long", {}, seed=0) as run:
        seconds = []
        for first in range(1, steps, CHUNK):
            began = time.perf_counter()
            run.history.append_steps(Stretch("fit", 0, first, first, 100, names), values)
            run.history.flush()
            seconds.append(time.perf_counter() - began)
        wrote = float(np.median(seconds)) / CHUNK
    size = (folder / "long" / "history.bin").stat().st_size
    opened = _timed(lambda: len(History.open(folder / "long")))
    history = History.open(folder / "long")
    assert len(history["train/c"].value) == steps
    column = _timed(lambda: history["train/c"])
    row = _timed(lambda: history[steps // 2])
    rows = [
        ["written, share of the training", f"{100 * wrote / per_step:.2f} %", "1 %"],
        ["written", f"{1e9 * wrote:.0f} ns a step", "-"],
        ["on the disk", f"{size / steps:.0f} bytes a step", "-"],
        ["opened", f"{opened:.3f} s", "0.1 s"],
        ["a metric read", f"{column:.3f} s", "1 s"],
        ["a record read", f"{1e3 * row:.2f} ms", "-"],
    ]
    notes = [
        f"{steps} steps of five metrics, in chunks of {CHUNK}. The training is the one with five "
        "metrics above, without a run. Written: handed to the system, the median over chunks; "
        "for the disk, checkpoints wait in the background. Read: the best of 3.",
    ]
    return section("History: a long one", table(["what", "measured", "at most"], rows), notes)


def _timed(what: Callable[[], object]) -> float:
    """Seconds, the best of three: others use the machine."""
    found = []
    for _ in range(3):
        began = time.perf_counter()
        what()
        found.append(time.perf_counter() - began)
    return min(found)
