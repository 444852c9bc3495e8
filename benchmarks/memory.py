"""Memory of a training, in copies of the model, against the hand-written scan.

`python -m benchmarks.memory étude` is one training: it prints the bytes that live on the device
and the growth of the process.
"""

import resource
import sys
import tempfile
import threading
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import optax

import etude as et
from benchmarks import by_hand, ours, peers, problems
from benchmarks.problems import Problem
from benchmarks.start import measured
from benchmarks.tables import section, table


def problem() -> Problem:
    """A network so wide that its weights outweigh everything else."""
    return problems.perceptron("m", (784, 2048, 2048, 10), 64, 640)


@dataclass(frozen=True)
class Keeping:
    """Étude with a checkpoint every five steps, a validation every epoch, and other options."""

    #: copies of the model on the device, at most
    copies: int
    phase: dict[str, Any]
    ema: float | None = None
    nonfinite: Any = "stop"

    def train(self, problem: Problem, epochs: int) -> None:
        """One training, from the first weights on."""
        phase = ours.phase(problem, epochs)
        (learner,) = phase.turns
        validation = et.Validation(phase.source, ema=self.ema is not None)
        phase = replace(
            phase, learners=replace(learner, ema=self.ema), validation=validation, **self.phase
        )
        with tempfile.TemporaryDirectory() as folder:
            et.Trainer(
                by_hand.weights(problem),
                phase,
                callbacks=[et.ModelCheckpoint(every=et.Steps(5))],
                run=Path(folder) / "run",
                nonfinite=self.nonfinite,
                progress=False,
            ).fit()


KEEPING = {
    "with checkpoints": Keeping(4, {}),
    "with checkpoints and `Best`": Keeping(4, {"keep": et.Best("valid/loss")}),
    "with checkpoints and an average": Keeping(5, {}, ema=0.99),
    "with checkpoints, average, `Best`": Keeping(5, {"keep": et.Best("valid/loss")}, ema=0.99),
    "with checkpoints, non-finite skipped": Keeping(4, {}, nonfinite="skip"),
}


#: Steps whose metrics a training without a run folder keeps, and how many metrics these are.
EARLY, LATE, METRICS = 10_000, 50_000, 100


def report(quick: bool) -> str:
    """The tables of memory."""
    del quick  # a training of twenty steps is quick enough
    return "\n".join([_copies(), _long()])


def _copies() -> str:
    names = ["étude", peers.LIMIT]
    found = {name: measured("benchmarks.memory", name) for name in names}
    copies = _weights(problem())
    rows = [
        [name, *[f"{bytes_ / copies:.2f}" for bytes_ in values], "-"]
        for name, values in found.items()
    ]
    extra = [f"{(x - y) / copies:+.2f}" for x, y in zip(*found.values(), strict=True)]
    rows.append(["difference", *extra, "+1 on the device"])
    for name, keeping in KEEPING.items():
        device, growth = (x / copies for x in measured("benchmarks.memory", name))
        rows.append([name, f"{device:.2f}", f"{growth:.2f}", f"{keeping.copies} on the device"])
    head = ["peer", "on the device", "growth of the process", "at most"]
    notes = [
        "In copies of the model; Adam's state is two, and the model that the caller holds is one.",
        "At most one extra copy is allowed. On the device: the largest sum over the distinct "
        "buffers of `jax.live_arrays()` during the training, less the data.",
        "Growth: of the peak resident memory from the imports to the end, with checkpoints and "
        "what they import included.",
        "Below the difference: a checkpoint every five steps and a validation every epoch.",
    ]
    return section("Memory", table(head, rows), notes)


def _long() -> str:
    early, late = measured("benchmarks.memory", "long")
    history = (LATE - EARLY) * METRICS * 4
    row = [f"{x / 2**20:.1f}" for x in (early, late, late - early, history)]
    head = ["metrics", f"after {EARLY:,} steps", f"after {LATE:,}", "growth", "of the history"]
    notes = [
        "Resident memory in MiB of a training without a run folder, whose history is in memory: "
        "four bytes for each metric of each step.",
    ]
    return section("Memory of a long training", table(head, [[str(METRICS), *row]]), notes)


def _weights(problem: Problem) -> int:
    return sum(w.nbytes + b.nbytes for w, b in problem.layers)


def main(peer: str) -> None:
    """Prints the bytes on the device and the growth of the peak memory."""
    data = problem()
    jax.block_until_ready(jax.numpy.zeros(1) + 1)
    before = peak()
    if peer in KEEPING:
        train = partial(KEEPING[peer].train, data, 6)
    else:
        train = partial(next(p.make for p in peers.loops() if p.name == peer)(data).train, 2)
    live, done = [0], threading.Event()

    def watch() -> None:
        while not done.wait(0.01):
            live.append(_living())

    watcher = threading.Thread(target=watch)
    watcher.start()
    train()
    done.set()
    watcher.join()
    print(max(live) - data.x.nbytes - data.y.nbytes, peak() - before)


class Watch(et.Callback):
    """The resident memory at a step."""

    def __init__(self) -> None:
        self.found: list[tuple[int, int]] = []

    def on_steps_end(self, event, metrics) -> None:
        """Notes a chunk."""
        self.found.append((event.step, resident()))

    def at(self, step: int) -> int:
        """The first that was seen from a step on."""
        return next(memory for seen, memory in self.found if seen >= step)


def long() -> None:
    """Prints the resident memory after `EARLY` and after `LATE` steps."""

    def loss(weights, batch, context):
        error = (weights - batch).mean()
        return error**2, {f"metric{n}": error + n for n in range(METRICS - 1)}

    learner = et.Learner(et.Gradient(loss), optax.sgd(1e-3))
    data = et.ArrayData(jax.numpy.ones((1024, 8)), 32)
    watch = Watch()
    phase = et.Phase("fit", learner, data, et.Steps(LATE))
    et.Trainer(jax.numpy.zeros(8), phase, callbacks=[watch], progress=False).fit()
    print(watch.at(EARLY), watch.at(LATE))


def _living() -> int:
    """Bytes of the buffers that live; arrays that share one are counted once."""
    buffers: dict[int, int] = {}
    for array in jax.live_arrays():
        try:
            buffers[array.unsafe_buffer_pointer()] = array.nbytes
        except (RuntimeError, ValueError):  # given away meanwhile, or a random key
            continue
    return sum(buffers.values())


def peak() -> int:
    """Bytes that the process has had in memory at most."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def resident() -> int:
    """Bytes of the process that are in memory now; where the system does not tell, at most."""
    status = Path("/proc/self/statm")
    if not status.exists():
        return peak()
    return int(status.read_text().split()[1]) * resource.getpagesize()


if __name__ == "__main__":
    long() if sys.argv[1] == "long" else main(sys.argv[1])
