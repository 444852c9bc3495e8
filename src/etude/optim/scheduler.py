"""`SchedulerConfig`: a learning-rate schedule as data, built into an optax schedule.

>>> schedule = SchedulerConfig(scheduler_type="cosine", warmup_steps=2).build(0.1, total_steps=6)
>>> [round(float(schedule(step)), 4) for step in range(8)]
[0.05, 0.1, 0.1, 0.0854, 0.05, 0.0146, 0.0, 0.0]
"""

from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Literal

import jax.numpy as jnp
import optax
from pydantic import Field, model_validator

from etude.config import Config, refuse
from etude.engine.direction import Mode
from etude.inputs import check_count, check_real

from . import shapes
from .optimizer import Rate
from .plateau import ReduceOnPlateau

SchedulerName = Literal[
    "constant", "cosine", "cosine_restarts", "exponential", "linear", "multistep", "noam",
    "onecycle", "plateau", "polynomial", "step",
]  # fmt: skip
_Steps = Annotated[int, Field(ge=1)]
_Open = Annotated[float, Field(gt=0, lt=1)]


class SchedulerConfig(Config, frozen=True):
    """A learning-rate schedule; every length is a number of optimizer updates.

    Updates are counted from 0. Warm-up: update `s < W` has the first rate of the schedule times
    `(s + 1) / W`, so the first rate is above zero, and update `W - 1` has the full rate; then the
    schedule runs from its start. Only `milestones` and `total_steps` count the warm-up in. A
    decay reaches its minimum at update `total_steps` and stays there. A field at None takes the
    default that its description names, and one that the type would ignore is refused.

    >>> SchedulerConfig(scheduler_type="step", step_size=10, milestones=(3,))  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    pydantic_core._pydantic_core.ValidationError: 1 validation error for SchedulerConfig
      Value error, SchedulerConfig: step does not take milestones: leave it out \
(step takes warmup_steps, min_lr, min_lr_ratio, step_size, gamma) ...
    """

    cures: ClassVar[dict[str, str]] = {
        "warmup_epochs": "write warmup_steps, a number of updates",
        "eta_min": "write min_lr",
        "end_lr": "write min_lr",
        "T_max": "write total_steps",
        "T_0": "write cycle_length",
        "T_mult": "write cycle_mult",
        "d_model": "leave it out: learning_rate is the peak; create_noam_schedule takes d_model",
        "type": "write scheduler_type",
    }

    name: str = Field(default="", description="A label for logs and reports; free text.")
    scheduler_type: SchedulerName = Field(description="The shape of the schedule.")
    warmup_steps: int = Field(
        default=0, ge=0, description="Updates of linear warm-up; noam needs one."
    )
    min_lr: float | None = Field(
        default=None, ge=0, description="Lowest rate, absolute. Default 0."
    )
    min_lr_ratio: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="Lowest rate as a part of learning_rate, instead of min_lr.",
    )
    total_steps: _Steps | None = Field(
        default=None,
        description="Update at which the schedule ends, warm-up included. Default: the run.",
    )
    cycle_length: _Steps | None = Field(
        default=None,
        description="cosine: the same as total_steps. cosine_restarts: the first cycle.",
    )
    cycle_mult: _Steps | None = Field(
        default=None,
        description="cosine_restarts: each cycle is this many times the one before. Default 1.",
    )
    decay_rate: _Open | None = Field(
        default=None, description="exponential: factor per decay_steps updates. Default 0.95."
    )
    decay_steps: _Steps | None = Field(
        default=None, description="exponential: see there. Default 1000."
    )
    step_size: _Steps | None = Field(
        default=None, description="step: updates between drops. Default 1000."
    )
    gamma: _Open | None = Field(
        default=None, description="step, multistep: factor at each drop. Default 0.1."
    )
    milestones: tuple[_Steps, ...] | None = Field(
        default=None,
        description="multistep: updates, from the start of training, at which the rate drops.",
    )
    power: float | None = Field(
        default=None,
        gt=0,
        description="polynomial: exponent of what is left of the decay. Default 2.",
    )
    pct_start: _Open | None = Field(
        default=None, description="onecycle: part of the cycle before the peak. Default 0.3."
    )
    div_factor: float | None = Field(
        default=None, ge=1, description="onecycle: peak over first rate. Default 25."
    )
    final_div_factor: float | None = Field(
        default=None,
        ge=1,
        description="onecycle: first rate over last rate, unless min_lr. Default 1e4.",
    )
    mode: Mode | None = Field(
        default=None,
        description="plateau: whether small or large values are better. Default min, of a loss.",
    )
    factor: _Open | None = Field(
        default=None, description="plateau: factor at each drop. Default 0.1."
    )
    patience: _Steps | None = Field(
        default=None, description="plateau: looks without improvement before a drop. Default 10."
    )
    threshold: float | None = Field(
        default=None,
        gt=0,
        description="plateau: smallest improvement that counts, absolute. Default 1e-4.",
    )
    cooldown: int | None = Field(
        default=None, ge=0, description="plateau: looks after a drop that do not count. Default 0."
    )
    window: _Steps | None = Field(
        default=None, description="plateau: updates averaged into one look. Default 1."
    )

    @model_validator(mode="after")
    def _consistent(self) -> "SchedulerConfig":
        takes = ("name", "scheduler_type", "warmup_steps", *_TAKES[self.scheduler_type])
        problems = [
            f"{self.scheduler_type} does not take {name}: leave it out "
            f"({self.scheduler_type} takes {', '.join(takes[2:])})"
            for name in type(self).model_fields
            if name not in takes and getattr(self, name) is not None
        ]
        if self.min_lr is not None and self.min_lr_ratio is not None:
            problems.append("min_lr and min_lr_ratio both say the minimum: keep one")
        if self.final_div_factor is not None and (self.min_lr, self.min_lr_ratio) != (None, None):
            problems.append("final_div_factor and the minimum both say the last rate: keep one")
        if self.scheduler_type == "cosine" and self.total_steps and self.cycle_length:
            problems.append("total_steps and cycle_length say the same of a cosine: keep one")
        if self.scheduler_type == "cosine_restarts" and self.cycle_length is None:
            problems.append("cosine_restarts needs cycle_length, the length of its first cycle")
        if self.scheduler_type == "noam" and self.warmup_steps == 0:
            problems.append("noam rises over its warm-up: set warmup_steps, e.g. 4000")
        if self.scheduler_type == "multistep":
            problems += self._milestone_problems(self.milestones)
        refuse("SchedulerConfig", problems + self._length_problems(self._length(None)))
        return self

    def _milestone_problems(self, milestones: tuple[int, ...] | None) -> list[str]:
        if not milestones:
            return ["multistep needs milestones, e.g. milestones=(1000, 2000)"]
        if list(milestones) != sorted(set(milestones)):
            return [f"milestones must rise, each once; got {milestones}"]
        if milestones[0] <= self.warmup_steps:
            return [
                f"milestone {milestones[0]} does not lie behind the warm-up of "
                f"{self.warmup_steps} updates: milestones count from the start of training"
            ]
        return []

    def _length_problems(self, total: int | None) -> list[str]:
        if total is not None and total <= self.warmup_steps and "total_steps" in self._takes:
            return [
                f"warmup_steps={self.warmup_steps} leaves nothing of total_steps={total} to the "
                f"{self.scheduler_type} schedule: shorten the warm-up, or use constant"
            ]
        return []

    def _length(self, total_steps: int | None) -> int | None:
        own = self.cycle_length if self.scheduler_type == "cosine" else None
        return self.total_steps or own or total_steps

    @property
    def _takes(self) -> tuple[str, ...]:
        return _TAKES[self.scheduler_type]

    def build(self, learning_rate: float, total_steps: int | None = None) -> Rate:
        """Build the schedule.

        Args:
            learning_rate: the highest rate, that of the optimizer.
            total_steps: the updates of the run; used where the configuration names no length.

        Returns:
            A pure function from the update count to the rate. For `plateau` a stateful schedule,
            which `OptimizerConfig.build` takes as well.

        Raises:
            ValueError: the schedule needs a length and there is none, the warm-up fills it, the
                minimum lies above the learning rate, or one of both arguments is no such number.

        >>> schedule = SchedulerConfig(scheduler_type="exponential").build(1.0)
        >>> round(float(schedule(1000)), 4)
        0.95
        """
        check_real("SchedulerConfig.build", "learning_rate", learning_rate, above=0)
        if total_steps is not None:
            check_count("SchedulerConfig.build", "total_steps", total_steps)
        total = self._length(total_steps)
        problems = self._length_problems(total)
        if total is None and self.scheduler_type in _NEEDS_LENGTH:
            problems.append(
                f"{self.scheduler_type} needs to know where it ends: set total_steps here, or pass "
                "it to build"
            )
        floor = self.min_lr if self.min_lr is not None else learning_rate * (self.min_lr_ratio or 0)
        if floor > learning_rate:
            problems.append(f"min_lr={floor} lies above learning_rate={learning_rate}: lower it")
        if self.scheduler_type == "onecycle" and total is not None:
            top = (self.pct_start or 0.3) * (total - self.warmup_steps) - 1
            if not 0 < top < total - self.warmup_steps - 1:
                problems.append("onecycle is too short to rise and fall: raise total_steps")
        refuse("SchedulerConfig.build", problems)

        if self.scheduler_type == "plateau":
            settings = {name: getattr(self, name) for name in _PLATEAU if name != "mode"}
            settings = {name: value for name, value in settings.items() if value is not None}
            mode, warmup = self.mode or "min", self.warmup_steps
            return ReduceOnPlateau(learning_rate, floor, mode, warmup_steps=warmup, **settings)
        if self.scheduler_type == "noam":
            return shapes.noam(learning_rate, self.warmup_steps)
        length = None if total is None else total - self.warmup_steps
        after_warmup = _SHAPES[self.scheduler_type](self, learning_rate, floor, length)
        return shapes.with_warmup(after_warmup, self.warmup_steps)


