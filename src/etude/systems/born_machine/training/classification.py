"""`ClassificationTrainer`: p(c|x) by gradients, before a game with a critic or within it."""

from typing import Any

from etude.engine.phase import Phase
from etude.errors import ConfigurationError
from etude.systems.born_machine.config import Config
from etude.systems.born_machine.data import DataHandler
from etude.systems.born_machine.machine import BornMachine
from etude.systems.born_machine.training.trainer import (
    AbstractBornTrainer,
    Metrics,
)


class ClassificationTrainer(AbstractBornTrainer):
    """Trains a Born machine as a classifier.

    Args:
        bornmachine: the machine.
        cfg: the whole configuration.
        stage: "pre" goes by `cfg.trainer.classification`, "re" by `cfg.trainer.ganstyle.retrain`.
        datahandler: the data.
        options: of `etude.Trainer`.

    Raises:
        ConfigurationError: an unknown stage, or data that do not fit the machine.

    >>> import jax
    >>> from etude.systems.born_machine import BornMachine, Config, DataHandler, Embedding
    >>> cfg = Config(dataset={"name": "moons_small"}, trainer={"classification": {
    ...     "max_epoch": 40, "optimizer": {"kwargs": {"lr": 0.02}},
    ...     "stop_crit": "acc", "metrics": {"loss": 1, "acc": 1}}})
    >>> data = DataHandler(cfg.dataset, (-1.0, 1.0), batch_size=16)
    >>> machine = BornMachine.create(jax.random.key(0), 2, 2, Embedding("legendre", 6), 4)
    >>> trainer = ClassificationTrainer(machine, cfg, "pre", data, progress=False)
    >>> result = trainer.train(goal={"acc": 0.9})
    >>> trainer.best["acc"] >= 0.9, result.reason.name
    (True, 'GOAL')
    """

    def __init__(
        self,
        bornmachine: BornMachine,
        cfg: Config,
        stage: str,
        datahandler: DataHandler,
        **options: Any,
    ):
        if stage not in ("pre", "re"):
            raise ConfigurationError(
                f"ClassificationTrainer: stage {stage!r}; expected 'pre' (goes by "
                "cfg.trainer.classification) or 're' (by cfg.trainer.ganstyle.retrain)."
            )
        chosen = cfg.trainer.classification if stage == "pre" else cfg.trainer.ganstyle.retrain
        super().__init__(bornmachine, cfg, datahandler, chosen, stage, **options)

    def main_phases(self, goal: Metrics | None) -> list[Phase]:
        return [self.classification(self.train_cfg, self.stage, goal)]
