"""Time to the first step, and of the command and the import, each in a fresh process.

`python -m benchmarks.start étude b` is such a process: it prints the seconds from the finished
imports to the first loss on the host.
"""

import statistics
import subprocess
import sys
import time

from benchmarks import peers, problems
from benchmarks.rounds import ratio
from benchmarks.tables import section, table

COMMAND = "from etude.cli.main import main; main()"


def report(quick: bool) -> str:
    """The table of starting times."""
    repeats = 2 if quick else 5
    rows = [_first_step(name, repeats) for name in ("a", "b")]
    code = [sys.executable, "-c"]
    commands = {
        "`etude --help`": ([*code, COMMAND, "--help"], 0.5),
        "`import etude`": ([*code, "import etude"], 1.5),
        "`import jax, equinox, optax` alone": ([*code, "import jax, equinox, optax"], None),
    }
    for name, (command, goal) in commands.items():
        rows.append([name, _wall(command, 5), f"{goal} s" if goal else "-"])
    notes = [
        f"Fresh processes, interleaved; median (quartiles) of {repeats}, of 5 for the last three.",
        "To the first step: from the finished imports to the loss of the first epoch on the host.",
    ]
    head = ["what", "measured", "at most"]
    return section("Starting", table(head, rows), notes)


def _first_step(problem: str, repeats: int) -> list[str]:
    ours, limit = [], []
    for _ in range(repeats):
        ours += measured("benchmarks.start", "étude", problem)
        limit += measured("benchmarks.start", peers.LIMIT, problem)
    name = f"time to first step, ({problem}), étude / scan by hand"
    return [name, str(ratio(ours, limit)), "1.3"]


def measured(module: str, *arguments: str) -> list[float]:
    """The numbers that a module prints in a process of its own."""
    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr}")
    return [float(word) for word in done.stdout.split()]


def _wall(command: list[str], repeats: int) -> str:
    seconds = []
    for _ in range(repeats):
        begin = time.perf_counter()
        if subprocess.run(command, capture_output=True).returncode:
            return "failed"
        seconds.append(time.perf_counter() - begin)
    return f"{statistics.median(seconds):.2f} s"


def main(peer: str, problem: str) -> None:
    """Prints the seconds to the first step of a peer in this process."""
    make = next(p.make for p in peers.loops() if p.name == peer)
    data = getattr(problems, problem)()
    begin = time.perf_counter()
    make(data).train(1)
    print(time.perf_counter() - begin)


if __name__ == "__main__":
    main(*sys.argv[1:])
