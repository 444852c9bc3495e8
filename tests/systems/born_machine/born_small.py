"""What the tests of the trainers share: a small problem."""

import equinox as eqx
import jax
import numpy as np

from etude.systems.born_machine import BornMachine, Config, DataHandler, Embedding

FAST = {"optimizer": {"kwargs": {"lr": 0.02}}, "batch_size": 30}


def config(**trainer) -> Config:
    """A small problem; `trainer` are parts of `cfg.trainer`."""
    tracking = {"evasion": {"method": "PGD", "strengths": (0.1,), "num_steps": 3},
                "sampling": {"num_spc": 32, "batch_spc": 16}}  # fmt: skip
    return Config(dataset={"name": "moons_small"}, trainer=trainer, tracking=tracking)


def data(cfg: Config) -> DataHandler:
    return DataHandler(cfg.dataset, (-1.0, 1.0), batch_size=30)


def machine(seed: int = 0) -> BornMachine:
    return BornMachine.create(jax.random.key(seed), 2, 2, Embedding("legendre", 5), 4)


def arrays(model) -> list[np.ndarray]:
    return [np.asarray(leaf) for leaf in jax.tree.leaves(eqx.filter(model, eqx.is_array))]


def same(a, b) -> bool:
    return all(np.array_equal(x, y) for x, y in zip(arrays(a), arrays(b), strict=True))
