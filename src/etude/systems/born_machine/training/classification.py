"""`ClassificationTrainer`: p(c|x) by gradients, before a game with a critic or within it."""

from typing import Any, final

import etude as et
from etude.systems.born_machine.config import Config
from etude.systems.born_machine.data import DataHandler
from etude.systems.born_machine.machine import BornMachine
from etude.systems.born_machine.training.result import BornResult, trained
from etude.systems.born_machine.training.stages import (
    Goal,
    Stage,
    check_fit,
    classification,
    stage_of,
)
from etude.systems.born_machine.training.watching import composed


@final
class ClassificationTrainer:
    """Trains a Born machine as a classifier.

    Args:
        bornmachine: the machine to start from; it stays as it is.
        cfg: the whole configuration.
        stage: "pre" goes by `cfg.trainer.classification`, "re" by `cfg.trainer.ganstyle.retrain`;
            the name of the phase.
        datahandler: the data, in the domain of the machine's embedding.
        options: options of `etude.Trainer`, such as `run`, `seed`, `callbacks` and `progress`.

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
    >>> trained = trainer.train(goal={"acc": 0.9})
    >>> trained.best["acc"] >= 0.9, trained.result.reason.name
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
            raise et.ConfigurationError(
                f"ClassificationTrainer: stage {stage!r}; expected 'pre' (goes by "
                "cfg.trainer.classification) or 're' (by cfg.trainer.ganstyle.retrain)."
            )
        check_fit(bornmachine, datahandler)
        self.bornmachine, self.cfg, self.datahandler = bornmachine, cfg, datahandler
        self.stage, self.options = stage, options

    def phases(self, goal: Goal | None = None) -> list[et.Phase]:
        """The phase of classification."""
        return [classification(self._stage(), goal)]

    def trainer(self, goal: Goal | None = None) -> et.Trainer:
        """The `etude.Trainer` of the phases, to be run, resumed or loaded from."""
        return composed(self.bornmachine, self.phases(goal), [self._stage()], self.options)

    def train(self, goal: Goal | None = None) -> BornResult:
        """Trains, keeps the best machine and measures it; nothing of the trainer changes.

        Args:
            goal: metrics that end the training once all are reached, such as `{"acc": 0.95}`.

        Raises:
            ConfigurationError: a goal that is not measured; and what `Trainer.fit` raises.
        """
        return trained(self.bornmachine, self.phases(goal), [self._stage()], self.options)

    def _stage(self) -> Stage:
        parts = self.cfg.trainer
        config = parts.classification if self.stage == "pre" else parts.ganstyle.retrain
        return stage_of(self.stage, config, self.cfg, self.datahandler)
