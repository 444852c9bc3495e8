"""Training on files larger than memory: its speed beside a plain reader's, and its memory.

`python -m benchmarks.disk --size 20` writes so many GB of random numbers below `TMPDIR`, in one
format after the other, and deletes them in every case.
"""

import argparse
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import jax.numpy as jnp
import numpy as np
import optax

import etude as et
from benchmarks.rounds import ratio
from benchmarks.tables import section, table
from etude.data.blocks import BlockOrder

#: Numbers of a sample (16 KiB), samples of a batch, and a block of 4 MiB.
WIDTH, BATCH, BLOCKS = 4096, 256, et.Blocks(256, window=16)

#: GB of the files, and of those that fit into the page cache; the first of a quick run.
SIZE, CACHED, QUICK = 20.0, 2.0, 1.0

#: What is asked for: of the plain reader's speed, and GB of anonymous memory.
SPEED, MEMORY = 0.9, 2.0

STATUS = Path("/proc/self/status")

#: `read(start, rows)` fills an array with samples.
Read = Callable[[int, np.ndarray], None]


@dataclass(frozen=True)
class Format:
    """A format of files.

    Attributes:
        write: writes pieces of samples, of which there are so many, to a path.
        open: opens a file for a training.
        plain: opens it for the plain reader.
    """

    name: str
    write: Callable[[Path, int, Iterator[np.ndarray]], None]
    open: Callable[[Path], Any]
    plain: Callable[[Path], Read]


def _write_npy(path: Path, samples: int, pieces: Iterator[np.ndarray]) -> None:
    shape = samples, WIDTH
    np.lib.format.open_memmap(path, "w+", np.float32, shape).flush()  # the header
    with path.open("r+b") as file:
        file.seek(-samples * WIDTH * 4, os.SEEK_END)
        for piece in pieces:
            file.write(piece.data)


def _plain_npy(path: Path) -> Read:
    offset, file = np.load(path, mmap_mode="r").offset, path.open("rb", buffering=0)

    def read(start: int, rows: np.ndarray) -> None:
        file.seek(offset + 4 * WIDTH * start)
        assert file.readinto(rows.data) == rows.nbytes

    return read


def _write_hdf5(path: Path, samples: int, pieces: Iterator[np.ndarray]) -> None:
    with h5py.File(path, "w") as file:
        shape, chunks = (samples, WIDTH), (BLOCKS.size, WIDTH)
        x, start = file.create_dataset("x", shape, "f4", chunks=chunks), 0
        for piece in pieces:
            x[start : start + len(piece)] = piece
            start += len(piece)


def _open_hdf5(path: Path) -> Any:
    return h5py.File(path, "r")["x"]


def _plain_hdf5(path: Path) -> Read:
    x = _open_hdf5(path)
    return lambda start, rows: x.read_direct(rows, np.s_[start : start + len(rows)])


FORMATS = {
    "memory-mapped .npy": Format(
        ".npy", _write_npy, lambda path: np.load(path, mmap_mode="r"), _plain_npy
    ),
    "HDF5, chunks of a block": Format(".h5", _write_hdf5, _open_hdf5, _plain_hdf5),
}


def report(quick: bool) -> str:
    """The table of all formats."""
    return measured_on(QUICK, 2) if quick else measured_on(SIZE, 3)


def measured_on(size: float, rounds: int) -> str:
    """The table, for files of so many GB."""
    title, free = "Data beyond memory", shutil.disk_usage(tempfile.gettempdir()).free / 1e9
    if not STATUS.exists() or free < size + 5:
        return section(title, f"Measured on Linux, with {size + 5:.0f} GB free; got {free:.0f} GB.")
    rows = []
    for name in FORMATS:
        rows.append(_row(name, size, rounds, dropped=True))
        rows.append(_row(name, min(size, CACHED), rounds, dropped=False))
    head = ["file", "GB", "pages", "samples/s", "plain reader", "ratio", "at least"]
    notes = [
        f"Samples of {WIDTH} random float32 (16 KiB) in batches of {BATCH}, shuffled by {BLOCKS}, "
        "with one thread that reads ahead; a linear model learns from them.",
        "The plain reader reads the blocks of such an order, mixes them, and makes the same "
        "batches: in one thread, without checks, a device or a training.",
        f"Medians (quartiles) of {rounds} rounds of an epoch each, in turn. Dropped: before each "
        "epoch the system is told to forget the file (`posix_fadvise`); cached: it was read "
        "just before.",
        "Anonymous: the largest `RssAnon` of the process that trains, JAX included.",
        f"The load of the {os.cpu_count()} cores at the end: {os.getloadavg()[1]:.1f}.",
    ]
    return section(title, table([*head, "anonymous, GB", "at most"], rows), notes)


