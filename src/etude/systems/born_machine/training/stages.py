"""Stages of a training: a configuration, who measures by it, and the phase of both."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

from jaxtyping import Array, Float

import etude as et
from etude.errors import suggest
from etude.systems.born_machine.config import (
    AdversarialConfig,
    ClassificationConfig,
    Config,
    GANStyleConfig,
    GenerativeConfig,
)
from etude.systems.born_machine.config_methods import RISES
from etude.systems.born_machine.criteria import AbstractCriterion, criterion_of
from etude.systems.born_machine.data import DataHandler
from etude.systems.born_machine.evaluator import PerformanceEvaluator
from etude.systems.born_machine.machine import BornMachine
from etude.systems.born_machine.training.measuring import MachineOf, itself, validations

#: Metrics by name, with the values to be reached.
Goal = Mapping[str, float]
#: A configuration of phases that go by epochs and batches of labelled samples.
ByEpochs = ClassificationConfig | GenerativeConfig | AdversarialConfig


@final
@dataclass(frozen=True, eq=False)
class Stage:
    """A phase as its configuration describes it.

    Attributes:
        name: name of the phase.
        config: the part of the whole configuration that it goes by.
        evaluator: measures what `config.metrics` lists, on the data of the training.
        machine_of: takes what is trained to the Born machine in it.
    """

    name: str
    config: ByEpochs | GANStyleConfig
    evaluator: PerformanceEvaluator
    machine_of: MachineOf = itself


def stage_of(
    name: str,
    config: ByEpochs | GANStyleConfig,
    cfg: Config,
    datahandler: DataHandler,
    *,
    machine_of: MachineOf = itself,
    criterion: AbstractCriterion | None = None,
) -> Stage:
    """A stage with its evaluator, which reports `criterion`, if there is one, as "loss"."""
    evaluator = PerformanceEvaluator(cfg, datahandler, config, criterion=criterion)
    return Stage(name, config, evaluator, machine_of)


def pre_stage(cfg: Config, datahandler: DataHandler, machine_of: MachineOf = itself) -> Stage:
    """Classification before another training, by `cfg.trainer.classification`."""
    return stage_of("pre", cfg.trainer.classification, cfg, datahandler, machine_of=machine_of)


def classification(stage: Stage, goal: Goal | None = None) -> et.Phase:
    """A phase that trains p(c|x) by the criterion of its configuration."""
    assert isinstance(stage.config, ByEpochs)
    loss = within(criterion_of(stage.config.criterion), stage.machine_of)
    return phase_of(stage, loss, goal)


def phase_of(stage: Stage, loss: Any, goal: Goal | None = None) -> et.Phase:
    """A phase that trains the machine by a loss and keeps the best of its validations."""
    config = stage.config
    assert isinstance(config, ByEpochs)
    data = stage.evaluator.data.batches("train", config.batch_size)
    optimizer = config.optimizer.build(config.max_epoch * data.steps_per_epoch)
    return et.Phase(
        stage.name,
        et.Learner(et.Gradient(loss), optimizer, where=stage.machine_of),
        data,
        et.Epochs(config.max_epoch),
        validation=validations(stage.evaluator, stage.machine_of),
        goal=goal_of(goal, stage.evaluator),
        keep=best_of(config.stop_crit),
    )


def within(criterion: AbstractCriterion, machine_of: MachineOf) -> Any:
    """The criterion as a loss of a model that the machine is a part of."""

    def loss(model: Any, batch: tuple[Array, Array], context: et.Context) -> Float[Array, ""]:
        return criterion(machine_of(model), batch, context)

    return loss


def best_of(stop_crit: str) -> et.Best:
    """Keeps the weights of the best validation.

    >>> best_of("acc")
    Best(metric='valid/acc', mode='max')
    """
    return et.Best(f"valid/{stop_crit}", "max" if RISES[stop_crit] else "min")


def goal_of(goal: Goal | None, evaluator: PerformanceEvaluator) -> list[et.AtLeast | et.AtMost]:
    """A goal in the words of the engine, all its keys; the evaluator knows their directions.

    Raises:
        ConfigurationError: a metric that the evaluator does not measure.
    """
    names = [name for name in evaluator.metrics.names if name != "viz"]
    found: list[et.AtLeast | et.AtMost] = []
    for name, value in (goal or {}).items():
        kind = name.partition("/")[0]
        if kind not in names:
            raise et.ConfigurationError(
                f"goal: {name!r} is not measured. {suggest(name, names)} Metrics are chosen by "
                "`metrics` of the trainer's configuration."
            )
        reached = et.AtLeast if RISES[kind] else et.AtMost
        found.append(reached(f"valid/{name}", float(value)))
    return found


def check_fit(bornmachine: BornMachine, datahandler: DataHandler) -> None:
    """Refuses data that the machine cannot take. Raises `ConfigurationError`."""
    embedding = bornmachine.embedding
    wanted = {"sites": datahandler.sites, "classes": datahandler.classes}
    got = {"sites": bornmachine.sites, "classes": bornmachine.classes}
    for name, value in wanted.items():
        if got[name] != value:
            raise et.ConfigurationError(
                f"The Born machine has {got[name]} {name}, the data {datahandler.config.name!r} "
                f"have {value}: "
                f"BornMachine.create(key, {datahandler.sites}, {datahandler.classes}, ...)"
            )
    if tuple(datahandler.domain) != (embedding.low, embedding.high):
        raise et.ConfigurationError(
            f"The data are scaled to {tuple(datahandler.domain)}, the embedding "
            f"{embedding.name!r} takes {(embedding.low, embedding.high)}: "
            "DataHandler(config, (embedding.low, embedding.high))."
        )
