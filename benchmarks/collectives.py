"""What the collectives of a compiled program give in one step, read from its text.

The body of a loop counts as often as XLA knows that it runs, as over the layers of a model. A loop
of unknown length counts once: such are those over epochs and steps.
"""

import math
import re
from collections import Counter
from dataclasses import dataclass
from functools import cache

KINDS = "all-reduce|all-gather|reduce-scatter|all-to-all|collective-permute"
SIZES = {"pred": 1, "s8": 1, "u8": 1, "bf16": 2, "f16": 2, "f32": 4, "s32": 4, "u32": 4, "f64": 8}

HEAD = re.compile(r"^(?P<entry>ENTRY )?%(?P<name>[\w.\-]+) .*\{$")
COLLECTIVE = re.compile(rf"= (?P<arrays>.*?) (?P<kind>{KINDS})(?:-start)?\(")
ARRAY = re.compile(r"(\w+)\[([\d,]*)\]")
CALLED = re.compile(
    r"(body|condition|to_apply|calls|\w+_computations?)=\{?(%[\w.\-]+(?:, %[\w.\-]+)*)"
)
TIMES = re.compile(r'"known_trip_count":\{"n":"(\d+)"\}')


@dataclass(frozen=True)
class Collective:
    """Collectives of one kind and result, and how often a step runs them.

    Attributes:
        kind: as XLA calls it.
        shapes: of the arrays that it gives.
        bytes: that it gives on each device.
        times: in a step.
    """

    kind: str
    shapes: tuple[tuple[int, ...], ...]
    bytes: int
    times: int


def collectives(text: str) -> list[Collective]:
    """The collectives of a program, given `compiled.as_text()`."""
    computations, entry = _computations(text)

    @cache
    def found(name: str) -> Counter[tuple[str, str]]:
        total: Counter[tuple[str, str]] = Counter()
        for line in computations[name]:
            if match := COLLECTIVE.search(line):
                total[match["kind"], match["arrays"]] += 1
            trips = TIMES.search(line)
            for how, names in CALLED.findall(line):
                times = int(trips[1]) if trips and how in ("body", "condition") else 1
                for one in names.split(", "):
                    inner = found(one.removeprefix("%"))
                    total.update({key: times * count for key, count in inner.items()})
        return total

    return [_collective(*key, times) for key, times in found(entry).items()]


def bytes_by_kind(text: str) -> dict[str, int]:
    """Bytes that the collectives of each kind give on a device in one step."""
    total: Counter[str] = Counter()
    for one in collectives(text):
        total[one.kind] += one.bytes * one.times
    return dict(total)


def sent(given: dict[str, int], devices: int) -> float:
    """Bytes that each of so many devices sends in a ring, of what `bytes_by_kind` says.

    Of an array of B bytes an all-reduce sends 2 (n - 1) / n B, an all-gather or a reduce-scatter
    (n - 1) / n B, where B is the whole array: what a reduce-scatter gives is a part of it.
    """
    share = (devices - 1) / devices
    weights = {"all-reduce": 2 * share, "reduce-scatter": devices - 1.0}
    return sum(weights.get(kind, share) * size for kind, size in given.items())


def _computations(text: str) -> tuple[dict[str, list[str]], str]:
    """The lines of each computation, and the name of the first to run."""
    found: dict[str, list[str]] = {}
    lines, entry = [], ""
    for line in text.splitlines():
        if match := HEAD.match(line):
            lines = found.setdefault(match["name"], [])
            entry = match["name"] if match["entry"] else entry
        else:
            lines.append(line)
    return found, entry


def _collective(kind: str, arrays: str, times: int) -> Collective:
    shapes, size = [], 0
    for name, numbers in ARRAY.findall(re.sub(r"/\*.*?\*/", "", arrays)):
        shape = tuple(int(n) for n in numbers.split(",") if n)
        shapes.append(shape)
        size += SIZES[name] * math.prod(shape)
    return Collective(kind, tuple(shapes), size, times)
