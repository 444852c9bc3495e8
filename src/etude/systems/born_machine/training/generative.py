"""`GenerativeTrainer`: p(x|c) or p(x,c) by their exact likelihood, or a criterion of one's own."""

from typing import Any, final

import etude as et
from etude.systems.born_machine.config import Config
from etude.systems.born_machine.criteria import AbstractCriterion, criterion_of
from etude.systems.born_machine.data import DataHandler
from etude.systems.born_machine.machine import BornMachine
from etude.systems.born_machine.training.result import BornResult, trained
from etude.systems.born_machine.training.stages import Goal, Stage, check_fit, phase_of, stage_of
from etude.systems.born_machine.training.watching import composed


@final
class GenerativeTrainer:
    """Trains a Born machine as a generator, by `cfg.trainer.generative`.

    Args:
        bornmachine: the machine to start from; it stays as it is.
        cfg: the whole configuration.
        datahandler: the data, in the domain of the machine's embedding.
        criterion: what is minimised; None: the criterion that the configuration names.
        options: options of `etude.Trainer`, such as `run`, `seed`, `callbacks` and `progress`.

    Raises:
        ConfigurationError: data that do not fit the machine.

    >>> import jax
    >>> from etude.systems.born_machine import BornMachine, Config, DataHandler, Embedding, JointNLL
    >>> cfg = Config(dataset={"name": "moons_small"}, trainer={"generative": {
    ...     "max_epoch": 5, "optimizer": {"kwargs": {"lr": 0.02}}, "metrics": {"loss": 1}}})
    >>> data = DataHandler(cfg.dataset, (-1.0, 1.0), batch_size=16)
    >>> machine = BornMachine.create(jax.random.key(0), 2, 2, Embedding("legendre", 6), 4)
    >>> trained = GenerativeTrainer(machine, cfg, data, JointNLL(), progress=False).train()
    >>> x, labels = data.splits["valid"]
    >>> trained.best["loss"] < JointNLL()(machine, (x, labels))
    Array(True, dtype=bool)
    """

    def __init__(
        self,
        bornmachine: BornMachine,
        cfg: Config,
        datahandler: DataHandler,
        criterion: AbstractCriterion | None = None,
        **options: Any,
    ):
        check_fit(bornmachine, datahandler)
        self.bornmachine, self.cfg, self.datahandler = bornmachine, cfg, datahandler
        self.criterion, self.options = criterion, options

    def phases(self, goal: Goal | None = None) -> list[et.Phase]:
        """The phase of exact likelihood."""
        criterion = self.criterion or criterion_of(self.cfg.trainer.generative.criterion)
        return [phase_of(self._stage(), criterion, goal)]

    def trainer(self, goal: Goal | None = None) -> et.Trainer:
        """The `etude.Trainer` of the phases, to be run, resumed or loaded from."""
        return composed(self.bornmachine, self.phases(goal), [self._stage()], self.options)

    def train(self, goal: Goal | None = None) -> BornResult:
        """Trains, keeps the best machine and measures it; as `ClassificationTrainer.train`."""
        return trained(self.bornmachine, self.phases(goal), [self._stage()], self.options)

    def _stage(self) -> Stage:
        config = self.cfg.trainer.generative
        return stage_of("gen", config, self.cfg, self.datahandler, criterion=self.criterion)
