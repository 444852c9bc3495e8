"""`OptimizerConfig`: an optimizer as data, built into an optax transformation.

>>> import jax.numpy as jnp
>>> optimizer = OptimizerConfig(optimizer_type="adamw", learning_rate=3e-4).build()
>>> state = optimizer.init({"w": jnp.ones(3)})
>>> round(float(state.hyperparams["learning_rate"]), 6)
0.0003
"""

from typing import Annotated, Any, ClassVar

import jax
import jax.numpy as jnp
import optax
from pydantic import Field, model_validator

from etude.config import Config, refuse
from etude.engine.precision import widened

from .registry import CATALOGUE, OptimizerName

Rate = optax.Schedule | optax.schedules.StatefulSchedule
_Positive = Annotated[float, Field(gt=0)]
_Fraction = Annotated[float, Field(ge=0, lt=1)]


class OptimizerConfig(Config, frozen=True):
    """An optimizer and its settings.

    A field left at None takes the value that optax gives it for this optimizer, and a field that
    the optimizer would ignore is refused. Weight decay is decoupled (Loshchilov and Hutter 2019):
    each update also takes `learning_rate * weight_decay * parameter` away. `adam`, `nadam` and
    `adamax` refuse it and name their decoupled sibling. Where the paper of an optimizer says
    otherwise the paper is followed: `lamb` and `lars` decay inside the trust ratio, `muon` decays
    matrices only. Gradients are clipped by value first, then by global norm. The learning rate
    multiplies last, behind any momentum, as in torch.

    Source of the algorithms: optax, which cites the papers.

    >>> OptimizerConfig(optimizer_type="adamw", learning_rate=1e-3, weight_decay=0.01).beta1
    >>> OptimizerConfig(  # doctest: +ELLIPSIS
    ...     optimizer_type="adam", learning_rate=1e-3, weight_decay=0.01
    ... )
    Traceback (most recent call last):
    pydantic_core._pydantic_core.ValidationError: 1 validation error for OptimizerConfig
      Value error, OptimizerConfig: adam does not take weight_decay: use optimizer_type='adamw', \
which decouples the decay ...
    """

    cures: ClassVar[dict[str, str]] = {
        "lr": "write learning_rate",
        "betas": "write beta1 and beta2",
        "alpha": "write beta2, the decay of the squared gradient",
        "max_grad_norm": "write gradient_clip_norm",
        "type": "write optimizer_type",
    }

    name: str = Field(default="", description="A label for logs and reports; free text.")
    optimizer_type: OptimizerName = Field(description="The optimizer, by its name in optax.")
    learning_rate: float = Field(
        gt=0, description="The step size: of every update, or at the peak of the schedule."
    )
    weight_decay: float | None = Field(
        default=None,
        ge=0,
        description="Shrink factor: a weight loses learning_rate * this * itself.",
    )
    beta1: _Fraction | None = Field(default=None, description="Decay of the mean of the gradients.")
    beta2: _Fraction | None = Field(
        default=None,
        description="Decay of the mean of the squared gradients (`alpha` of torch's RMSprop).",
    )
    eps: _Positive | None = Field(default=None, description="Added to a denominator for stability.")
    momentum: _Fraction | None = Field(
        default=None, description="Decay of the accumulated direction."
    )
    nesterov: bool | None = Field(default=None, description="Look ahead along the momentum.")
    gradient_clip_norm: _Positive | None = Field(
        default=None,
        description="Longest allowed global norm of the gradient; longer ones are rescaled.",
    )
    gradient_clip_value: _Positive | None = Field(
        default=None,
        description="Largest allowed magnitude of each gradient element; applied first.",
    )

    @model_validator(mode="after")
    def _consistent(self) -> "OptimizerConfig":
        entry = CATALOGUE[self.optimizer_type]
        given = [name for name in (*_SETTINGS, "weight_decay") if getattr(self, name) is not None]
        takes = ", ".join(("learning_rate", *entry.fields))
        problems = [
            f"{self.optimizer_type} does not take {name}: "
            + entry.instead.get(name, f"leave it out ({self.optimizer_type} takes {takes})")
            for name in given
            if name not in entry.fields
        ]
        # Muon and LARS have a momentum of their own; SGD and RMSprop have none until told.
        if self.optimizer_type in ("sgd", "rmsprop") and self.nesterov and not self.momentum:
            problems.append("nesterov needs a momentum: set momentum=0.9, or nesterov=False")
        refuse("OptimizerConfig", problems)
        return self

    def build(
        self, schedule: Rate | None = None, mask: Any = None
    ) -> optax.GradientTransformationExtraArgs:
        """Build the optax transformation.

        Args:
            schedule: the learning rate as a function of the update count, from
                `SchedulerConfig.build` or any of optax's. None: `learning_rate` throughout.
            mask: which leaves decay: a pytree of booleans shaped like the parameters, or a
                function from parameters to it, such as `etude.optim.decay_mask`.

        Returns:
            A transformation whose state holds the rate of the latest update (before the first:
            of the first) in `state.hyperparams["learning_rate"]`.

        Raises:
            ValueError: a mask is given, but there is no weight decay to mask.

        >>> import jax.numpy as jnp
        >>> config = OptimizerConfig(optimizer_type="sgd", learning_rate=0.5)
        >>> optimizer = config.build(optax.linear_schedule(0.5, 0.0, 10))
        >>> state = optimizer.init(jnp.ones(2))
        >>> updates, state = optimizer.update(jnp.ones(2), state, jnp.ones(2))
        >>> updates.tolist(), float(state.hyperparams["learning_rate"])
        ([-0.5, -0.5], 0.5)
        """
        entry = CATALOGUE[self.optimizer_type]
        decay = entry.own_decay if self.weight_decay is None else self.weight_decay
        if mask is not None and not decay:
            raise ValueError(
                f"OptimizerConfig.build: mask says which leaves decay, but {self.optimizer_type} "
                "has no weight decay here: set weight_decay, or leave the mask out"
            )
        clips: list[optax.GradientTransformation] = []
        if self.gradient_clip_value is not None:
            clips.append(optax.clip(self.gradient_clip_value))
        if self.gradient_clip_norm is not None:
            clips.append(optax.clip_by_global_norm(self.gradient_clip_norm))
        settings = {name: getattr(self, name) for name in _SETTINGS}
        settings = {name: value for name, value in settings.items() if value is not None}
        direction = optax.chain(*clips, entry.direction(self.weight_decay, mask, settings))

        # Only the rate is injected: the other settings stay Python numbers, which adapt to the
        # dtype of each leaf.
        def factory(learning_rate: Any) -> optax.GradientTransformation:
            return optax.chain(direction, _scale(learning_rate))

        rate = self.learning_rate if schedule is None else schedule
        default_float = jnp.zeros(()).dtype
        return _tolerant(optax.inject_hyperparams(factory, hyperparam_dtype=default_float)(rate))

    @classmethod
    def default(cls) -> "OptimizerConfig":
        """AdamW with rate 1e-3 and weight decay 1e-4.

        >>> OptimizerConfig.default().optimizer_type
        'adamw'
        """
        return cls(
            name="default", optimizer_type="adamw", learning_rate=1e-3, weight_decay=1e-4,
            beta1=0.9, beta2=0.999, eps=1e-8,
        )  # fmt: skip

    @classmethod
    def fast_convergence(cls) -> "OptimizerConfig":
        """The default with a rate of 3e-3.

        >>> OptimizerConfig.fast_convergence().learning_rate
        0.003
        """
        changes = {"name": "fast_convergence", "learning_rate": 3e-3}
        return cls.default().model_copy(update=changes)

    @classmethod
    def strong_regularization(cls) -> "OptimizerConfig":
        """The default with a weight decay of 1e-3.

        >>> OptimizerConfig.strong_regularization().weight_decay
        0.001
        """
        changes = {"name": "strong_regularization", "weight_decay": 1e-3}
        return cls.default().model_copy(update=changes)

    @classmethod
    def sgd_baseline(cls) -> "OptimizerConfig":
        """SGD with Nesterov momentum 0.9, rate 1e-2 and weight decay 1e-4.

        >>> OptimizerConfig.sgd_baseline().nesterov
        True
        """
        return cls(
            name="sgd_baseline", optimizer_type="sgd", learning_rate=1e-2, momentum=0.9,
            nesterov=True, weight_decay=1e-4,
        )  # fmt: skip


