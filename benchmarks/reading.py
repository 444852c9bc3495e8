"""Reading from the host: `AccessData` and `StreamData` beside torch's `DataLoader` and Grain.

Batches of 64 x 256 float32 with an integer label, in a new order each epoch, taken without a
training: what a step waits for if it takes no time itself.

`python -m benchmarks.reading` is one training on a memory-mapped file larger than the memory that
it may fill: it prints the file's bytes and the anonymous memory of the process as it trains.
"""

import statistics
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import optax

import etude as et
from benchmarks.rounds import ratio
from benchmarks.start import measured
from benchmarks.tables import section, table

SAMPLES, BATCH, WIDTH, WORKERS = 6400, 64, 256, 2

#: Samples of the file and the numbers of each, which is 4 GiB; and the MiB by which the second
#: epoch may take more memory than the first: some dozen batches, of 1/4 MiB, are under way.
ROWS, ROW, GROWTH = 1_048_576, 1024, 32

STATUS = Path("/proc/self/status")


class Signals:
    """A data set as it is written for torch: a row and its label, which is a Python integer."""

    def __init__(self, labels: bool = True, samples: int = SAMPLES, width: int = WIDTH):
        random = np.random.default_rng(0)
        self.x = random.standard_normal((samples, width)).astype(np.float32)
        self.y = random.integers(0, 10, samples)
        self.labels = labels

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, index: int) -> Any:
        return (self.x[index], int(self.y[index])) if self.labels else self.x[index]


class Tensors(Signals):
    """The same, whose rows are torch's tensors."""

    def __init__(self):
        super().__init__()
        import torch

        self.x: Any = torch.from_numpy(self.x)


#: Makes the batches of an epoch.
Epoch = Callable[[int], Iterable[Any]]


@dataclass(frozen=True)
class Setting:
    """What is read, by us and by another."""

    name: str
    dataset: Signals
    ours: dict[str, Any]
    other: Callable[[Signals], Epoch]


def settings() -> list[Setting]:
    """What is measured."""
    found, labelled, bare = [], Signals(), Signals(labels=False)
    wide = Signals(samples=20 * BATCH, width=4096)
    threads = {"workers": WORKERS}
    processes = {"workers": WORKERS, "worker_kind": "process"}
    if find_spec("torch"):
        found += [
            Setting("no workers / torch", labelled, {}, in_torch(0)),
            Setting("no workers, no label / torch", bare, {}, in_torch(0)),
            Setting("no workers, tensors / torch", Tensors(), {}, in_torch(0)),
            Setting("2 threads / torch, no workers", labelled, threads, in_torch(0)),
            Setting("2 threads / torch, 2 workers", labelled, threads, in_torch(WORKERS)),
            Setting("2 processes / torch, 2 workers", labelled, processes, in_torch(WORKERS)),
            Setting("2 processes, 1 MiB / torch, 2 workers", wide, processes, in_torch(WORKERS)),
        ]
    return [
        *found,
        Setting("no workers / Grain", labelled, {}, in_grain(0)),
        Setting("2 threads / Grain, 2 threads", labelled, threads, in_grain(WORKERS)),
    ]


def in_torch(workers: int) -> Callable[[Signals], Epoch]:
    """Its `DataLoader`, whose workers are processes and stay."""

    def make(dataset: Signals) -> Epoch:
        import torch
        from torch.utils.data import DataLoader

        torch.set_num_threads(1)
        stays: dict[str, Any] = {"num_workers": workers, "persistent_workers": workers > 0}
        loader = DataLoader(dataset, BATCH, shuffle=True, **stays)  # pyright: ignore
        return lambda epoch: loader

    return make


def in_grain(threads: int) -> Callable[[Signals], Epoch]:
    """Its readers, over the same data set."""

    def make(dataset: Signals) -> Epoch:
        import grain

        options = grain.ReadOptions(num_threads=threads)
        source = grain.MapDataset.source(dataset)  # pyright: ignore
        return lambda epoch: source.shuffle(seed=epoch).batch(BATCH).to_iter_dataset(options)

    return make


def report(quick: bool) -> str:
    """The tables of readers and of the file."""
    rounds = 3 if quick else 15
    return "\n".join([_readers(rounds), _file()])


