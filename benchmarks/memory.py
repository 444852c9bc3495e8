"""Memory of a training, in copies of the model, against the hand-written scan.

`python -m benchmarks.memory étude` is one training: it prints the bytes that live on the device
and the growth of the process.
"""

import resource
import sys
import threading
from pathlib import Path

import jax

from benchmarks import peers, problems
from benchmarks.problems import Problem
from benchmarks.start import measured
from benchmarks.tables import section, table


def problem() -> Problem:
    """A network so wide that its weights outweigh everything else."""
    return problems.perceptron("m", (784, 2048, 2048, 10), 64, 640)


def report(quick: bool) -> str:
    """The table of memory."""
    del quick  # a training of twenty steps is quick enough
    names = ["étude", peers.LIMIT]
    found = {name: measured("benchmarks.memory", name) for name in names}
    copies = _weights(problem())
    rows = [
        [name, *[f"{bytes_ / copies:.2f}" for bytes_ in values]] for name, values in found.items()
    ]
    extra = [f"{(x - y) / copies:+.2f}" for x, y in zip(*found.values(), strict=True)]
    rows.append(["difference", *extra])
    head = ["peer", "on the device", "growth of the process"]
    notes = [
        "In copies of the model; Adam's state is two, and the model that the caller holds is one.",
        "At most one extra copy is allowed. On the device: the largest sum over the distinct "
        "buffers of `jax.live_arrays()` during the training, less the data.",
        "Growth: of the peak resident memory from the imports to the end, with checkpoints and "
        "what they import included.",
    ]
    return section("Memory", table(head, rows), notes)


def _weights(problem: Problem) -> int:
    return sum(w.nbytes + b.nbytes for w, b in problem.layers)


def main(peer: str) -> None:
    """Prints the bytes on the device and the growth of the peak memory."""
    make = next(p.make for p in peers.loops() if p.name == peer)
    data = problem()
    jax.block_until_ready(jax.numpy.zeros(1) + 1)
    before = peak()
    training, live, done = make(data), [0], threading.Event()

    def watch() -> None:
        while not done.wait(0.01):
            live.append(_living())

    watcher = threading.Thread(target=watch)
    watcher.start()
    training.train(2)
    done.set()
    watcher.join()
    print(max(live) - data.x.nbytes - data.y.nbytes, peak() - before)


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
    main(*sys.argv[1:])
