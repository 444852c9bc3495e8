"""The convolutional network of `benchmarks.machinery`, in étude, in torch, and in Lightning.

Four blocks of convolution (7 taps, stride 2), batch normalisation and rectifier, a mean over time,
eleven classes; AdamW and the cross-entropy. Their times are those of the processor, so that other
work on the machine does not count: ours has threads, which wait for each other where it is busy.
"""

import tempfile
import time
from dataclasses import replace
from itertools import count, pairwise
from pathlib import Path
from typing import Any

import jax
import numpy as np

from benchmarks import in_lightning, in_torch
from benchmarks.ours import Clock
from benchmarks.peers import Peer
from benchmarks.problems import Problem

CHANNELS, TAPS, CLASSES, RATE = (32, 64, 128, 256), 7, 11, 1e-3


def peers() -> list[Peer]:
    """What is compared; ours is the first."""
    return [
        Peer("étude, CNNTrainer", Ours),
        Peer("torch, DataLoader", Torch, ("torch",)),
        Peer("Lightning, defaults and a logged loss", Lightning, ("lightning",)),
        Peer("Lightning, everything off", Bare, ("lightning",)),
    ]


class Ours:
    """`CNNTrainer` with progress, history and checkpoints; as `benchmarks.ours.Ours`."""

    def __init__(self, problem: Problem):
        from etude.systems.machinery import CNN1D

        self.problem, self.seeds = problem, count()
        self.network = CNN1D(
            CLASSES,
            CHANNELS,
            kernels=TAPS,
            strides=2,
            hidden=(),
            dropout=0.0,
            key=jax.random.key(0),
        )

    def train(self, epochs: int) -> tuple[float, float]:
        from etude.optim import OptimizerConfig
        from etude.systems.machinery import CNNTrainer

        clock, problem = Clock(time.process_time), self.problem
        with tempfile.TemporaryDirectory() as folder:
            trainer = CNNTrainer(
                self.network,
                (problem.x, problem.y),
                None,
                OptimizerConfig(optimizer_type="adamw", learning_rate=RATE, weight_decay=1e-2),
                batch_size=problem.batch,
                max_grad_norm=None,
                callbacks=[clock],
                run=Path(folder) / "run",
                seed=next(self.seeds),
            )
            self.network = trainer.train(epochs).model
        seconds = (clock.end - clock.begin) / (clock.last - clock.first)
        losses = np.concatenate(clock.losses)[-problem.steps :]
        return seconds * epochs * problem.steps, float(losses.mean())


class Torch(in_torch.Loader):
    """A plain loop."""

    now = staticmethod(time.process_time)

    def __init__(self, problem: Problem):
        import torch

        super().__init__(_dense(problem))
        self.network = network()
        self.adam = torch.optim.AdamW(self.network.parameters(), lr=RATE, weight_decay=1e-2)


class Lightning(in_lightning.Defaults):
    """`Trainer.fit` as it comes."""

    now = staticmethod(time.process_time)

    def __init__(self, problem: Problem):
        super().__init__(_dense(problem))
        _exchange(self.module)


class Bare(in_lightning.Bare):
    """`Trainer.fit` with everything switched off."""

    now = staticmethod(time.process_time)

    def __init__(self, problem: Problem):
        super().__init__(_dense(problem))
        _exchange(self.module)


def network() -> Any:
    """The network in torch."""
    import torch

    layers: list[Any] = []
    for inputs, outputs in pairwise((1, *CHANNELS)):
        convolution = torch.nn.Conv1d(
            inputs, outputs, TAPS, stride=2, padding=TAPS // 2, bias=False
        )
        layers += [convolution, torch.nn.BatchNorm1d(outputs), torch.nn.ReLU()]
    pool = torch.nn.AdaptiveAvgPool1d(1)
    return torch.nn.Sequential(
        *layers, pool, torch.nn.Flatten(), torch.nn.Linear(CHANNELS[-1], CLASSES)
    )


def _dense(problem: Problem) -> Problem:
    """The problem with its last layer alone, which torch can build; the network is exchanged."""
    return replace(problem, layers=problem.layers[-1:])


def _exchange(module: Any) -> None:
    """Gives a Lightning module the network, and AdamW."""
    import torch

    module.network = network()
    module.configure_optimizers = lambda: torch.optim.AdamW(
        module.network.parameters(), lr=RATE, weight_decay=1e-2
    )