def _readers(rounds: int) -> str:
    rows = [_against(setting, rounds) for setting in settings()]
    rows.append(_stream(10 * rounds))
    notes = [
        f"Batches of {BATCH} x {WIDTH} float32 (1 MiB: x 4096) and a label; medians "
        f"(quartiles) of {rounds} interleaved rounds of an epoch.",
        "torch has no threads that read: ours are compared with its processes, too.",
        "`StreamData` over a list of such batches: the time above that of the list.",
        *([] if find_spec("torch") else ["torch is not installed."]),
    ]
    head = ["ours / other", "us a batch", "the other's", "ratio", "at most"]
    return section("Reading from the host", table(head, rows), notes)


def _against(setting: Setting, rounds: int) -> list[str]:
    data = et.AccessData(setting.dataset, BATCH, **setting.ours)
    other, ours, others = setting.other(setting.dataset), [], []
    # torch's processes are forked, which JAX warns of.
    with warnings.catch_warnings(action="ignore"):
        for epoch in range(rounds + 1):
            ours.append(_seconds(data.batches((0,), epoch, 0)))
            others.append(_seconds(other(epoch)))
    ours, others = ours[1:], others[1:]  # without the start of the workers
    shown = [f"{1e6 * statistics.median(found):.0f}" for found in (ours, others)]
    asked = "1.00" if "torch" in setting.name else "-"
    return [setting.name, *shown, str(ratio(ours, others)), asked]


def _stream(rounds: int) -> list[str]:
    data = et.AccessData(Signals(), BATCH)
    batches = list(data.batches((0,), 0, 0))
    stream, ours, bare = et.StreamData(batches), [], []
    for _ in range(rounds):
        ours.append(_seconds(stream.batches((0,), 0, 0)))
        bare.append(_seconds(batches))
    above = 1e6 * statistics.median(x - y for x, y in zip(ours, bare, strict=True))
    name = "`StreamData`, us above the list"
    return [name, f"{above:.2f}", f"{1e6 * statistics.median(bare):.2f}", "-", "5 us"]


def _seconds(batches: Iterable[Any]) -> float:
    """Of a batch."""
    begin, count = time.perf_counter(), 0
    for _ in batches:
        count += 1
    return (time.perf_counter() - begin) / count


def _file() -> str:
    if not STATUS.exists():
        return section("A memory-mapped file", "Measured where there is /proc: on Linux.")
    size, seconds, *memory = measured("benchmarks.reading")
    first, second = (amount / 2**20 for amount in memory)
    row = [f"{size / 2**30:.0f} GiB", f"{first:.0f}", f"{second:.0f}", f"{second - first:+.0f}"]
    row += [f"{GROWTH}", f"{1e3 * seconds:.1f}"]
    head = ["file", "first epoch, MiB", "second", "growth", "at most", "ms a step"]
    notes = [
        "The largest anonymous memory (`RssAnon`) in each of two epochs on an `np.memmap` of "
        f"{ROWS:,} samples of {ROW * 4 // 2**10} KiB, shuffled, in batches of {BATCH}, and the "
        "time of the second. The pages of the file are the system's, which drops them "
        "where it needs the memory.",
    ]
    return section("A memory-mapped file", table(head, [row]), notes)


class Epochs(et.Callback):
    """When epochs ended."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_epoch_end(self, event) -> None:
        """Notes one."""
        self.ends.append(time.perf_counter())


def main() -> None:
    """Prints bytes of the file, seconds a step, and the most bytes of memory in each epoch."""

    def loss(weights, batch, context):
        return jnp.mean((batch @ weights - 1) ** 2)

    found: list[tuple[float, int]] = []
    epochs, done = Epochs(), threading.Event()

    def watch() -> None:
        while not done.wait(0.01):
            found.append((time.perf_counter(), _anonymous()))

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "samples"
        # Holes, which take no room on the disk, and pages of the system as any file does.
        samples = np.memmap(path, np.float32, "w+", shape=(ROWS, ROW))
        learner = et.Learner(et.Gradient(loss), optax.sgd(1e-3))
        phase = et.Phase("fit", learner, et.AccessData(samples, BATCH), et.Epochs(2))
        watcher = threading.Thread(target=watch)
        watcher.start()
        et.Trainer(jnp.zeros(ROW), phase, callbacks=[epochs], progress=False).fit()
        done.set()
        watcher.join()
    first, second = epochs.ends
    most = [max(x for at, x in found if (at > first) == late) for late in (False, True)]
    print(4 * ROWS * ROW, (second - first) * BATCH / ROWS, *most)


def _anonymous() -> int:
    line = next(x for x in STATUS.read_text().splitlines() if x.startswith("RssAnon"))
    return 1024 * int(line.split()[1])


if __name__ == "__main__":
    main()
