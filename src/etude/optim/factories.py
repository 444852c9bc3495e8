"""Optimizers and schedules from plain arguments, for those who come from torch.

Each is one line over `OptimizerConfig` or `SchedulerConfig`. A "scheduler" here is a pure function
from the update count to the learning rate: nothing to step, nothing to save. Lengths are optimizer
updates, where the originals count epochs.

>>> optimizer = create_adamw_optimizer(create_cosine_scheduler(1e-3, total_steps=1000))
"""

from typing import Any, cast

import optax

from etude.engine.direction import Mode
from etude.inputs import check_count, check_real

from .optimizer import OptimizerConfig, Rate
from .scheduler import SchedulerConfig

_ALIASES = {"warmup_cosine": "cosine", "warmup_linear": "linear"}


def create_optimizer(
    optimizer_type: str = "adamw",
    learning_rate: float | Rate = 1e-3,
    mask: Any = None,
    **settings: Any,
) -> optax.GradientTransformationExtraArgs:
    """Build an optimizer by name; `settings` are fields of `OptimizerConfig`.

    Raises:
        ValueError: unknown or contradictory settings.

    >>> optimizer = create_optimizer("lion", 1e-4, weight_decay=0.1)
    """
    # A configuration names a peak rate; under a schedule, which has its own, it is not used.
    schedule, rate = (learning_rate, 1.0) if callable(learning_rate) else (None, learning_rate)
    fields = {"optimizer_type": optimizer_type, "learning_rate": rate, **settings}
    return OptimizerConfig.model_validate(fields).build(schedule, mask)


def create_adamw_optimizer(
    learning_rate: float | Rate = 1e-3,
    weight_decay: float = 1e-4,
    betas: tuple[float, float] = (0.9, 0.999),
    mask: Any = None,
) -> optax.GradientTransformationExtraArgs:
    """AdamW (Loshchilov and Hutter 2019).

    >>> optimizer = create_adamw_optimizer(3e-4, weight_decay=0.01)
    """
    beta1, beta2 = betas
    return create_optimizer(
        "adamw", learning_rate, mask, weight_decay=weight_decay, beta1=beta1, beta2=beta2
    )


def create_sgd_optimizer(
    learning_rate: float | Rate = 1e-2,
    momentum: float = 0.9,
    weight_decay: float = 1e-4,
    nesterov: bool = True,
    mask: Any = None,
) -> optax.GradientTransformationExtraArgs:
    """Stochastic gradient descent with momentum; the weight decay is decoupled, unlike torch's.

    >>> optimizer = create_sgd_optimizer(0.1)
    """
    return create_optimizer(
        "sgd", learning_rate, mask,
        momentum=momentum, weight_decay=weight_decay, nesterov=nesterov,
    )  # fmt: skip


def create_rmsprop_optimizer(
    learning_rate: float | Rate = 1e-3,
    weight_decay: float = 1e-5,
    alpha: float = 0.99,
    mask: Any = None,
) -> optax.GradientTransformationExtraArgs:
    """RMSprop (Tieleman and Hinton 2012); `alpha` is the decay of the squared gradient.

    >>> optimizer = create_rmsprop_optimizer(1e-3)
    """
    return create_optimizer("rmsprop", learning_rate, mask, weight_decay=weight_decay, beta2=alpha)


def create_scheduler(
    scheduler_type: str = "step",
    learning_rate: float = 1e-3,
    total_steps: int | None = None,
    **settings: Any,
) -> Rate:
    """Build a schedule by name; `settings` are fields of `SchedulerConfig`.

    Raises:
        ValueError: unknown or contradictory settings.

    >>> float(create_scheduler("linear", 1.0, total_steps=4)(2))
    0.5
    """
    scheduler_type = _ALIASES.get(scheduler_type, scheduler_type)
    config = SchedulerConfig.model_validate({"scheduler_type": scheduler_type, **settings})
    return config.build(learning_rate, total_steps)


def get_scheduler(*arguments: Any, **settings: Any) -> Rate:
    """`create_scheduler` that takes the name and the rate in either order.

    Raises:
        ValueError: two names, two rates, and what `create_scheduler` refuses.

    >>> float(get_scheduler("linear", 1.0, 4)(2)), float(get_scheduler(1.0, "linear", 4)(2))
    (0.5, 0.5)
    """
    names = [isinstance(argument, str) for argument in arguments[:2]]
    if len(names) == 2 and names[0] == names[1]:
        raise ValueError(
            "get_scheduler needs the name of a schedule and a learning rate, in either order; got "
            f"{arguments[0]!r} and {arguments[1]!r}."
        )
    if names == [False, True]:
        arguments = arguments[1], arguments[0], *arguments[2:]
    elif names == [False]:
        if "learning_rate" in settings:
            raise ValueError(
                f"get_scheduler got two learning rates, {arguments[0]!r} and "
                f"learning_rate={settings['learning_rate']!r}: keep one."
            )
        settings = {"learning_rate": arguments[0], **settings}
        arguments = ()
    return create_scheduler(*arguments, **settings)


