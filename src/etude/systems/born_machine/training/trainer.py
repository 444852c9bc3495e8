"""What the trainers of a Born machine share: phases from a configuration, then `etude.Trainer`."""

import abc
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxtyping import Array, Float

from etude.callbacks import Callback, EarlyStopping, GradientMonitor, Timing
from etude.data import ArrayData
from etude.engine.criteria import AtLeast, AtMost, Best, Goal
from etude.engine.direction import Mode, best
from etude.engine.learner import Learner
from etude.engine.phase import Epochs, Phase
from etude.engine.rule import Context, Gradient
from etude.errors import ConfigurationError, suggest
from etude.systems.born_machine.config import Config
from etude.systems.born_machine.config_methods import RISES
from etude.systems.born_machine.criteria import AbstractCriterion, criterion_of
from etude.systems.born_machine.data import DataHandler
from etude.systems.born_machine.evaluator import PerformanceEvaluator
from etude.systems.born_machine.machine import BornMachine
from etude.systems.born_machine.training.measuring import (
    MachineOf,
    Pictures,
    itself,
    validations,
)
from etude.trainer import Result, Trainer

Metrics = Mapping[str, float]


class AbstractBornTrainer(abc.ABC):
    """Trains a Born machine by the phases that `phases` says.

    Args:
        bornmachine: the machine; it stays as it is, the trained one is in the result.
        cfg: the whole configuration.
        datahandler: the data, in the domain of the machine's embedding.
        train_cfg: the part of `cfg` that this trainer goes by.
        stage: name of the main phase, and prefix of its metrics in loggers.
        criterion: a loss of the user's own, which is measured as "loss".
        pretrain: begin with the classification of `cfg.trainer.classification`, in the same run.
        options: of `etude.Trainer`, such as `run`, `seed`, `callbacks` and `progress`.

    Raises:
        ConfigurationError: the data do not fit the machine.

    After `train`:
        bornmachine: the trained machine, of the best validation.
        best: all metrics of that validation.
        summary: results of the splits, epochs and timings, as the loggers get them.
    """

    def __init__(
        self,
        bornmachine: BornMachine,
        cfg: Config,
        datahandler: DataHandler,
        train_cfg: Any,
        stage: str,
        *,
        criterion: AbstractCriterion | None = None,
        pretrain: bool = False,
        **options: Any,
    ):
        check_fit(bornmachine, datahandler)
        self.bornmachine, self.cfg, self.datahandler = bornmachine, cfg, datahandler
        self.train_cfg, self.stage, self.options = train_cfg, stage, options
        self.pretrain = pretrain
        self.evaluator = evaluator_of(cfg, datahandler, train_cfg, criterion, options.get("run"))
        self.best: dict[str, float] = {}
        self.summary: dict[str, float] = {}

    @abc.abstractmethod
    def main_phases(self, goal: Metrics | None) -> list[Phase]:
        """The phases of this kind of training, the one named `stage` last."""

    def phases(self, goal: Metrics | None = None) -> list[Phase]:
        """All phases, with that of classification before them if `pretrain`."""
        pre = self.cfg.trainer.classification
        before = [self.classification(pre, "pre")] if self.pretrain else []
        return [*before, *self.main_phases(goal)]

    def classification(self, config: Any, stage: str, goal: Metrics | None = None) -> Phase:
        """A phase of classification by a configuration."""
        evaluator = evaluator_of(self.cfg, self.datahandler, config)
        data = self.datahandler.batches("train", config.batch_size)
        loss = within(criterion_of(config.criterion), self.machine_of)
        return phase_of(loss, config, stage, data, evaluator, goal, self.machine_of)

    def model(self) -> Any:
        """What is trained: the machine, or something that holds it."""
        return self.bornmachine

    def machine_of(self, model: Any) -> BornMachine:
        """The machine in what is trained."""
        return model

    def callbacks(self) -> list[Callback]:
        """Those that the configuration asks for."""
        pre = [stopping(self.cfg.trainer.classification, "pre")] if self.pretrain else []
        own = callbacks_of(self.train_cfg, self.evaluator, self.stage, self.machine_of)
        return [*pre, *own]

    def trainer(self, goal: Metrics | None = None, **options: Any) -> Trainer:
        """The `etude.Trainer`, to be run, resumed or loaded from; `options` go before those given
        to the constructor."""
        given = {**self.options, **options}
        callbacks = [*self.callbacks(), *given.pop("callbacks", ())]
        return Trainer(self.model(), self.phases(goal), callbacks=callbacks, **given)

    def train(self, goal: Metrics | None = None) -> Result:
        """Trains, restores the best machine and measures it.

        Args:
            goal: metrics that end the training once all are reached, such as `{"acc": 0.95}`.

        Raises:
            ConfigurationError: a goal that is not measured; and what `Trainer.fit` raises.
        """
        timing = Timing(verbose=False)
        given = [*self.options.get("callbacks", ()), timing]
        result = self.trainer(goal, callbacks=given).fit()
        self.bornmachine = self.machine_of(result.model)
        self._summarise(result, timing)
        return result

    def _summarise(self, result: Result, timing: Timing) -> None:
        name = f"valid/{self.train_cfg.stop_crit}"
        measured = [r for r in result.history if r["phase"] == self.stage and name in r]
        if measured:
            value = best(mode_of(self.train_cfg.stop_crit), [record[name] for record in measured])
            # Of metrics that were always NaN none is the best, and the last weights were kept.
            chosen = next((r for r in measured if r[name] == value), measured[-1])
            self.best = _valid(chosen)
            self.summary[f"{self.stage}/epoch/best"] = float(chosen["epoch"] + 1)
            self.summary[f"{self.stage}/epoch/last"] = float(measured[-1]["epoch"] + 1)
        for split in ("valid", "test"):
            found = self.evaluator.evaluate(self.bornmachine, split)
            self.summary |= {
                f"{self.stage}/{split}/{key}": value
                for key, value in found.items()
                if isinstance(value, float)
            }
        self.summary |= self._times(timing, max(len(measured), 1))

    def _times(self, timing: Timing, epochs: int) -> dict[str, float]:
        return {f"{self.stage}/avg_epoch_time_s": seconds(timing, self.stage) / epochs}


