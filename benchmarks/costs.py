"""What a step would cost on 8, 64 and 512 GPUs, on paper: nothing here was measured.

The time of a step is the longest of three: arithmetic, traffic to the memory of the GPU, and
collectives, each at the rate on the data sheet: lower bounds, which overlap in full.
`python -m benchmarks costs` prints the tables; `python -m benchmarks.costs PAGE` writes them into a
page.
"""

import argparse
import math
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from benchmarks.tables import section, table
from benchmarks.transformer import Sizes

COUNTS = (8, 64, 512)
HEAD = ["problem, a GPU", "model", "GPUs", "arithmetic", "memory", "collectives", "bound by",
        "speed", "pays from"]  # fmt: skip
LIMITS = ["problem, in all", "model", "pays up to", "step there"]
BEGIN, END = "<!-- python -m benchmarks.costs -->\n", "<!-- end -->\n"

FLOAT = 4  # bytes of a parameter, a gradient, a moment: float32, also where products are bfloat16


@dataclass(frozen=True)
class Machine:
    """An H100 SXM in machines of eight; rates are those of one GPU, in one direction.

    Attributes:
        flops: of dense bfloat16 products, 1/s (NVIDIA's H100 data sheet).
        memory: bytes/s (the same).
        near: bytes/s to the others of a machine: NVLink 4, 900 GB/s in both directions (the same).
        far: bytes/s to other machines: one 400 Gb/s adapter for each GPU (DGX H100 user guide).
        size: GPUs of a machine.
        start: seconds that a collective takes to begin (NCCL's own model, `src/graph/tuning.cc`).
        near_hop: seconds from a GPU to the next within a machine (the same).
        far_hop: seconds from a machine to the next (the same).
    """

    flops: float = 989e12
    memory: float = 3.35e12
    near: float = 450e9
    far: float = 50e9
    size: int = 8
    start: float = 6.8e-6
    near_hop: float = 0.6e-6
    far_hop: float = 5e-6

    def gather(self, size: float, devices: int) -> float:
        """Seconds to gather `size` bytes that the GPUs have in equal parts, or to scatter a sum.

        A ring within each machine, and one between the GPUs of equal rank in each machine.
        """
        within, machines = min(devices, self.size), -(-devices // self.size)
        near = size * (within - 1) / within / self.near
        far = size / within * (machines - 1) / machines / self.far
        return near + far

    def latency(self, devices: int) -> float:
        """Seconds that a collective takes in one direction, however little it moves: a tree."""
        within, machines = min(devices, self.size), -(-devices // self.size)
        return (within - 1) * self.near_hop + math.log2(machines) * self.far_hop


@dataclass(frozen=True)
class Work:
    """What a model computes and moves in a step.

    Attributes:
        name: of the rows.
        parameters: how many.
        flops: of one sample, forward and backward.
        activations: bytes of one sample that are written and read.
        samples: of a GPU, where more GPUs get more samples.
        total: samples of a step, where they share them.
        parts: groups of parameters that are gathered, or whose gradients are summed, at a time.
    """

    name: str
    parameters: int
    flops: float
    activations: float
    samples: int
    total: int
    parts: int


@dataclass(frozen=True)
class Cost:
    """Seconds of a step."""

    arithmetic: float
    memory: float
    collectives: float

    @property
    def step(self) -> float:
        """The longest: the others happen meanwhile."""
        return max(self.arithmetic, self.memory, self.collectives)

    @property
    def bound(self) -> str:
        """Which that is."""
        return max(("arithmetic", "memory", "collectives"), key=lambda name: getattr(self, name))


def cost(work: Work, samples: float, devices: int, sharded: bool, machine: Machine) -> Cost:
    """A step with so many samples on each of the GPUs.

    Adam reads a parameter, its gradient and two moments, and writes three of these back: of all
    parameters, or of a part where they are sharded. Forward and backward pass read each parameter
    and write its gradient; a gathered one is written first.
    """
    size, sharded = FLOAT * work.parameters, sharded and devices > 1
    passes = (3 + 2 * sharded) * size
    update = 7 * size / (devices if sharded else 1)
    traffic = passes + update + work.activations * samples
    # A sum everywhere is a scattered sum and a gather; FSDP gathers twice, and scatters the sum.
    ways = 3 if sharded else 2
    moved = ways * machine.gather(size, devices)
    waits = work.parts * (ways * machine.latency(devices) + (3 if sharded else 1) * machine.start)
    return Cost(
        work.flops * samples / machine.flops,
        traffic / machine.memory,
        moved + waits if devices > 1 else 0.0,
    )


def pays_from(work: Work, devices: int, sharded: bool, machine: Machine) -> int:
    """The samples of a GPU from which on collectives are hidden behind the rest."""
    collectives = cost(work, 0, devices, sharded, machine).collectives
    one, none = (cost(work, count, devices, sharded, machine) for count in (1, 0))
    by_arithmetic = collectives / one.arithmetic
    by_memory = (collectives - none.memory) / (one.memory - none.memory)
    return max(1, math.ceil(min(by_arithmetic, by_memory)))


def pays_up_to(work: Work, sharded: bool, machine: Machine) -> tuple[int, float]:
    """The GPUs beyond which twice as many shorten a step by less than a tenth, and the step."""
    devices = 1

    def step(devices: int) -> float:
        return cost(work, work.total / devices, devices, sharded, machine).step

    while 2 * devices <= work.total and step(2 * devices) < 0.9 * step(devices):
        devices *= 2
    return devices, step(devices)


def perceptron(sizes: tuple[int, ...], samples: int, total: int) -> Work:
    """A multilayer perceptron; a product takes two operations, and as many twice to go back."""
    weights = sum(a * b for a, b in pairwise(sizes))
    parameters = weights + sum(sizes[1:])
    # The input of each layer is written once and read twice, its gradient written and read.
    numbers = sizes[0] + 5 * sum(sizes[1:])
    name = f"MLP, {samples} samples"
    return Work(name, parameters, 6 * weights, FLOAT * numbers, samples, total, 1)


def transformer(name: str, sizes: Sizes, samples: int, total: int) -> Work:
    """A transformer whose layers are checkpointed: their forward pass is computed twice.

    A sample is a row. Half of all pairs of positions attend. Of each position a layer keeps 34
    bytes for each number of its width (Korthikanti et al. 2022, without the scores, which are never
    in memory), written and read in each of three passes.
    """
    layers, width, length = sizes.layers, sizes.width, sizes.positions
    weights = layers * 12 * width**2
    parameters = weights + width * (2 * sizes.tokens + length)
    products = 8 * weights + 6 * width * sizes.tokens
    attention = 4 / 3 * 6 * layers * length * width
    activations = 3 * 2 * 34 * layers * width
    flops, traffic = length * (products + attention), length * activations
    return Work(f"{name}, {samples} rows", parameters, flops, traffic, samples, total, layers + 1)


SMALL = perceptron((784, 256, 128, 10), 64, 64 * 64)
SIX = transformer("6 layers of 64", Sizes(), 16, 16 * 64)
LARGE = transformer("6 layers of 4096", Sizes(6, 4096, 32, 32_768, 2048), 4, 512)


def report(quick: bool) -> str:
    """The tables, which take no time."""
    return section(TITLE, tables(), NOTES)


TITLE = "A step on many GPUs, on paper"
NOTES = [
    "Nothing here was measured. Times of a step on each of so many H100; it takes the longest.",
    "Speed: of a GPU, against one that trains alone, with as many samples for each.",
    "Pays from: samples of a GPU from which on collectives are hidden behind the rest.",
    "Pays up to: twice as many would shorten the step by less than a tenth.",
]


def _costs() -> list[list[str]]:
    machine, rows = Machine(), []
    for work in (SMALL, SIX, LARGE):
        for sharded in (False, True):
            alone = cost(work, work.samples, 1, False, machine).step
            for devices in COUNTS:
                found = cost(work, work.samples, devices, sharded, machine)
                times = map(_time, (found.arithmetic, found.memory, found.collectives))
                speed = f"{min(1.0, alone / found.step):.0%}"
                least = str(pays_from(work, devices, sharded, machine))
                how = "FSDP" if sharded else "whole"
                rows.append([work.name, how, str(devices), *times, found.bound, speed, least])
    return rows


def _limits() -> list[list[str]]:
    machine, rows = Machine(), []
    for work in (SMALL, SIX, LARGE):
        name = f"{work.name.rpartition(',')[0]}, {work.total} {work.name.split()[-1]}"
        for sharded in (False, True):
            devices, step = pays_up_to(work, sharded, machine)
            rows.append([name, "FSDP" if sharded else "whole", f"{devices} GPUs", _time(step)])
    return rows


def _time(seconds: float) -> str:
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e6:.3g} us"


def tables() -> str:
    """What stands in the page between `BEGIN` and `END`."""
    return f"{table(HEAD, _costs())}\n\n{table(LIMITS, _limits())}"


def main() -> None:
    """Writes the tables into a page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.costs", description=__doc__)
    parser.add_argument("page", type=Path)
    page = parser.parse_args().page
    before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    page.write_text(f"{before}{BEGIN}\n{tables()}\n\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
