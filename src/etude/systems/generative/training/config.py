"""The seed's configuration of a training, every field of which does something."""

from pathlib import Path
from typing import Any, final

import optax
from pydantic import Field, model_validator

import etude as et
from etude.config import Config, refuse
from etude.optim import OptimizerConfig, SchedulerConfig


@final
class TrainingConfig(Config, frozen=True):
    """One training as data, for `generative.Trainer`.

    >>> adam = OptimizerConfig(optimizer_type="adam", learning_rate=1e-3)
    >>> TrainingConfig(name="vae", batch_size=32, num_epochs=2, optimizer=adam).log_frequency
    100
    """

    name: str = Field(default="", description="A label; the name of the run on W&B.")
    batch_size: int = Field(ge=1, description="Examples per batch.")
    num_epochs: int = Field(ge=1, description="Passes over the training data in `fit`.")
    optimizer: OptimizerConfig = Field(description="The optimizer.")
    scheduler: SchedulerConfig | None = Field(
        default=None, description="The learning-rate schedule. None: a constant rate."
    )
    gradient_clip_norm: float | None = Field(
        default=None, gt=0, description="Longest gradient; short for the optimizer's."
    )
    checkpoint_dir: Path | None = Field(
        default=None, description="Folder of the checkpoints. None: that of the trainer."
    )
    save_frequency: int | None = Field(
        default=None, ge=1, description="Steps between checkpoints. Default 1000."
    )
    max_checkpoints: int = Field(
        default=5, ge=1, description="Checkpoints kept of those that are made by themselves."
    )
    log_frequency: int = Field(
        default=100, ge=1, description="Steps between records of the metrics, and on W&B."
    )
    use_wandb: bool = Field(default=False, description="Log to Weights & Biases.")
    wandb_project: str | None = Field(
        default=None, description="Project of Weights & Biases. Default etude."
    )

    @model_validator(mode="after")
    def _consistent(self) -> "TrainingConfig":
        norms = {self.gradient_clip_norm, self.optimizer.gradient_clip_norm} - {None}
        problems = [
            problem
            for problem, wrong in {
                "wandb_project is set, but nothing is logged there: set use_wandb=True": (
                    self.wandb_project is not None and not self.use_wandb
                ),
                f"gradient_clip_norm is {self.gradient_clip_norm} here and "
                f"{self.optimizer.gradient_clip_norm} in the optimizer: keep one": len(norms) == 2,
            }.items()
            if wrong
        ]
        refuse("TrainingConfig", problems)
        return self

    def build_optimizer(self, total_steps: int | None) -> optax.GradientTransformationExtraArgs:
        """The optimizer with its schedule and clipping.

        Args:
            total_steps: of the whole training, for schedules without a length.

        Raises:
            ValueError: a schedule that needs a length and has none.
        """
        clip = {"gradient_clip_norm": self.gradient_clip_norm}
        optimizer = self.optimizer
        if self.gradient_clip_norm is not None:
            optimizer = optimizer.model_copy(update=clip)
        if self.scheduler is None:
            return optimizer.build(None, None)
        return optimizer.build(self.scheduler.build(optimizer.learning_rate, total_steps), None)

    @property
    def bounded(self) -> bool:
        """Whether the schedule takes its length from `num_epochs`, and ends with it."""
        if self.scheduler is None:
            return False
        try:
            self.scheduler.build(self.optimizer.learning_rate, None)
        except ValueError:
            return True
        return False

    def loggers(self) -> list[et.Callback]:
        """What logs as the configuration says."""
        if not self.use_wandb:
            return []
        project = self.wandb_project or "etude"
        return [et.WandbLogger(project, self.name or None, every=self.log_frequency)]


def refuse_unread(config: TrainingConfig, optimizer: Any) -> None:
    """Raises `ConfigurationError` for fields that an optimizer of the user's own would hide."""
    if optimizer is not None and config.scheduler is not None:
        raise et.ConfigurationError(
            "Trainer: optimizer= is an optimizer with rates of its own, so that the scheduler of "
            "the configuration would do nothing. Leave one of them out."
        )
