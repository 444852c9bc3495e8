"""`Trainer`: the seed's stateful face on the engine."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from inspect import Parameter, signature
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import numpy as np
import optax
from jaxtyping import Array, PyTree

import etude as et
from etude.callbacks import Event
from etude.engine.leaf_roles import inference
from etude.engine.source import Source
from etude.errors import suggest
from etude.systems.generative.training import checkpoints
from etude.systems.generative.training.callbacks import (
    Logger,
    MetricsLogger,
    overridden,
)
from etude.systems.generative.training.config import TrainingConfig, refuse_unread
from etude.systems.generative.training.inner import Inner
from etude.systems.generative.training.loading import from_batch, source_of
from etude.systems.generative.training.objective import LossFn, Metrics, loss_of
from etude.systems.generative.training.settings import (
    arrays_of,
    checkpoints_of,
    optimizer_of,
    parted,
    save_interval_of,
    seed_of,
)
from etude.systems.generative.training.state import Evolving, TrainingState
from etude.systems.generative.training.telling import EveryBatch, Records, Telling


class NoSamplerError(et.ConfigurationError, NotImplementedError):
    """A model that cannot be sampled from."""


class Trainer:
    """Trains a generative model, a step or an epoch at a time, each going on where the last ended.

    What the engine trains is the whole state, and its rule is `_train_step`; so a subclass that
    overrides that method has the compiled loop, its callbacks and its checks. Random numbers are a
    pure function of the seed and the step, the order of arrays one of the seed and the epoch: a
    checkpoint that is loaded goes on to the same bits, also in the midst of an epoch, whose rest is
    then the next one.

    Args:
        model: as anywhere in Étude; it stays as it is, and `trainer.model` is the trained one.
        training_config: see `TrainingConfig`.
        optimizer: instead of that of the configuration; its `gradient_clip_norm` still holds.
        train_data_loader: a function that returns an iterator of batches, an iterable of them,
            arrays of all examples, or a source of the engine.
        val_data_loader: the same, for validation.
        workdir: folder of `metrics.jsonl`, and of the checkpoints where no other is given.
        rng: key whose bits are the seed, or an integer; None: 0.
        loss_fn: `(params, batch, rng) -> (loss, metrics)`, where `params` is the whole model, or
            `(model, batch, context)`. None: the model's own objective. Its key is split from that
            of the state.
        metrics_logger: gets metrics every `log_frequency` steps, and those of validations.
        logger: gets a line for each of these, and for each checkpoint.
        checkpoint_dir: folder of the checkpoints that are made by themselves.
        save_interval: steps between them; None: the `save_frequency` of the configuration, or 1000.
        log_callback: `(step, metrics)`, when `metrics_logger` is called.

    Attributes:
        training_config: as given.
        optimizer: the transformation of optax, its clipping included.
        loss_fn: as given.
        train_metrics: metrics of every `log_frequency`-th step and of each `train_step`.
        val_metrics: those of each validation.

    Raises:
        ConfigurationError: no loss; settings that contradict each other or would do nothing.
        DataError: a loader that cannot be read.

    >>> import jax.numpy as jnp
    >>> from etude.optim import OptimizerConfig
    >>> from etude.systems import generative
    >>> model = generative.VAE.create(jax.random.key(0), (4,), latent=2, hidden=(8,))
    >>> adam = OptimizerConfig(optimizer_type="adam", learning_rate=1e-3)
    >>> config = TrainingConfig(batch_size=4, num_epochs=2, optimizer=adam)
    >>> trainer = Trainer(model, config, train_data_loader=jnp.ones((8, 4)))
    >>> sorted(trainer.train_epoch()), trainer.global_step
    (['elbo', 'kl', 'learning_rate', 'loss', 'reconstruction'], 2)
    >>> trainer.generate_samples(3, seed=1, temperature=0.5).shape
    (3, 4)
    """

    def __init__(
        self,
        model: PyTree,
        training_config: TrainingConfig,
        optimizer: optax.GradientTransformation | None = None,
        train_data_loader: Any = None,
        val_data_loader: Any = None,
        workdir: str | Path | None = None,
        rng: Any = None,
        loss_fn: LossFn | None = None,
        metrics_logger: MetricsLogger | None = None,
        logger: Logger | None = None,
        checkpoint_dir: str | Path | None = None,
        save_interval: int | None = None,
        log_callback: Callable[[int, Metrics], Any] | None = None,
    ):
        config = self.training_config = training_config
        refuse_unread(config, optimizer)
        size = config.batch_size
        self._train = _maybe("train_data_loader", train_data_loader, size)
        self._valid = _maybe("val_data_loader", val_data_loader, size, judges=True)
        self.loss_fn, self._loss = loss_fn, loss_of(loss_fn, model)
        if self._loss is None and type(self)._train_step is Trainer._train_step:
            raise et.ConfigurationError(
                f"Trainer: a {type(model).__name__} has no objective of its own. Pass "
                "loss_fn(params, batch, rng); models of several learners, as a GAN, are trained by "
                "etude.Trainer with their phases."
            )
        steps = self.steps_per_epoch
        total = None if steps is None else steps * config.num_epochs
        self.optimizer = optimizer_of(config, optimizer, total)
        self._seed = 0 if rng is None else seed_of(rng)
        self._inner = Inner(model, self._needed, self.optimizer, total, self._seed)
        self._evolving = self._inner.begun
        self._described = checkpoints.described(model)
        #: steps after which the schedule has ended; None where it never does
        self._end = total if optimizer is None and config.bounded else None
        self._traced: Evolving | None = None
        self._learner = et.Learner(self._rule)
        self._step = jax.jit(self._proposed)
        self.epoch, self._position, self._steps = 0, 0, self.steps_per_epoch
        self._best_loss, self._last_loss = float("inf"), None
        self.train_metrics: list[Metrics] = []
        self.val_metrics: list[Metrics] = []
        self._records = Records(metrics_logger, logger, log_callback, workdir)
        self._save_interval = save_interval_of(config, save_interval)
        self._folder = checkpoints_of(config, workdir, checkpoint_dir, save_interval)
        self._moving: Event | None = None
        self._start = 0

    @property
    def model(self) -> Any:
        """The model as it is now."""
        return self._inner.model(self._now)

    @property
    def state(self) -> TrainingState:
        """Where the training stands."""
        now = self._now
        return replace(now.seen(self._best_loss), step=int(now.step))

    @property
    def global_step(self) -> int:
        """Steps done."""
        moving = self._moving
        return int(self._evolving.step) if moving is None else self._start + moving.global_step

    @property
    def steps_per_epoch(self) -> int | None:
        """Batches of the training data; None without a loader."""
        return None if self._train is None else self._train.steps_per_epoch

    def model_of(self, params: PyTree) -> Any:
        """The model with these parameters, for the losses of a subclass."""
        now = self._now if self._traced is None else self._traced
        return self._inner.model(replace(now, params=params))

    def train_step(self, batch: Any) -> Metrics:
        """One step on a batch. Its metrics, as numbers.

        Raises `NonFiniteError` for a loss that is not finite; the state stays what it was.
        """
        self._refuse_beyond(1)
        evolving, metrics = self._step(self._evolving, arrays_of(batch))
        found = {name: float(value) for name, value in metrics.items()}
        if not all(map(np.isfinite, found.values())):
            raise et.NonFiniteError(
                f"train_step: the metrics of step {self.global_step + 1} are not finite: {found}. "
                "Lower the learning rate, set gradient_clip_norm, or look at the batch."
            )
        self._refuse_still(self.global_step + 1, evolving)
        self._evolving, self._last_loss = evolving, None
        self._noted(self.global_step, found)
        if self._folder is not None and self.global_step % self._save_interval == 0:
            self.save_checkpoint()
        return found

    def validate_step(self, batch: Any) -> Metrics:
        """Metrics of the model on a batch, in inference mode; nothing moves."""
        batch = arrays_of(batch)
        size = len(jax.tree.leaves(batch)[0])
        found = self._measured(et.ArrayData(batch, size, shuffle=False))
        self._validated(found)
        return found

    def train_epoch(self) -> Metrics:
        """One pass over the training data; the mean of each metric over its batches."""
        return self._run(self._loader(), 1)

    def train(
        self,
        train_data: Any,
        num_epochs: Any,
        batch_size: int,
        val_data: Any = None,
        val_interval: int = 100,
    ) -> Metrics:
        """Trains on these data, with a validation every `val_interval` steps and after each epoch.

        Returns the mean metrics of the last epoch, and with `val_data` those of the last validation
        as `val_loss` and so on.
        """
        source = source_of("train_data", train_data, batch_size)
        valid = _maybe("val_data", val_data, batch_size, judges=True)
        found = self._run(source, num_epochs, valid, et.Steps(val_interval), progress=True)
        last = self.val_metrics[-1] if valid is not None else {}
        return found | {f"val_{name}": value for name, value in last.items()}

    def fit(self, callbacks: Sequence[Any] = ()) -> Metrics:
        """Trains for the `num_epochs` of the configuration, with a validation after each.

        Args:
            callbacks: `BaseCallback`s, and those of the engine, loggers among them.

        Returns as `train` does.
        """
        found = self._run(
            self._loader(),
            self.training_config.num_epochs,
            self._valid,
            None,
            callbacks,
            progress=True,
        )
        last = self.val_metrics[-1] if self._valid is not None else {}
        return found | {f"val_{name}": value for name, value in last.items()}

    def evaluate(self, data: Any, batch_size: int) -> Metrics:
        """Means over all examples, in inference mode; nothing moves."""
        found = self._measured(source_of("data", data, batch_size, judges=True))
        self._last_loss = found.get("loss")
        return found

    def generate_samples(self, num_samples: int, seed: int | None = None, **kwargs: Any) -> Array:
        """Examples drawn from the model, by its own `sample(key, count, **kwargs)`.

        Args:
            num_samples: how many.
            seed: of the draw; None: one that follows from the seed of the training and its step.
            kwargs: other arguments of the model's `sample`, as `temperature` and `labels`.

        Raises:
            NoSamplerError: a model without `sample`; it is a `NotImplementedError` as well.
            ConfigurationError: arguments that its `sample` does not have.
        """
        model = inference(self.model)
        sample = getattr(model, "sample", None)
        if sample is None:
            raise NoSamplerError(
                f"generate_samples: a {type(model).__name__} has no sample(key, count). Add one, "
                "or train a model that has one."
            )
        known = signature(sample).parameters
        open_ended = any(one.kind is Parameter.VAR_KEYWORD for one in known.values())
        unknown = [name for name in kwargs if name not in known and not open_ended]
        if unknown:
            raise et.ConfigurationError(
                f"generate_samples: {type(model).__name__}.sample has no "
                + "; ".join(f"{name!r}. {suggest(name, list(known)[2:])}" for name in unknown)
            )
        key = self.state.rng if seed is None else jax.random.key(seed)
        return sample(key, num_samples, **kwargs)

    def save_checkpoint(self, path: str | Path | None = None) -> None:
        """Saves all that moves, and the place in the data.

        Args:
            path: where; None: `checkpoint_<step>` in the folder of the checkpoints. It becomes a
                folder; `.pkl` at its end is left out, for nothing is pickled.

        Raises:
            CheckpointError: it cannot be written.
        """
        if self._last_loss is not None:
            self._best_loss = min(self._best_loss, self._last_loss)
        step, own = self.global_step, path is None
        folder = self._folder or Path("checkpoints")
        place = folder / f"checkpoint_{step}" if path is None else Path(path)
        meta = {
            "seed": self._seed,
            "epoch": self.epoch,
            "position": self._place,
            "steps_per_epoch": self._steps,
            "model": self._described,
            "best_loss": None if np.isinf(self._best_loss) else self._best_loss,
        }
        keep = self.training_config.max_checkpoints if own else None
        checkpoints.save(place, self._now, meta, keep)
        self._records.say(f"step {step}: checkpoint {place}")

    def load_checkpoint(self, path: str | Path) -> None:
        """Goes back, or on, to a checkpoint.

        Raises:
            CheckpointError: there is none, or it is damaged, of another model or optimizer, or of
                the midst of an epoch of other data or another batch size.
        """
        evolving, meta = checkpoints.load(Path(path), self._evolving)
        checkpoints.refuse_other(meta["model"], self._described)
        steps, here = meta["steps_per_epoch"], self.steps_per_epoch
        if meta["position"] and here is not None and here != steps:
            raise et.CheckpointError(
                f"load_checkpoint: it was saved after batch {meta['position']} of {steps} of an "
                f"epoch, and train_data_loader has {here}. Pass the same data and batch size."
            )
        self._evolving, self._steps = evolving, steps
        self._seed, self.epoch, self._position = meta["seed"], meta["epoch"], meta["position"]
        best = meta["best_loss"]
        self._best_loss, self._last_loss = float("inf") if best is None else best, None

    def _train_step(
        self, state: TrainingState, batch: Any
    ) -> tuple[TrainingState | Mapping[str, Any], Mapping[str, Any]]:
        """One step, traced: the next state and metrics. Override it, and return a new state.

        Random numbers come from `state["rng"]`, a new key at every step; what is returned as `rng`
        and `best_loss` is not used, for they follow from the step and from validations. Statistics
        and `etude.Carry` move where a loss moves them (`loss_fn`), not in a step of one's own.
        """
        return self._inner.step(state, batch)

    def _rule(
        self, trainable: PyTree, rest: PyTree, batch: Any, context: et.Context
    ) -> et.Proposal:
        evolving, metrics = self._proposed(eqx.combine(trainable, rest), batch)
        return et.Proposal(metrics=metrics, model=evolving)

    def _proposed(self, evolving: Evolving, batch: Any) -> tuple[Evolving, dict[str, Array]]:
        self._traced = evolving
        try:
            found = self._train_step(evolving.seen(), batch)
        finally:
            self._traced = None
        if not (isinstance(found, tuple) and len(found) == 2 and isinstance(found[1], Mapping)):
            raise et.RuleError(
                "_train_step(state, batch) returns (state, metrics), metrics a dictionary; got "
                f"{found!r}."
            )
        return evolving.after(found[0]), dict(found[1])

    def _run(
        self,
        source: Source,
        epochs: Any,
        valid: Source | None = None,
        every: et.Steps | None = None,
        callbacks: Sequence[Any] = (),
        *,
        progress: bool = False,
    ) -> Metrics:
        """So many passes, each a phase of one training of the engine."""
        if isinstance(epochs, bool) or not isinstance(epochs, int) or epochs < 1:
            raise et.ConfigurationError(
                f"Trainer: num_epochs is a whole number from 1; got {epochs!r}."
            )
        steps = source.steps_per_epoch
        assert steps is not None
        if self._position and steps != self._steps:
            raise et.ConfigurationError(
                f"Trainer: it stands after batch {self._position} of {self._steps} of an epoch, "
                f"and these data have {steps}. End it first with train_epoch() on its own data."
            )
        self._steps = steps
        if self._position == steps:  # saved at the last step of an epoch
            self.epoch, self._position = self.epoch + 1, 0
        self._refuse_beyond(epochs * steps - self._position)
        phases = []
        for number in range(self.epoch, self.epoch + epochs):
            position = 0 if phases else self._position
            part = from_batch(source, number, position)
            assert part.steps_per_epoch is not None
            judged = None if valid is None else self._validation(valid, every)
            # The name is a part of the seed of the order.
            name, length = f"epoch-{number}", et.Steps(part.steps_per_epoch)
            phases.append(et.Phase(name, self._learner, part, length, judged or ()))
        ours, theirs = parted(callbacks)
        config, start = self.training_config, self.global_step
        save_every = None if self._folder is None else self._save_interval
        telling = Telling(self, ours, start, config.log_frequency, save_every)
        told: list[et.Callback] = [telling]
        if any(overridden(one, hook) for one in ours for hook in _AROUND_STEPS):
            told.append(EveryBatch(self, ours, phases, self._order_of))
        shown = any(isinstance(one, et.Progress) for one in theirs)
        training = et.Trainer(
            self._evolving,
            phases,
            callbacks=[*told, *theirs, *config.loggers()],
            seed=self._seed,
            progress=progress and not shown,
        )
        self._last_loss, self._start = None, start
        ahead = start + sum(phase.length.count for phase in phases)
        try:
            evolving = training.fit().model
            self._refuse_still(ahead, evolving)
            self._evolving = evolving
        except et.Interrupted:
            self._moving = None
            if self._folder is None:
                raise et.Interrupted(
                    f"Interrupted at step {self.global_step}. The trainer stands there; "
                    "save_checkpoint() keeps it, and train_epoch() goes on."
                ) from None
            self.save_checkpoint()
            raise et.Interrupted(
                f"Interrupted at step {self.global_step}; saved in {self._folder}."
            ) from None
        finally:
            self._moving = None
        return telling.means

    def _refuse_still(self, expected: int, evolving: Evolving) -> None:
        """Raises `RuleError` for a `_train_step` that does not count its steps."""
        if int(evolving.step) != expected:
            raise et.RuleError(
                f"_train_step: the step in its state is {int(evolving.step)}, and {expected} were "
                'made. Return "step": state["step"] + 1, which random numbers go by.'
            )

    def _refuse_beyond(self, steps: int) -> None:
        """Raises `ConfigurationError` if so many steps go on where the schedule has ended."""
        until = self.global_step + steps
        if self._end is not None and until > self._end:
            raise et.ConfigurationError(
                f"Trainer: the schedule ends with num_epochs, after {self._end} steps, and its "
                f"rate would stay at the last one up to step {until}. Give the scheduler a length "
                "of its own (total_steps, or cycle_length of a cosine), or more epochs."
            )

    def _order_of(self, phase: et.Phase) -> Array:
        plan = et.Plan.of(phase, self._evolving)
        return et.init_state(plan, self._evolving, seed=self._seed).keys.order

    def _begun(self, event: Event) -> None:
        self._moving = event

    def _noted(self, step: int, metrics: Metrics) -> None:
        self.train_metrics.append(metrics)
        self._records.write("train", step, metrics)

    def _validated(self, metrics: Metrics) -> None:
        self.val_metrics.append(metrics)
        self._last_loss = metrics.get("loss")
        self._records.write("valid", self.global_step, metrics)

    def _passed(self, event: Event, *, whole: bool) -> None:
        # Nothing moves until the next epoch begins: what saves now saves the beginning of that.
        self._evolving, self._moving = event.model(), None
        self._position = 0 if whole else self._position + event.step
        self.epoch += whole

    def _validation(self, valid: Source, every: et.Steps | None) -> et.Validation:
        loss = self._needed

        def measure(evolving: Evolving, batch: Any, context: et.Context) -> Any:
            return loss(inference(self._inner.model(evolving)), batch, context)

        return (
            et.Validation(valid, measure) if every is None else et.Validation(valid, measure, every)
        )

    def _measured(self, data: Source) -> Metrics:
        return {name: float(v) for name, v in et.evaluate(self.model, data, self._needed).items()}

    def _needed(self, model: Any, batch: Any, context: et.Context) -> Any:
        if self._loss is None:
            raise et.ConfigurationError(
                f"Trainer: there is no loss to measure a {type(model).__name__} by. Pass loss_fn."
            )
        return self._loss(model, batch, context)

    def _loader(self) -> Source:
        if self._train is None:
            raise et.ConfigurationError(
                "Trainer: there is no train_data_loader. Pass one, or call "
                "train(train_data, num_epochs, batch_size)."
            )
        return self._train

    @property
    def _now(self) -> Evolving:
        """What moves, also while the engine moves it."""
        return self._evolving if self._moving is None else self._moving.model()

    @property
    def _place(self) -> int:
        """Batches of the epoch that are done."""
        return self._position + (0 if self._moving is None else self._moving.step)


_AROUND_STEPS = ("on_batch_begin", "on_batch_end")


def _maybe(name: str, data: Any, size: int, *, judges: bool = False) -> Source | None:
    return None if data is None else source_of(name, data, size, judges=judges)
