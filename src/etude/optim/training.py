"""`TrainingConfig`: one training as data.

>>> config = TrainingConfig(
...     name="vae", batch_size=128, num_epochs=100,
...     optimizer={"optimizer_type": "adamw", "learning_rate": 3e-4},
...     scheduler={"scheduler_type": "cosine", "warmup_steps": 1000, "min_lr_ratio": 0.1},
... )
>>> optimizer = config.build_optimizer(total_steps=50_000)
"""

from pathlib import Path
from typing import Any, ClassVar, Literal

import optax
from pydantic import Field, model_validator

from etude.config import Config, refuse

from .optimizer import OptimizerConfig
from .scheduler import SchedulerConfig


class TrainingConfig(Config, frozen=True):
    """What a training needs to know besides its model, data and loss.

    `TrainingConfig.model_json_schema()` documents every field; `model_dump_json` and
    `model_validate_json` write and read it.

    >>> adamw = OptimizerConfig.default()
    >>> TrainingConfig(batch_size=8, num_epochs=1, optimizer=adamw, max_epochs=3)
    Traceback (most recent call last):
    pydantic_core._pydantic_core.ValidationError: 1 validation error for TrainingConfig
    max_epochs
      unknown field; did you mean 'num_epochs'? [type=unknown_field, input_value=3, input_type=int]
    """

    cures: ClassVar[dict[str, str]] = {
        "mixed_precision": "write precision='bfloat16' (or 'float16')",
        "max_grad_norm": "write gradient_clip_norm",
        "accumulate_grad_batches": "write gradient_accumulation_steps",
        "epochs": "write num_epochs",
        "device": "leave it out: JAX chooses; set JAX_PLATFORMS to overrule it",
    }

    name: str = Field(default="", description="A label for the run; free text.")
    batch_size: int = Field(ge=1, description="Samples per batch.")
    num_epochs: int = Field(ge=1, description="Passes through the training data.")
    optimizer: OptimizerConfig = Field(description="The optimizer.")
    scheduler: SchedulerConfig | None = Field(
        default=None, description="The learning-rate schedule. None: a constant rate."
    )
    gradient_clip_norm: float | None = Field(
        default=None,
        gt=0,
        description="Longest allowed global gradient norm; short for the optimizer's.",
    )
    gradient_accumulation_steps: int = Field(
        default=1,
        ge=1,
        description="Batches whose gradients are averaged into one optimizer update.",
    )
    precision: Literal["float32", "bfloat16", "float16"] = Field(
        default="float32",
        description="Dtype of the forward and backward pass; weights stay float32.",
    )
    checkpoint_dir: Path | None = Field(
        default=None, description="Where checkpoints go. None: the run's."
    )
    save_frequency: int = Field(
        default=1000, ge=1, description="Optimizer updates between checkpoints."
    )
    max_checkpoints: int = Field(
        default=5, ge=1, description="Checkpoints kept; older ones are deleted."
    )
    log_frequency: int = Field(
        default=100, ge=1, description="Optimizer updates between log entries."
    )
    use_wandb: bool = Field(default=False, description="Log to Weights & Biases.")
    wandb_project: str | None = Field(
        default=None, description="Project of Weights & Biases to log to."
    )

    @model_validator(mode="after")
    def _consistent(self) -> "TrainingConfig":
        problems = []
        if self.wandb_project is not None and not self.use_wandb:
            problems.append("wandb_project is set, but nothing is logged there: set use_wandb=True")
        norms = {self.gradient_clip_norm, self.optimizer.gradient_clip_norm} - {None}
        if len(norms) == 2:
            problems.append(
                f"gradient_clip_norm is {self.gradient_clip_norm} here and "
                f"{self.optimizer.gradient_clip_norm} in the optimizer: keep one"
            )
        refuse("TrainingConfig", problems)
        return self

    def build_optimizer(
        self, total_steps: int | None = None, mask: Any = None
    ) -> optax.GradientTransformationExtraArgs:
        """Build the optimizer with its schedule and clipping.

        Gradient accumulation belongs to the learner, not to the transformation built here.

        Args:
            total_steps: optimizer updates of the whole training, for schedules without a length.
            mask: which leaves decay, see `OptimizerConfig.build`.

        Raises:
            ValueError: the schedule cannot be built, see `SchedulerConfig.build`.

        >>> import jax.numpy as jnp
        >>> config = TrainingConfig(batch_size=8, num_epochs=1, gradient_clip_norm=1.0,
        ...                         optimizer={"optimizer_type": "sgd", "learning_rate": 1.0})
        >>> optimizer = config.build_optimizer()
        >>> updates, _ = optimizer.update(jnp.array([30.0, 40.0]), optimizer.init(jnp.zeros(2)),
        ...                               jnp.zeros(2))
        >>> [round(x, 3) for x in updates.tolist()]
        [-0.6, -0.8]
        """
        optimizer = self.optimizer
        if self.gradient_clip_norm is not None:
            changes = {"gradient_clip_norm": self.gradient_clip_norm}
            optimizer = optimizer.model_copy(update=changes)
        schedule = None
        if self.scheduler is not None:
            schedule = self.scheduler.build(optimizer.learning_rate, total_steps)
        return optimizer.build(schedule, mask)
