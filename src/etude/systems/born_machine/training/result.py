"""What a training of a Born machine leaves, as a value."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import etude as et
from etude.systems.born_machine.machine import BornMachine
from etude.systems.born_machine.training.stages import Stage, best_of
from etude.systems.born_machine.training.watching import BestEpoch, composed


@final
@dataclass(frozen=True, eq=False)
class BornResult:
    """What a training of a Born machine leaves.

    Attributes:
        bornmachine: the trained machine, of the best validation.
        best: what the validations measure of it, `{"acc": 0.95, "loss": 0.1}`.
        summary: the same as `pre/valid/acc`, its metrics on the test split as `pre/test/acc`,
            `pre/epoch/best` and `pre/epoch/last` counted from 1, and the seconds of an epoch,
            `pre/avg_epoch_time_s`; in place of "pre" the name of the stage.
        result: the engine's own: the whole model (in a game with the critic), why the training
            ended, its history and its run.
    """

    bornmachine: BornMachine
    best: Mapping[str, float]
    summary: Mapping[str, float]
    result: et.Result


def trained(
    model: Any,
    phases: Sequence[et.Phase],
    stages: Sequence[Stage],
    options: Mapping[str, Any],
    times: Mapping[str, tuple[str, ...]] | None = None,
) -> BornResult:
    """Trains, and measures the machine that is kept.

    Args:
        model: what is trained: a machine, or a model with one in it.
        phases: the phases of the training.
        stages: what the phases are made of; the machine of the last one is kept.
        options: options of `etude.Trainer`.
        times: names of times in the summary, and the phases whose seconds each adds up, per epoch
            of the last stage; None: `avg_epoch_time_s`, the seconds of that stage.
    """
    stage, timing = stages[-1], et.Timing(verbose=False)
    epochs = BestEpoch(stage.name, best_of(stage.config.stop_crit))
    callbacks = [*options.get("callbacks", ()), timing, epochs]
    result = composed(model, phases, stages, {**options, "callbacks": callbacks}).fit()
    machine = stage.machine_of(result.model)
    best = {name.removeprefix("valid/"): float(value) for name, value in result.metrics.items()}
    figures = None if result.run is None else result.run / "figures"
    test = stage.evaluator.evaluate(machine, "test", folder=figures)
    found = {
        **{f"valid/{name}": value for name, value in best.items()},
        **{f"test/{name}": value for name, value in test.items() if isinstance(value, float)},
        "epoch/best": float(epochs.best),
        "epoch/last": float(epochs.last),
    }
    for name, timed in (times or {"avg_epoch_time_s": (stage.name,)}).items():
        found[name] = seconds(timing, *timed) / max(epochs.last, 1)
    summary = {f"{stage.name}/{name}": value for name, value in found.items()}
    return BornResult(machine, best, summary, result)


def seconds(timing: et.Timing, *phases: str) -> float:
    """Time of the steps and validations of phases."""
    found = timing.summary()
    return sum(
        found[phase][part] for phase in phases if phase in found for part in ("step", "validation")
    )
