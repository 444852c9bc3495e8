"""`GenerativeTrainer`: p(x|c) or p(x,c) by their exact likelihood, or a criterion of one's own."""

from typing import Any

from etude.engine.phase import Phase
from etude.systems.born_machine.config import Config
from etude.systems.born_machine.criteria import AbstractCriterion, criterion_of
from etude.systems.born_machine.data import DataHandler
from etude.systems.born_machine.machine import BornMachine
from etude.systems.born_machine.training.trainer import (
    AbstractBornTrainer,
    Metrics,
    phase_of,
)


class GenerativeTrainer(AbstractBornTrainer):
    """Trains a Born machine as a generator, by `cfg.trainer.generative`.

    Args:
        bornmachine: the machine.
        cfg: the whole configuration.
        datahandler: the data.
        criterion: what is minimised; that of the configuration by default.
        options: of `etude.Trainer`.

    Raises:
        ConfigurationError: data that do not fit the machine.

    >>> import jax
    >>> from etude.systems.born_machine import BornMachine, Config, DataHandler, Embedding, JointNLL
    >>> cfg = Config(dataset={"name": "moons_small"}, trainer={"generative": {
    ...     "max_epoch": 5, "optimizer": {"kwargs": {"lr": 0.02}}, "metrics": {"loss": 1}}})
    >>> data = DataHandler(cfg.dataset, (-1.0, 1.0), batch_size=16)
    >>> machine = BornMachine.create(jax.random.key(0), 2, 2, Embedding("legendre", 6), 4)
    >>> trainer = GenerativeTrainer(machine, cfg, data, criterion=JointNLL(), progress=False)
    >>> history = trainer.train().history
    >>> losses = [record["valid/loss"] for record in history if "valid/loss" in record]
    >>> losses[-1] < losses[0]
    True
    """

    def __init__(
        self,
        bornmachine: BornMachine,
        cfg: Config,
        datahandler: DataHandler,
        criterion: AbstractCriterion | None = None,
        **options: Any,
    ):
        config = cfg.trainer.generative
        super().__init__(
            bornmachine, cfg, datahandler, config, "gen", criterion=criterion, **options
        )
        self.criterion = criterion or criterion_of(config.criterion)

    def main_phases(self, goal: Metrics | None) -> list[Phase]:
        data = self.datahandler.batches("train", self.train_cfg.batch_size)
        return [phase_of(self.criterion, self.train_cfg, self.stage, data, self.evaluator, goal)]