_MINIMUM = ("min_lr", "min_lr_ratio")
_PLATEAU = ("mode", "factor", "patience", "threshold", "cooldown", "window")
_NEEDS_LENGTH = ("linear", "cosine", "polynomial", "onecycle")
_TAKES: dict[SchedulerName, tuple[str, ...]] = {
    "constant": (),
    "cosine": (*_MINIMUM, "total_steps", "cycle_length"),
    "cosine_restarts": (*_MINIMUM, "total_steps", "cycle_length", "cycle_mult"),
    "exponential": (*_MINIMUM, "decay_rate", "decay_steps"),
    "linear": (*_MINIMUM, "total_steps"),
    "multistep": (*_MINIMUM, "milestones", "gamma"),
    "noam": (),
    "onecycle": (*_MINIMUM, "total_steps", "pct_start", "div_factor", "final_div_factor"),
    "plateau": (*_MINIMUM, *_PLATEAU),
    "polynomial": (*_MINIMUM, "total_steps", "power"),
    "step": (*_MINIMUM, "step_size", "gamma"),
}


def _multistep(config: SchedulerConfig, rate: float, floor: float, _: Any) -> optax.Schedule:
    drops = {m - config.warmup_steps: config.gamma or 0.1 for m in config.milestones or ()}
    dropping = optax.piecewise_constant_schedule(rate, drops)
    return lambda step: jnp.maximum(dropping(step), floor)