def _schedule(*arguments: Any, **settings: Any) -> optax.Schedule:
    return cast(optax.Schedule, create_scheduler(*arguments, **settings))


def create_cosine_scheduler(
    learning_rate: float, total_steps: int, eta_min: float = 1e-6
) -> optax.Schedule:
    """Cosine from `learning_rate` to `eta_min`, where it stays.

    >>> round(float(create_cosine_scheduler(1.0, 10, eta_min=0.0)(5)), 4)
    0.5
    """
    return _schedule("cosine", learning_rate, total_steps, min_lr=eta_min)


def create_cosine_warmrestarts_scheduler(
    learning_rate: float, T_0: int, T_mult: int = 2, eta_min: float = 1e-6
) -> optax.Schedule:
    """Cosine with warm restarts; the first cycle lasts `T_0` updates, and it cycles for ever.

    >>> schedule = create_cosine_warmrestarts_scheduler(1.0, T_0=4)
    >>> float(schedule(4)) == float(schedule(0))
    True
    """
    return _schedule(
        "cosine_restarts", learning_rate, cycle_length=T_0, cycle_mult=T_mult, min_lr=eta_min
    )


def create_onecycle_scheduler(
    max_lr: float, total_steps: int, pct_start: float = 0.3
) -> optax.Schedule:
    """One cycle: up from `max_lr / 25`, down to `max_lr / 250000`.

    >>> round(float(create_onecycle_scheduler(1.0, 100)(0)), 3)
    0.04
    """
    return _schedule("onecycle", max_lr, total_steps, pct_start=pct_start)


def create_step_scheduler(
    learning_rate: float, step_size: int, gamma: float = 0.1
) -> optax.Schedule:
    """Drop by `gamma` every `step_size` updates.

    >>> round(float(create_step_scheduler(1.0, 10)(10)), 3)
    0.1
    """
    return _schedule("step", learning_rate, step_size=step_size, gamma=gamma)


def create_exponential_scheduler(
    learning_rate: float, gamma: float = 0.95, decay_steps: int = 1
) -> optax.Schedule:
    """Shrink by `gamma` per `decay_steps` updates, smoothly.

    >>> round(float(create_exponential_scheduler(1.0, 0.5)(2)), 3)
    0.25
    """
    return _schedule("exponential", learning_rate, decay_rate=gamma, decay_steps=decay_steps)


def create_plateau_scheduler(
    learning_rate: float,
    mode: Mode = "min",
    factor: float = 0.1,
    patience: int = 10,
) -> optax.schedules.StatefulSchedule:
    """Reduce on plateau; each update is told the watched value as `value=`.

    A `Learner` tells its loss, for which the default `mode="min"` is right. For a metric that
    should rise, say both: `Learner(..., watch="accuracy")` and `mode="max"`.

    >>> optimizer = create_sgd_optimizer(create_plateau_scheduler(0.1))
    """
    schedule = create_scheduler(
        "plateau", learning_rate, mode=mode, factor=factor, patience=patience
    )
    return cast(optax.schedules.StatefulSchedule, schedule)


def create_polynomial_scheduler(
    learning_rate: float, total_steps: int, power: float = 2.0, min_lr: float = 1e-7
) -> optax.Schedule:
    """Decay as a power of what is left of the training.

    >>> round(float(create_polynomial_scheduler(1.0, 10)(5)), 4)
    0.25
    """
    return _schedule("polynomial", learning_rate, total_steps, power=power, min_lr=min_lr)


def create_warmup_cosine_schedule(
    learning_rate: float, warmup_steps: int, total_steps: int, min_lr: float = 1e-7
) -> optax.Schedule:
    """Linear warm-up, then a cosine to `min_lr`, where it stays.

    >>> float(create_warmup_cosine_schedule(1.0, 4, 10)(0))
    0.25
    """
    return _schedule("cosine", learning_rate, total_steps, warmup_steps=warmup_steps, min_lr=min_lr)


def create_warmup_linear_schedule(
    learning_rate: float, warmup_steps: int, total_steps: int
) -> optax.Schedule:
    """Linear warm-up, then a line to zero.

    >>> float(create_warmup_linear_schedule(1.0, 4, 12)(8))
    0.5
    """
    return _schedule("linear", learning_rate, total_steps, warmup_steps=warmup_steps)


def create_noam_schedule(
    d_model: int = 256, warmup_steps: int = 4000, scale: float = 1.0
) -> optax.Schedule:
    """The paper's absolute rate, `scale * d^-1/2 * min(t^-1/2, t * W^-3/2)` (Vaswani et al. 2017).

    It takes no learning rate: `d_model` and `warmup_steps` fix it. Raises ValueError for one of
    these that is no whole number of 1 or more, and for a scale that is not above 0.

    >>> round(float(create_noam_schedule()(3999)), 6)
    0.000988
    """
    check_count("create_noam_schedule", "d_model", d_model)
    check_count("create_noam_schedule", "warmup_steps", warmup_steps)
    check_real("create_noam_schedule", "scale", scale, above=0)
    peak = scale * (d_model * warmup_steps) ** -0.5
    return _schedule("noam", peak, warmup_steps=warmup_steps)
