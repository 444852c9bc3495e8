"""What a checkpoint costs, beside Orbax, and what saving often costs a training.

`python -m benchmarks.checkpoints étude 256` saves 256 MiB again and again in a process of its own,
between steps that donate them, and prints the seconds until the first save is on the disk, those of
the later ones, the longest time that one of the later held the training up, and by how many copies
of the arrays the memory of the process grew at its peak.
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import jax

import etude as et
from benchmarks import by_hand, ours, problems
from benchmarks.memory import peak, resident
from benchmarks.rounds import Ratio, ratio
from benchmarks.start import measured
from benchmarks.tables import section, table
from etude.run.checkpoints import CheckpointStore

SIZES, SAVES, LEAVES = (64, 256, 1024), 5, 8
#: Of what saves every hundred steps of a small training.
EPOCHS, ROUNDS = 100, 7


def report(quick: bool) -> str:
    """The tables of checkpoints."""
    sizes, rounds, pairs = (SIZES[:1], 1, 2) if quick else (SIZES, 3, ROUNDS)
    return "\n".join([_saving(sizes, rounds), _often(pairs, 5 if quick else EPOCHS)])


def _saving(sizes: tuple[int, ...], rounds: int) -> str:
    rows = []
    for size in sizes:
        found: dict[str, list[list[float]]] = {"étude": [], "Orbax": []}
        for _ in range(rounds):
            for peer, lines in found.items():
                lines.append(measured("benchmarks.checkpoints", peer, str(size)))
        for peer, lines in found.items():
            first, settled, stall, copies = (statistics.median(x) for x in zip(*lines, strict=True))
            rows.append(
                [f"{size} MiB, {peer}", f"{first:.2f} s", f"{settled:.2f} s",
                 f"{1e3 * stall:.0f} ms", f"{copies:.1f}"]
            )  # fmt: skip
        ratios = [_of(found, column) for column in (0, 1, 2)]
        rows.append([f"{size} MiB, étude / Orbax", *map(str, ratios), "-"])
    head = ["what", "first", "settled", "stall", "copies"]
    notes = [
        f"{LEAVES} float32 arrays of random numbers; medians of {rounds} processes each, in turn, "
        f"and of {SAVES} saves for those that settled. Goals: 1.5 of Orbax, one copy, and at "
        "256 MiB a stall below 50 ms.",
        "Ours with a digest of every array. Orbax: `StandardCheckpointer`, which computes none.",
        "Stall: until the call returns and one step that donates the arrays is made, less such a "
        "step without a save. Copies: growth of the process from what was in memory to its peak.",
    ]
    return section("Checkpoints", table(head, rows), notes)


def _of(found: dict[str, list[list[float]]], column: int) -> Ratio:
    ours, theirs = ([line[column] for line in found[peer]] for peer in ("étude", "Orbax"))
    return ratio(ours, [max(value, 1e-4) for value in theirs])


def _often(rounds: int, epochs: int) -> str:
    every, alone = [], []
    for number in range(rounds + 1):
        one = _train(et.ModelCheckpoint(), epochs)
        other = _train(et.ModelCheckpoint(every=et.Steps(100)), epochs)
        if number:
            alone.append(one)
            every.append(other)
    rows = [["`ModelCheckpoint(every=Steps(100))` on (b)", str(ratio(every, alone)), "2"]]
    notes = [
        f"Seconds a step against the same training with checkpoints every minute; {rounds} rounds, "
        f"{epochs} epochs of {problems.b().steps} steps. Where saves come faster than the disk, "
        "those between are left out.",
    ]
    return section("Checkpoints: often", table(["what", "ratio", "at most"], rows), notes)


def _train(saving: et.Callback, epochs: int) -> float:
    """Seconds a step between the first chunk and the last."""
    problem, clock = problems.b(), ours.Clock()
    with tempfile.TemporaryDirectory() as folder:
        et.Trainer(
            by_hand.weights(problem),
            ours.phase(problem, epochs),
            callbacks=[saving, clock],
            run=Path(folder) / "run",
            progress=False,
        ).fit()
    return (clock.end - clock.begin) / (clock.last - clock.first)


def main(peer: str, mebibytes: str) -> None:
    """Prints what saves cost in this process."""
    size = int(mebibytes) << 20
    keys = jax.random.split(jax.random.key(0), LEAVES)
    length = size // 4 // LEAVES
    state = {f"leaf{i}": jax.random.normal(key, (length,)) for i, key in enumerate(keys)}
    step = jax.jit(lambda s: jax.tree.map(lambda x: x * 1.0001, s), donate_argnums=0)
    state = jax.block_until_ready(step(state))
    with tempfile.TemporaryDirectory() as folder:
        save, wait = {"étude": _ours, "Orbax": _orbax}[peer](Path(folder))
        before, seconds, stalls = resident(), [], []
        for number in range(SAVES + 1):
            began = time.perf_counter()
            state = jax.block_until_ready(step(state))
            plain = time.perf_counter() - began
            began = time.perf_counter()
            save(number, state)
            state = jax.block_until_ready(step(state))
            stalls.append(time.perf_counter() - began - plain)
            wait()
            seconds.append(time.perf_counter() - began)
    settled, stall = statistics.median(seconds[1:]), max(0.0, statistics.median(stalls[1:]))
    print(seconds[0], settled, stall, (peak() - before) / size)


Saver = tuple[Callable[[int, dict[str, jax.Array]], None], Callable[[], None]]


def _ours(folder: Path) -> Saver:
    store = CheckpointStore(folder)

    def save(number: int, state: dict[str, jax.Array]) -> None:
        store.save(f"{number}", state, {}, superfluous=lambda names: names[:-2])

    return save, store.wait


def _orbax(folder: Path) -> Saver:
    import orbax.checkpoint as ocp

    checkpointer = ocp.StandardCheckpointer()

    def save(number: int, state: dict[str, jax.Array]) -> None:
        checkpointer.save(folder / f"{number}", state)

    return save, checkpointer.wait_until_finished


if __name__ == "__main__":
    main(*sys.argv[1:])