def _row(name: str, size: float, rounds: int, dropped: bool) -> list[str]:
    samples = int(size * 1e9) // (4 * WIDTH)
    with _folder() as folder:
        path = folder / "samples"
        FORMATS[name].write(path, samples, _pieces(samples))
        _forget(path)
        trained, plain, memory = _in_a_process(name, path, rounds, dropped)
    speeds = [f"{statistics.median(each):.0f}" for each in (trained, plain)]
    row = [name, f"{size:.1f}", "dropped" if dropped else "cached", *speeds]
    row += [str(ratio(trained, plain)), f"{SPEED}" if dropped else "-"]
    return [*row, f"{max(memory) / 1e9:.2f}", f"{MEMORY:.0f}"]


@contextmanager
def _folder() -> Iterator[Path]:
    """A folder that is deleted, also where the process is told to end."""

    def end(number: int, frame: Any) -> None:
        sys.exit(128 + number)

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        with tempfile.TemporaryDirectory(prefix="etude-disk-") as name:
            yield Path(name)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _pieces(samples: int) -> Iterator[np.ndarray]:
    """Random numbers, 64 MiB at a time, that no file system compresses much."""
    random, most = np.random.default_rng(0), 4096
    for start in range(0, samples, most):
        yield random.random((min(most, samples - start), WIDTH), np.float32)


def _forget(path: Path) -> None:
    """Asks the system to write what is not written yet, and to drop the pages of a file."""
    file = os.open(path, os.O_RDONLY)
    os.fsync(file)
    os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(file)


def _in_a_process(name: str, path: Path, rounds: int, dropped: bool) -> list[list[float]]:
    """What `_rounds` finds in a fresh process, which ends with this one."""
    arguments = [name, str(path), str(rounds), str(int(dropped))]
    command = [sys.executable, "-m", "benchmarks.disk", "--child", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        try:
            printed, _ = child.communicate()
        finally:
            child.kill()
    if child.returncode:
        raise RuntimeError(f"{' '.join(command)} failed.")
    return [[float(word) for word in line.split()] for line in printed.splitlines()]


def _rounds(name: str, path: Path, rounds: int, dropped: bool) -> Iterator[tuple[float, ...]]:
    """Of each round: samples a second of the training and of the plain reader, bytes of memory."""
    form = FORMATS[name]
    data, read = form.open(path), form.plain(path)
    if not dropped:
        _read_plainly(read, len(data), 0)
    for number in range(rounds):
        found: dict[str, float] = {}
        for who in ("étude", "plain") if number % 2 else ("plain", "étude"):
            if dropped:
                _forget(path)
            if who == "plain":
                found[who] = _read_plainly(read, len(data), number)
            else:
                found[who], found["memory"] = _train(data, number)
        yield found["étude"], found["plain"], found["memory"]


def _read_plainly(read: Read, length: int, seed: int) -> float:
    """Samples a second of a reader without us."""
    size, begin = BLOCKS.size, time.perf_counter()
    held = np.empty((BLOCKS.window * size, WIDTH), np.float32)
    for window in BlockOrder(BLOCKS, length, BATCH).samples((seed,), 0, length):
        blocks = np.unique(window // size)
        for place, block in enumerate(blocks):  # the short one is the last
            read(block * size, held[place * size :][: min(size, length - block * size)])
        rows = np.searchsorted(blocks, window // size) * size + window % size
        for start in range(0, len(rows), BATCH):
            held[rows[start : start + BATCH]]
    return length / (time.perf_counter() - begin)


class Watch(et.Callback):
    """When steps were done."""

    def __init__(self) -> None:
        self.found: list[tuple[int, float]] = []

    def on_steps_end(self, event, metrics) -> None:
        """Notes the end of a chunk."""
        self.found.append((event.step, time.perf_counter()))


def _train(data: Any, seed: int) -> tuple[float, float]:
    """Samples a second of one epoch from the first chunk on, and the most bytes of memory."""

    def loss(weights, batch, context):
        return jnp.mean((batch @ weights - 1) ** 2)

    source = et.AccessData(data, BATCH, shuffle=BLOCKS, workers=1, drop_last=True)
    phase = et.Phase("fit", et.Learner(et.Gradient(loss), optax.sgd(1e-5)), source, et.Epochs(1))
    watch, memory, done = Watch(), [0.0], threading.Event()

    def look() -> None:
        while not done.wait(0.02):
            line = next(x for x in STATUS.read_text().splitlines() if x.startswith("RssAnon"))
            memory[0] = max(memory[0], 1024.0 * int(line.split()[1]))

    looking = threading.Thread(target=look)
    looking.start()
    weights = jnp.zeros(WIDTH)
    et.Trainer(weights, phase, callbacks=[watch], seed=seed, progress=False).fit()
    done.set()
    looking.join()
    (first, began), (last, ended) = watch.found[0], watch.found[-1]
    return (last - first) * BATCH / (ended - began), memory[0]


def main() -> None:
    """Prints the table, or, in the process that trains, what was found in each round."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.disk", description=__doc__)
    parser.add_argument("--size", type=float, default=SIZE, help="GB of each file")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--child", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child is None:
        print(measured_on(options.size, options.rounds))
        return
    name, path, rounds, dropped = options.child
    for values in zip(*_rounds(name, Path(path), int(rounds), bool(int(dropped))), strict=True):
        print(*values)


if __name__ == "__main__":
    main()
