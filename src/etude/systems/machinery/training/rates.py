"""Learning rates that follow a schedule, by the step or by the epoch.

>>> from etude.optim import create_step_scheduler
>>> halved = LearningRateScheduler(lambda epoch: 0.1 * 0.5**epoch)
>>> rate = halved.rate("mine", 0.1, steps_per_epoch=10, epochs=3)
>>> [round(float(rate(step)), 3) for step in (0, 9, 10, 25)]
[0.1, 0.1, 0.05, 0.025]
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

import optax

import etude as et
from etude.optim import OptimizerConfig, ReduceOnPlateau, SchedulerConfig, decay_mask

Interval: TypeAlias = Literal["epoch", "step"]


@dataclass(frozen=True)
class LearningRateScheduler:
    """A schedule, and what it counts. It goes into `lr_scheduler`, for it is part of the optimizer.

    Attributes:
        scheduler: the rate as a function of a count, as `etude.optim.create_cosine_scheduler` makes
            it, or a `SchedulerConfig`, which begins at the rate of the optimizer and ends with the
            training.
        interval: "epoch": the count is that of the epochs, and the rate stays the same within each.
            "step": that of the steps.

    Raises:
        ConfigurationError: an unknown interval, or a plateau by epochs: it counts updates, and is
            told the loss of each.
    """

    scheduler: Any
    interval: Interval = "epoch"

    def __post_init__(self):
        if self.interval not in get_args(Interval):
            raise et.ConfigurationError(
                f"LearningRateScheduler: interval is 'epoch' or 'step'; got {self.interval!r}."
            )
        plateau = isinstance(self.scheduler, ReduceOnPlateau) or (
            isinstance(self.scheduler, SchedulerConfig)
            and self.scheduler.scheduler_type == "plateau"
        )
        if plateau and self.interval == "epoch":
            raise et.ConfigurationError(
                "LearningRateScheduler: a plateau is told the loss of every step. Pass "
                "interval='step', and a patience in steps."
            )
        if not (
            callable(self.scheduler)
            or isinstance(self.scheduler, SchedulerConfig | ReduceOnPlateau)
        ):
            raise et.ConfigurationError(
                f"LearningRateScheduler: got {self.scheduler!r}; expected a function of a count, "
                "or a SchedulerConfig."
            )

    def rate(self, owner: str, peak: float, *, steps_per_epoch: int | None, epochs: int) -> Any:
        """The schedule as a function of the step.

        Raises ConfigurationError where the epochs have no known length, which is needed here.
        """
        scheduler = self.scheduler
        counts_steps = self.interval == "step"
        if steps_per_epoch is None and not (counts_steps and callable(scheduler)):
            raise et.ConfigurationError(
                f"{owner}: the data do not know the length of an epoch, which lr_scheduler needs. "
                "Give them one (StreamData(..., steps_per_epoch=...))."
            )
        if isinstance(scheduler, SchedulerConfig):
            total = epochs * (steps_per_epoch or 1) if counts_steps else epochs
            scheduler = scheduler.build(peak, total)
        if counts_steps:
            return scheduler
        return lambda step: scheduler(step // steps_per_epoch)


#: A schedule as it may be given: a bare one counts steps.
Scheduled: TypeAlias = LearningRateScheduler | SchedulerConfig | Callable[..., Any]


def optimizer_of(
    owner: str,
    optimizer: OptimizerConfig | optax.GradientTransformation | None,
    lr_scheduler: Scheduled | None,
    *,
    steps_per_epoch: int | None,
    epochs: int,
) -> Any:
    """The transformation of optax.

    Args:
        owner: who asks.
        optimizer: a configuration; a transformation, which has its rate in it; None: AdamW.
        lr_scheduler: the rate; None: that of the optimizer throughout.
        steps_per_epoch: of the data; None if not known.
        epochs: length of the phase.

    Raises:
        ConfigurationError: a schedule beside a transformation.
    """
    if not isinstance(optimizer, OptimizerConfig | None):
        if lr_scheduler is not None:
            raise et.ConfigurationError(
                f"{owner}: lr_scheduler is given, and an optimizer that was made with its rate. "
                "Pass an OptimizerConfig beside it, or make the optimizer of the schedule."
            )
        return optimizer
    config = OptimizerConfig.default() if optimizer is None else optimizer
    mask = decay_mask if config.weight_decay else None
    if lr_scheduler is None:
        return config.build(mask=mask)
    if not isinstance(lr_scheduler, LearningRateScheduler):
        lr_scheduler = LearningRateScheduler(lr_scheduler, "step")
    peak = config.learning_rate
    rate = lr_scheduler.rate(owner, peak, steps_per_epoch=steps_per_epoch, epochs=epochs)
    return config.build(rate, mask=mask)
