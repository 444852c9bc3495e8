"""The callbacks that a configuration asks for: patience, pictures, a watch on the gradients."""

from collections.abc import Mapping, Sequence
from typing import Any, final

from jaxtyping import Array, PyTree

import etude as et
from etude.callbacks import Event, Request, StepMetrics
from etude.systems.born_machine.config import GANStyleConfig
from etude.systems.born_machine.training.stages import Stage, best_of

#: A longer gradient is told: it comes of an amplitude near zero, whose logarithm is steep.
LONG = 1e3


def callbacks_of(stages: Sequence[Stage]) -> list[et.Callback]:
    """What the configurations of stages ask for, in their order."""
    return [callback for stage in stages for callback in _of_stage(stage)]


def composed(
    model: Any, phases: Sequence[et.Phase], stages: Sequence[Stage], options: Mapping[str, Any]
) -> et.Trainer:
    """The trainer of phases, with the callbacks that their stages ask for before the user's."""
    callbacks = [*callbacks_of(stages), *options.get("callbacks", ())]
    return et.Trainer(model, phases, **{**options, "callbacks": callbacks})


def _of_stage(stage: Stage) -> list[et.Callback]:
    config, found = stage.config, list[et.Callback]()
    if not isinstance(config, GANStyleConfig):  # a game has no patience
        best = best_of(config.stop_crit)
        patience = config.patience + 1  # the seed counts the epochs that it forgives
        found.append(et.EarlyStopping(best.metric, patience, best.mode, phase=stage.name))
    if config.metrics.viz is not None:
        found.append(Pictures(stage))
    if config.watch_freq:
        found.append(GradientWatch(stage.name, config.watch_freq))
    return found


@final
class Pictures(et.Callback):
    """Draws samples beside the data every `metrics.viz` epochs, into the figures of the run."""

    def __init__(self, stage: Stage):
        self.stage = stage

    def on_epoch_end(self, event: Event) -> Request:
        evaluator = self.stage.evaluator
        if event.phase != self.stage.name or event.folder is None:
            return None
        if "viz" in evaluator.metrics.due(event.epoch):
            machine, folder = self.stage.machine_of(event.model()), event.folder / "figures"
            evaluator.picture(machine, "valid", folder, event.epoch)
        return None


@final
class GradientWatch(et.Callback):
    """Warns of very long gradients of one phase, as `et.GradientMonitor` does of all."""

    def __init__(self, phase: str, every: int):
        self.phase, self.every = phase, every
        self.monitor = et.GradientMonitor(every, alert_high=LONG, alert_low=0.0)

    def probe(self, updates: PyTree, trainable: PyTree) -> Mapping[str, Array]:
        return self.monitor.probe(updates, trainable)

    def on_steps_end(self, event: Event, metrics: StepMetrics) -> Request:
        return self.monitor.on_steps_end(event, metrics) if event.phase == self.phase else None

    def state(self) -> dict[str, Any]:
        return self.monitor.state()

    def restore(self, state: dict[str, Any]) -> None:
        self.monitor.restore(state)


@final
class BestEpoch(et.Callback):
    """The epoch of the best validation of a phase, and the last one; 0 before there is any."""

    def __init__(self, phase: str, best: et.Best):
        self.phase, self.criterion = phase, best
        self.best = self.last = 0
        self.value: float | None = None

    def on_validation_end(self, event: Event, metrics: Mapping[str, Any]) -> Request:
        if event.phase != self.phase or self.criterion.metric not in metrics:
            return None
        value, self.last = float(metrics[self.criterion.metric]), event.epoch
        # Of values that are always NaN none is the best, and the last weights are kept.
        if self.value is None or self.criterion.better(value, self.value):
            self.best = event.epoch
        if self.criterion.better(value, self.value):
            self.value = value
        return None

    def state(self) -> dict[str, Any]:
        return {"best": self.best, "last": self.last, "value": self.value}

    def restore(self, state: dict[str, Any]) -> None:
        self.best, self.last, self.value = state["best"], state["last"], state["value"]
