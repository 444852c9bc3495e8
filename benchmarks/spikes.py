"""A training step of a spiking network, ours against spyx and snntorch.

Every peer is a process of its own and takes its turn: `python -m benchmarks.spikes PEER` reads a
number of steps from each line of its input, trains so many, and answers with the seconds of the
clock and of the processors.
"""

import importlib.util
import os
import statistics
import subprocess
import sys
import time

import numpy as np

from benchmarks.rounds import ratio
from benchmarks.spiking_peers import PEERS, Ours, Snntorch, Spyx, data
from benchmarks.tables import section, table

#: Which share of ours in a peer's time is the goal.
GOALS = {"spyx 1.0.0": "<= 0.9", "snntorch 1.0.0": "<= 0.5", "étude, products hoisted": "-"}


class Process:
    """A peer at work on some threads, in a process of its own."""

    def __init__(self, name: str, threads: int):
        command = [sys.executable, "-m", "benchmarks.spikes", name, str(threads)]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(
            command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True
        )

    def train(self, steps: int) -> tuple[float, float]:
        """Seconds of the clock and of the processors for one step."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(steps, file=self.process.stdin, flush=True)
        clock, processor = map(float, self.process.stdout.readline().split())
        return clock, processor

    def end(self) -> None:
        self.process.communicate()


def report(quick: bool) -> str:
    """The table; fails if our gradients are not those of spyx."""
    packages = {"spyx 1.0.0": "spyx", "snntorch 1.0.0": "snntorch"}
    missing = [n for n, package in packages.items() if importlib.util.find_spec(package) is None]
    names = [name for name in PEERS if name not in missing]
    rows = []
    for threads in (1, 2):
        rows += _rows(names, threads, rounds=3 if quick else 15)
    notes = [
        "128 spike trains -> LIF 512, 256, 128 -> LI 2; batch 256, 100 steps of time, float32; "
        "forward, backward and Adam.",
        "Medians (quartiles) of rounds. The clock is what counts on a quiet machine; the time of "
        "the processors is what a crowded one lets one compare, for one thread.",
        *[f"{name}: not installed" for name in missing],
    ]
    if "spyx 1.0.0" not in missing:
        notes.append(f"Largest relative difference of a gradient from spyx's: {_difference():.1e}.")
    head = ["ours / peer", "threads", "clock", "processors", "goal", "ms of ours, of the peer"]
    return section("Spiking networks", table(head, rows), notes)


def _rows(names: list[str], threads: int, rounds: int) -> list[list[str]]:
    peers = {name: Process(name, threads) for name in names}
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    for peer in peers.values():
        peer.train(2)  # compiles
    for number in range(rounds):
        for name in names if number % 2 else reversed(names):
            found[name].append(peers[name].train(2))
    for peer in peers.values():
        peer.end()
    clock = {name: [times[0] for times in values] for name, values in found.items()}
    processors = {name: [times[1] for times in values] for name, values in found.items()}
    ours, *others = names
    return [
        [
            name,
            str(threads),
            str(ratio(clock[ours], clock[name])),
            str(ratio(processors[ours], processors[name])),
            GOALS[name],
            ", ".join(f"{1e3 * statistics.median(clock[n]):.0f}" for n in (ours, name)),
        ]
        for name in others
    ]


def _difference() -> float:
    # Of few samples and steps: in many, rounding puts some membrane across its threshold.
    x, labels = data()
    few = x[:20, :4], labels[:4]
    pairs = list(zip(Ours().gradient(*few), Spyx().gradient(*few), strict=True))
    difference = max(float(np.abs(x - y).max() / np.abs(y).max()) for x, y in pairs)
    if not difference < 1e-4:
        raise AssertionError(f"gradients differ from spyx's by {difference:.1e} of the largest")
    return difference


def main(name: str, threads: int) -> None:
    """A peer that answers to its input."""
    # Before the libraries start their threads: as many processors as threads.
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-threads:])
    peer = PEERS[name]()
    if isinstance(peer, Snntorch):
        peer.torch.set_num_threads(threads)
    for line in sys.stdin:
        clock, processor, steps = time.perf_counter(), time.process_time(), int(line)
        for _ in range(steps):
            peer.step()
        seconds = time.perf_counter() - clock, time.process_time() - processor
        print(*[value / steps for value in seconds], flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
