"""Machine faults: a step of the convolutional network, simulated records, the kurtogram."""

import time
from collections.abc import Callable
from statistics import median
from typing import Any

import jax
import numpy as np

from benchmarks import problems
from benchmarks.machinery_peers import peers
from benchmarks.rounds import WARM_EPOCHS, race, ratio
from benchmarks.tables import section, table

_RECORDS = 3520
_RATE = 48_828.0


def report(quick: bool) -> str:
    """The three tables."""
    return "\n".join([_steps(quick), _simulated(quick), _signals(3 if quick else 15)])


def _steps(quick: bool) -> str:
    problem = problems.convolutional("machinery", steps=2, length=512) if quick else problems.c()
    rows, missing = race(problem, peers(), 3 if quick else 7, 0.0 if quick else 5.0, 240.0)
    ours = rows[0]
    body = [
        [
            row.name,
            f"{1e3 * median(row.seconds_per_step):.0f}",
            str(ratio(ours.seconds_per_step, row.seconds_per_step)),
            f"{row.loss:.3f}",
        ]
        for row in rows
    ]
    head = ["peer", "CPU ms a step", "étude takes, of its time", f"loss, epoch {WARM_EPOCHS}"]
    count, length = problem.batch, problem.x.shape[-1]
    notes = [
        f"Median of the ratios of {len(ours.seconds_per_step)} interleaved rounds (quartiles); "
        "the goal is 1.05 at most. Time of the processor; compilation is left out.",
        *missing,
    ]
    title = f"CNN1D 32-64-128-256, 7 taps, stride 2, batch {count} x {length}, AdamW"
    return section(title, table(head, body), notes)


def _simulated(quick: bool) -> str:
    from etude.systems.machinery import JournalSimulation, RollingSimulation

    body = []
    for name, simulation in (
        ("journal bearings, 11 classes", JournalSimulation()),
        ("rolling bearings, 4 classes", RollingSimulation()),
    ):
        count = 44 if quick else _RECORDS
        simulation.draw(0)
        begin = time.perf_counter()
        for index in range(count):
            simulation.draw(index)
        seconds = time.perf_counter() - begin
        body.append([name, f"{count}", f"{seconds:.1f}", f"{seconds / count * _RECORDS:.1f}"])
    notes = [f"One process. The goal is 60 s for {_RECORDS} records of 5 s at 20,480 Hz."]
    if quick:
        notes.append("A part of them was drawn; the last column is in proportion.")
    head = ["simulation", "records", "s", f"s for {_RECORDS}"]
    return section("Simulated records", table(head, body), notes)


def _signals(rounds: int) -> str:
    from etude.systems.machinery import fast_kurtogram, squared_envelope_spectrum

    signal = np.random.default_rng(0).normal(size=round(6 * _RATE)).astype(np.float32)

    def kurtogram() -> Any:
        return fast_kurtogram(signal, _RATE, 6).kurtosis

    def both() -> Any:
        band = fast_kurtogram(signal, _RATE, 6).band
        return squared_envelope_spectrum(signal, _RATE, band).amplitudes

    rows = [
        [
            "kurtogram, level 6",
            _milliseconds(kurtogram, rounds),
        ],
        ["kurtogram, and the envelope spectrum of its band", _milliseconds(both, rounds)],
    ]
    notes = ["Compiled, on one signal; the median of a few calls. The goal is 50 ms for both."]
    return section("6 s at 48,828 Hz", table(["", "ms"], rows), notes)


def _milliseconds(function: Callable[[], Any], rounds: int) -> str:
    jax.block_until_ready(function())
    times = []
    for _ in range(rounds):
        begin = time.perf_counter()
        jax.block_until_ready(function())
        times.append(time.perf_counter() - begin)
    return f"{1e3 * median(times):.0f}"