def phase_of(
    loss: Any,
    config: Any,
    stage: str,
    data: ArrayData,
    evaluator: PerformanceEvaluator,
    goal: Metrics | None = None,
    machine_of: MachineOf = itself,
) -> Phase:
    """A phase that trains the machine by a loss and keeps the best of its validations."""
    return Phase(
        stage,
        Learner(
            Gradient(loss),
            config.optimizer.build(config.max_epoch * data.steps_per_epoch),
            where=machine_of,
        ),
        data,
        Epochs(config.max_epoch),
        validation=validations(evaluator, machine_of),
        goal=goal_of(goal, evaluator),
        keep=best_of(config.stop_crit),
    )


def within(criterion: AbstractCriterion, machine_of: MachineOf) -> Any:
    """The criterion as a loss of a model that the machine is a part of."""

    def loss(model: Any, batch: tuple[Array, Array], context: Context) -> Float[Array, ""]:
        return criterion(machine_of(model), batch, context)

    return loss


def evaluator_of(
    cfg: Config,
    datahandler: DataHandler,
    train_cfg: Any,
    criterion: AbstractCriterion | None = None,
    run: Any = None,
) -> PerformanceEvaluator:
    """The evaluator of a trainer; its figures go to the figures of the run."""
    folder = None if run is None else Path(run) / "figures"
    return PerformanceEvaluator(cfg, datahandler, train_cfg, criterion=criterion, folder=folder)


def callbacks_of(
    config: Any, evaluator: PerformanceEvaluator, stage: str, machine_of: MachineOf = itself
) -> list[Callback]:
    """Patience, pictures and a record of the gradients."""
    found: list[Callback] = []
    if getattr(config, "patience", None) is not None:
        found.append(stopping(config, stage))
    if config.metrics.viz is not None and evaluator.folder is not None:
        found.append(Pictures(evaluator, stage, machine_of))
    if config.watch_freq:
        found.append(GradientMonitor(config.watch_freq, alert_high=float("inf"), alert_low=0.0))
    return found


def stopping(config: Any, stage: str) -> EarlyStopping:
    """Ends a phase after more than `patience` epochs without improvement."""
    crit = config.stop_crit
    return EarlyStopping(f"valid/{crit}", config.patience + 1, mode_of(crit), phase=stage)


def mode_of(name: str) -> Mode:
    """Whether a metric of the evaluator rises or falls as the machine learns."""
    return "max" if RISES[name] else "min"


def best_of(stop_crit: str) -> Best:
    """The weights of the best validation."""
    return Best(f"valid/{stop_crit}", mode_of(stop_crit))


def goal_of(goal: Metrics | None, evaluator: PerformanceEvaluator) -> list[Goal]:
    """A goal in the words of the engine, all its keys; the evaluator knows their directions.

    Raises:
        ConfigurationError: a metric that the evaluator does not measure.
    """
    names = [name for name in evaluator.metrics.names if name != "viz"]
    found: list[Goal] = []
    for name, value in (goal or {}).items():
        kind = name.partition("/")[0]
        if kind not in names:
            raise ConfigurationError(
                f"goal: {name!r} is not measured. {suggest(name, names)} Metrics are chosen by "
                "`metrics` of the trainer's configuration."
            )
        reached = AtLeast if RISES[kind] else AtMost
        found.append(reached(f"valid/{name}", float(value)))
    return found


def check_fit(bornmachine: BornMachine, datahandler: DataHandler) -> None:
    """Refuses data that the machine cannot take. Raises `ConfigurationError`."""
    embedding = bornmachine.embedding
    wanted = {"sites": datahandler.sites, "classes": datahandler.classes}
    for name, value in wanted.items():
        got = getattr(bornmachine, name)
        if got != value:
            raise ConfigurationError(
                f"The Born machine has {got} {name}, the data {datahandler.config.name!r} have "
                f"{value}: BornMachine.create(key, {datahandler.sites}, {datahandler.classes}, ...)"
            )
    if tuple(datahandler.domain) != (embedding.low, embedding.high):
        raise ConfigurationError(
            f"The data are scaled to {tuple(datahandler.domain)}, the embedding "
            f"{embedding.name!r} takes {(embedding.low, embedding.high)}: "
            "DataHandler(config, (embedding.low, embedding.high))."
        )


def _valid(record: Mapping[str, Any]) -> dict[str, float]:
    cut = len("valid/")
    return {k[cut:]: float(v) for k, v in record.items() if k.startswith("valid/")}


def seconds(timing: Timing, *phases: str) -> float:
    """Time of the steps and validations of phases."""
    found = timing.summary()
    return sum(
        found[phase][part] for phase in phases if phase in found for part in ("step", "validation")
    )