def _one_cycle(config: SchedulerConfig, rate: float, floor: float, length: Any) -> optax.Schedule:
    start = rate / (config.div_factor or 25.0)
    has_minimum = (config.min_lr, config.min_lr_ratio) != (None, None)
    end = floor if has_minimum else start / (config.final_div_factor or 1e4)
    return shapes.one_cycle(rate, start, end, length, config.pct_start or 0.3)


_SHAPES: dict[str, Callable[[SchedulerConfig, float, float, Any], optax.Schedule]] = {
    "constant": lambda config, rate, floor, length: optax.constant_schedule(rate),
    "cosine": lambda config, rate, floor, length: optax.cosine_decay_schedule(
        rate, length, alpha=floor / rate
    ),
    "cosine_restarts": lambda config, rate, floor, length: shapes.cosine_restarts(
        rate, floor, config.cycle_length or 1, config.cycle_mult or 1, length
    ),
    "exponential": lambda config, rate, floor, length: optax.exponential_decay(
        rate, config.decay_steps or 1000, config.decay_rate or 0.95, end_value=floor
    ),
    "linear": lambda config, rate, floor, length: shapes.polynomial(rate, floor, 1.0, length),
    "multistep": _multistep,
    "onecycle": _one_cycle,
    "polynomial": lambda config, rate, floor, length: shapes.polynomial(
        rate, floor, config.power or 2.0, length
    ),
    "step": lambda config, rate, floor, length: optax.exponential_decay(
        rate, config.step_size or 1000, config.gamma or 0.1, staircase=True, end_value=floor
    ),
}
