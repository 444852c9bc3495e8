"""Rounds: every peer in turn, again and again, so that a busy machine slows all of them alike."""

import os
import statistics
import time
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass

from benchmarks.peers import Peer, Training
from benchmarks.problems import Problem

#: Epochs after which the losses are compared.
WARM_EPOCHS = 3


@dataclass(frozen=True)
class Row:
    """What was measured of one peer: one value per round, and the loss after `WARM_EPOCHS`."""

    name: str
    seconds_per_step: list[float]
    loss: float


def race(
    problem: Problem, peers: list[Peer], rounds: int, seconds: float, budget: float
) -> tuple[list[Row], list[str]]:
    """Trains with every peer in turn: `(rows, sentences about what is missing)`.

    Every peer first trains `WARM_EPOCHS` epochs, which compiles it and says whether it learns as
    the others do; then as many epochs per round as take about `seconds`, in an order that turns
    round from one round to the next. Past a budget of seconds no round begins after the third:
    on a crowded machine torch's threads, which wait for each other, are slow beyond all bounds.
    """
    missing = [f"{p.name}: not installed ({', '.join(p.missing())})" for p in peers if p.missing()]
    peers = [peer for peer in peers if not peer.missing()]
    found: list[list[float]] = [[] for _ in peers]
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        trainings = [peer.make(problem) for peer in peers]
        losses = [training.train(WARM_EPOCHS)[1] for training in trainings]
        epochs = [_epochs(training, seconds) for training in trainings]
        begin = time.perf_counter()
        for number in range(rounds):
            if number >= 3 and time.perf_counter() - begin > budget:
                break
            order = range(len(peers)) if number % 2 else reversed(range(len(peers)))
            for index in order:
                taken = trainings[index].train(epochs[index])[0]
                found[index].append(taken / (epochs[index] * problem.steps))
    rows = [Row(*row) for row in zip((p.name for p in peers), found, losses, strict=True)]
    return rows, missing


def _epochs(training: Training, seconds: float) -> int:
    return max(1, round(seconds / training.train(1)[0]))


@dataclass(frozen=True)
class Ratio:
    """The median over the rounds of a ratio, and its quartiles."""

    low: float
    median: float
    high: float

    def __str__(self) -> str:
        return f"{_short(self.median)} ({_short(self.low)} to {_short(self.high)})"


def ratio(above: list[float], below: list[float]) -> Ratio:
    """How often `below` goes into `above`, round by round."""
    values = [x / y for x, y in zip(above, below, strict=True)]
    if len(values) == 1:
        return Ratio(values[0], values[0], values[0])
    return Ratio(*statistics.quantiles(values, n=4, method="inclusive"))


def _short(value: float) -> str:
    return f"{value:.2f}" if value < 10 else f"{value:.1f}"