_SETTINGS = ("beta1", "beta2", "eps", "momentum", "nesterov")


def _scale(learning_rate: Any) -> optax.GradientTransformation:
    """Multiply by the rate; each leaf keeps its dtype."""

    def scale(updates: Any, params: Any = None) -> Any:
        rate = jnp.asarray(learning_rate)

        def scaled(update: Any) -> Any:
            # In float32: float16 has no rate below 6e-8, and bfloat16 rounds it by up to 0.4 %.
            wide = widened(update)
            return (wide * rate.astype(wide.dtype)).astype(update.dtype)

        return jax.tree.map(scaled, updates)

    return optax.stateless(scale)


def _tolerant(
    inner: optax.GradientTransformationExtraArgs,
) -> optax.GradientTransformationExtraArgs:
    """Run optax under standard dtype promotion, and give updates back in the gradients' dtypes.

    Optax is written for standard promotion: its bias corrections, for one, raise a float to an
    integer count, which strict promotion refuses.
    """

    def init(params: Any) -> Any:
        with jax.numpy_dtype_promotion("standard"):
            return inner.init(params)

    def update(updates: Any, state: Any, params: Any = None, **extra_args: Any) -> Any:
        with jax.numpy_dtype_promotion("standard"):
            steps, state = inner.update(updates, state, params, **extra_args)
        return jax.tree.map(lambda s, u: s.astype(u.dtype), steps, updates), state

    return optax.GradientTransformationExtraArgs(init, update)
