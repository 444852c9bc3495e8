"""What is compared: peers that train the same problem, each in its own way."""

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from benchmarks.problems import Problem


class Training(Protocol):
    """A peer at work on a problem; compiled at its first call."""

    def train(self, epochs: int) -> tuple[float, float]:
        """Trains on: `(seconds of the steps alone, mean loss of the last epoch)`."""
        ...


@dataclass(frozen=True)
class Peer:
    """A way of training, the packages that it needs, and the problems that it can do."""

    name: str
    make: Callable[[Problem], Training]
    packages: tuple[str, ...] = ()

    def missing(self) -> list[str]:
        """The packages that are not installed."""
        return [name for name in self.packages if importlib.util.find_spec(name) is None]


def loops() -> list[Peer]:
    """The peers of the small networks; the first is ours, the second the limit."""
    from benchmarks import by_hand, in_keras, in_lightning, in_torch, ours

    return [
        Peer("étude", ours.Ours),
        Peer(LIMIT, by_hand.Scan),
        Peer(ARITHMETIC, by_hand.InOrder),
        Peer("étude, the engine alone", ours.Engine),
        Peer("by hand, jit per step", by_hand.Steps),
        *[
            Peer(f"Keras on JAX, {n} steps per execution", in_keras.maker(n), ("keras",))
            for n in (1, 39, 156)
        ],
        Peer("Lightning, defaults and a logged loss", in_lightning.Defaults, ("lightning",)),
        Peer("Lightning, everything off", in_lightning.Bare, ("lightning",)),
        Peer("torch, DataLoader", in_torch.Loader, ("torch",)),
        Peer("torch, tensor indexing", in_torch.Indexing, ("torch",)),
    ]


def convolutions() -> list[Peer]:
    """The peers of the convolutional network."""
    from benchmarks import by_hand, ours

    return [
        Peer("étude", ours.Ours),
        Peer("by hand, jit per step", by_hand.Steps),
        Peer("étude, the engine alone", ours.Engine),
    ]


LIMIT = "by hand, scan of an epoch"

#: The limit without its shuffle.
ARITHMETIC = "by hand, scan of batches in order"
