"""`TrainingConfig`: one training as data, and the training that it describes.

>>> import jax.numpy as jnp
>>> from etude import Gradient
>>> def loss(level, batch, context):
...     return jnp.mean((level - batch) ** 2)
>>> config = TrainingConfig(
...     batch_size=8, num_epochs=40, optimizer={"optimizer_type": "adam", "learning_rate": 0.1},
...     scheduler={"scheduler_type": "cosine", "warmup_steps": 10})
>>> phase = config.phase("fit", Gradient(loss), jnp.ones(32))
>>> result = config.trainer(jnp.zeros(()), phase, progress=False).fit()
>>> round(float(result.model), 2)
1.0
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import optax
from jaxtyping import PyTree
from pydantic import Field, model_validator

from etude.callbacks import Callback, CSVLogger, ModelCheckpoint, WandbLogger
from etude.config import Config, refuse
from etude.data import ArrayData
from etude.engine.learner import Learner
from etude.engine.phase import Epochs, Phase, Steps
from etude.engine.precision import Precision
from etude.engine.rule import Rule
from etude.engine.source import Hosted, Resident, Source
from etude.errors import ConfigurationError
from etude.optim import OptimizerConfig, SchedulerConfig
from etude.trainer import Trainer


class TrainingConfig(Config, frozen=True):
    """What a training needs to know besides its model, data and loss.

    `phase` and `trainer` build the training from it; `learner`, `build_optimizer` and `callbacks`
    build its parts, for a `Phase` or a `Trainer` written by hand. `model_dump_json` and
    `model_validate_json` write and read it, and `TrainingConfig.model_json_schema()` documents
    every field. A field that would change nothing is refused.

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
        "workdir": "write checkpoint_dir, the folder of the run",
        "device": "leave it out: JAX chooses; set JAX_PLATFORMS to overrule it",
    }

    name: str = Field(
        default="",
        description="A label for the run, in its config.yaml and on W&B; free text.",
    )
    batch_size: int = Field(ge=1, description="Samples per batch.")
    num_epochs: int = Field(ge=1, description="Passes through the training data, in each phase.")
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
    precision: Precision = Field(
        default="float32",
        description="Dtype of the forward and backward pass; weights stay as they are stored.",
    )
    checkpoint_dir: Path | None = Field(
        default=None,
        description="Folder of the run: configuration, history, checkpoints. None: none is kept.",
    )
    save_frequency: int | None = Field(
        default=None, ge=1, description="Optimizer updates between checkpoints. Default 1000."
    )
    max_checkpoints: int | None = Field(
        default=None, ge=1, description="Checkpoints kept; older ones are deleted. Default 5."
    )
    log_frequency: int | None = Field(
        default=None,
        ge=1,
        description="Optimizer updates between log entries: on W&B (default 100), or without it "
        "in metrics.csv of the run (default: no such file). The history has every update.",
    )
    use_wandb: bool = Field(default=False, description="Log to Weights & Biases.")
    wandb_project: str | None = Field(
        default=None, description="Project of Weights & Biases to log to. Default etude."
    )

    @model_validator(mode="after")
    def _consistent(self) -> "TrainingConfig":
        problems = []
        if self.wandb_project is not None and not self.use_wandb:
            problems.append("wandb_project is set, but nothing is logged there: set use_wandb=True")
        if self.checkpoint_dir is None:
            problems += [
                f"{field} is set, but no checkpoint is written: set checkpoint_dir, or leave "
                f"{field} out"
                for field in ("save_frequency", "max_checkpoints")
                if getattr(self, field) is not None
            ]
            if self.log_frequency is not None and not self.use_wandb:
                problems.append(
                    "log_frequency is set, but nothing is logged: set use_wandb=True, or "
                    "checkpoint_dir, whose metrics.csv then has the entries"
                )
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

    def learner(
        self, rule: Rule, total_steps: int | None = None, mask: Any = None, **options: Any
    ) -> Learner:
        """The learner of a rule: with the optimizer, the accumulation and the precision.

        Args:
            rule: computes the updates, as `Gradient(loss)` does.
            total_steps: optimizer updates of the whole training, for schedules without a length.
            mask: which leaves decay, see `OptimizerConfig.build`.
            options: other fields of `etude.Learner`, such as `where` and `ema`.

        Raises:
            ConfigurationError: an option that a field of the configuration sets.
            ValueError: the schedule cannot be built, see `SchedulerConfig.build`.

        >>> from etude import Gradient
        >>> config = TrainingConfig(batch_size=8, num_epochs=1, optimizer=OptimizerConfig.default(),
        ...                         precision="bfloat16")
        >>> config.learner(Gradient(lambda model, batch, context: 0.0)).precision
        'bfloat16'
        """
        _refuse_twice("learner", options, _LEARNER)
        return Learner(
            rule,
            self.build_optimizer(total_steps, mask),
            accumulate=self.gradient_accumulation_steps,
            precision=self.precision,
            **options,
        )

    def phase(
        self,
        name: str,
        rule: Rule,
        data: PyTree | Callable[[int], Source],
        *,
        where: Callable[[Any], Any] | None = None,
        mask: Any = None,
        **options: Any,
    ) -> Phase:
        """A phase that trains a rule for `num_epochs` on batches of `batch_size`.

        Args:
            name: unique within a run; part of the randomness of the phase.
            rule: computes the updates, as `Gradient(loss)` does.
            data: arrays whose first axis counts samples; or a function from the samples of a step
                to a source, `lambda size: AccessData(files, size)`. A step takes the samples of
                `gradient_accumulation_steps` batches.
            where: the part of the model that learns, `lambda model: model.encoder`; all, if None.
            mask: which leaves decay, see `OptimizerConfig.build`.
            options: other fields of `etude.Phase`, such as `validation` and `keep`.

        Raises:
            ConfigurationError: an option that a field of the configuration sets, or data that are
                a source, which has a batch size of its own.
            ValueError: the schedule cannot be built, see `SchedulerConfig.build`.

        >>> import jax.numpy as jnp
        >>> from etude import Gradient
        >>> config = TrainingConfig(batch_size=8, num_epochs=5, optimizer=OptimizerConfig.default())
        >>> phase = config.phase("fit", Gradient(lambda w, batch, context: w ** 2), jnp.ones(32))
        >>> phase.length, phase.total_steps
        (Epochs(count=5), 20)
        """
        _refuse_twice("phase", options, _PHASE)
        source, length = self._source(data), Epochs(self.num_epochs)
        per_epoch = source.steps_per_epoch
        total_steps = None if per_epoch is None else per_epoch * length.count
        learner = self.learner(rule, total_steps, mask, where=where)
        return Phase(name, learner, source, length, **options)

    def _source(self, data: Any) -> Source:
        if isinstance(data, Resident | Hosted):
            raise ConfigurationError(
                f"TrainingConfig.phase: data is a source, {type(data).__name__}, with a batch size "
                f"of its own beside batch_size={self.batch_size}. Pass its arrays, or a function "
                "of the batch size: lambda size: AccessData(dataset, size)."
            )
        size = self.batch_size * self.gradient_accumulation_steps
        if not callable(data):
            return ArrayData(data, size)
        source = data(size)
        if not isinstance(source, Resident | Hosted):
            raise ConfigurationError(
                "TrainingConfig.phase: a function of the batch size must return a source; got "
                f"{source!r}. Return it: lambda size: AccessData(dataset, size)."
            )
        return source

    def callbacks(self) -> list[Callback]:
        """The callbacks that save and log as the configuration says.

        >>> config = TrainingConfig(batch_size=8, num_epochs=1, optimizer=OptimizerConfig.default(),
        ...                         checkpoint_dir="runs/vae", save_frequency=500, use_wandb=True)
        >>> [type(callback).__name__ for callback in config.callbacks()]
        ['ModelCheckpoint', 'WandbLogger']
        """
        found: list[Callback] = []
        if self.checkpoint_dir is not None:
            every, kept = Steps(self.save_frequency or 1000), self.max_checkpoints or 5
            found.append(ModelCheckpoint(every, keep_last=kept))
        if self.use_wandb:
            project, every = self.wandb_project or "etude", self.log_frequency or 100
            found.append(WandbLogger(project, self.name or None, every=every))
        elif self.log_frequency is not None:
            found.append(CSVLogger(every=self.log_frequency))
        return found

    def trainer(
        self,
        model: PyTree,
        phases: Phase | Sequence[Phase],
        *,
        callbacks: Sequence[Callback] = (),
        **options: Any,
    ) -> Trainer:
        """The trainer of phases, with the run folder and the callbacks of the configuration.

        `config.yaml` of the run is the configuration. `fit` trains; `resume` goes on.

        Args:
            model: any pytree with arrays in it; it stays valid and unchanged.
            phases: one or several, run in order; `phase` makes them.
            callbacks: more of them, beside those of the configuration.
            options: other arguments of `etude.Trainer`, such as `seed` and `overwrite`.

        Raises:
            ConfigurationError: an option that a field of the configuration sets, and what
                `etude.Trainer` refuses.
        """
        _refuse_twice("trainer", options, _TRAINER)
        return Trainer(
            model,
            phases,
            callbacks=[*self.callbacks(), *callbacks],
            run=self.checkpoint_dir,
            config=self.model_dump(mode="json"),
            **options,
        )


#: Arguments of what is built, and what sets them.
_LEARNER = {
    "optimizer": "the fields optimizer and scheduler",
    "accumulate": "the field gradient_accumulation_steps",
    "precision": "the field precision",
    "clip_norm": "the field gradient_clip_norm",
    "clip_value": "the field gradient_clip_value of the optimizer",
}
_PHASE = {"learners": "the rule and the field optimizer", "length": "the field num_epochs"}
_TRAINER = {"run": "the field checkpoint_dir", "config": "the configuration itself"}


def _refuse_twice(method: str, options: Mapping[str, Any], setters: Mapping[str, str]) -> None:
    twice = [f"{name} is set by {setters[name]}" for name in options if name in setters]
    if twice:
        raise ConfigurationError(
            f"TrainingConfig.{method}: {'; '.join(twice)}. Leave it out here, and change the "
            "configuration."
        )
