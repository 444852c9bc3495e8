"""`Trainer`: the seed's stateful face on the engine."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
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
from etude.systems.generative.training import checkpoints
from etude.systems.generative.training.callbacks import (
    Logger,
    MetricsLogger,
    overridden,
)
from etude.systems.generative.training.config import TrainingConfig, refuse_unread
from etude.systems.generative.training.inner import Inner
from etude.systems.generative.training.loading import show, source_of
from etude.systems.generative.training.objective import LossFn, Metrics, loss_of
from etude.systems.generative.training.passes import Passes
from etude.systems.generative.training.sampling import samples_of
from etude.systems.generative.training.settings import (
    arrays_of,
    checkpoints_of,
    optimizer_of,
    parted,
    save_interval_of,
    seed_of,
)
from etude.systems.generative.training.standing import Standing
from etude.systems.generative.training.state import Evolving, TrainingState
from etude.systems.generative.training.telling import EveryBatch, Records, Telling


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
        seed = 0 if rng is None else seed_of(rng)
        self._inner = Inner(model, self._needed, self.optimizer, total, seed)
        self._standing = Standing(self._inner.begun, seed, steps)
        self._described = checkpoints.described(model)
        end = total if optimizer is None and config.bounded else None
        self._passes = Passes(self._standing, et.Learner(self._rule), self._judged, end)
        self._traced: Evolving | None = None
        self._step = jax.jit(self._proposed)
        self.train_metrics: list[Metrics] = []
        self.val_metrics: list[Metrics] = []
        self._records = Records(metrics_logger, logger, log_callback, workdir)
        self._save_interval = save_interval_of(config, save_interval)
        self._folder = checkpoints_of(config, workdir, checkpoint_dir, save_interval)

    @property
    def model(self) -> Any:
        """The model as it is now."""
        return self._inner.model(self._standing.now)

    @property
    def state(self) -> TrainingState:
        """Where the training stands."""
        now = self._standing.now
        return replace(now.seen(self._standing.best_loss), step=int(now.step))

    @property
    def epoch(self) -> int:
        """Epochs done."""
        return self._standing.epoch

    @property
    def global_step(self) -> int:
        """Steps done."""
        return self._standing.step

    @property
    def steps_per_epoch(self) -> int | None:
        """Batches of the training data; None without a loader."""
        return None if self._train is None else self._train.steps_per_epoch

    def model_of(self, params: PyTree) -> Any:
        """The model with these parameters, for the losses of a subclass."""
        now = self._standing.now if self._traced is None else self._traced
        return self._inner.model(replace(now, params=params))

    def train_step(self, batch: Any) -> Metrics:
        """One step on a batch. Its metrics, as numbers.

        Raises `NonFiniteError` for a loss that is not finite; the state stays what it was.
        """
        self._passes.refuse_beyond(1)
        evolving, metrics = self._step(self._standing.evolving, arrays_of(batch))
        found = {name: float(value) for name, value in metrics.items()}
        if not all(map(np.isfinite, found.values())):
            raise et.NonFiniteError(
                f"train_step: the metrics of step {self.global_step + 1} are not finite: {found}. "
                "Lower the learning rate, set gradient_clip_norm, or look at the batch."
            )
        self._standing.moved(evolving, self.global_step + 1)
        self._standing.last_loss = None
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
        self._standing.last_loss = found.get("loss")
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
        key = self.state.rng if seed is None else jax.random.key(seed)
        return samples_of(self.model, key, num_samples, **kwargs)

    def save_checkpoint(self, path: str | Path | None = None) -> None:
        """Saves all that moves, and the place in the data.

        Args:
            path: where; None: `checkpoint_<step>` in the folder of the checkpoints. It becomes a
                folder; `.pkl` at its end is left out, for nothing is pickled.

        Raises:
            CheckpointError: it cannot be written.
        """
        step, own = self.global_step, path is None
        folder = self._folder or Path("checkpoints")
        place = folder / f"checkpoint_{step}" if path is None else Path(path)
        keep = self.training_config.max_checkpoints if own else None
        self._standing.save(place, self._described, keep)
        self._records.say(f"step {step}: checkpoint {place}")

    def load_checkpoint(self, path: str | Path) -> None:
        """Goes back, or on, to a checkpoint.

        Raises:
            CheckpointError: there is none, or it is damaged, of another model or optimizer, or of
                the midst of an epoch of other data or another batch size.
        """
        self._standing.load(Path(path), self._described, self.steps_per_epoch)

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
        phases = self._passes.phases(source, epochs, valid, every)
        # A step of a subclass may read other data than the loss knows.
        plain = type(self)._train_step is Trainer._train_step
        show(self.model, self._loss, source if plain else None, valid)
        ours, theirs = parted(callbacks)
        config = self.training_config
        save_every = None if self._folder is None else self._save_interval
        telling = Telling(self, ours, self.global_step, config.log_frequency, save_every)
        told: list[et.Callback] = [telling]
        if any(overridden(one, hook) for one in ours for hook in _AROUND_STEPS):
            told.append(EveryBatch(self, ours, phases, self._passes.order_of))
        shown = any(isinstance(one, et.Progress) for one in theirs)
        told += [*theirs, *config.loggers()]
        try:
            self._passes.run(phases, told, progress=progress and not shown)
        except et.Interrupted:
            if self._folder is None:
                raise et.Interrupted(
                    f"Interrupted at step {self.global_step}. The trainer stands there; "
                    "save_checkpoint() keeps it, and train_epoch() goes on."
                ) from None
            self.save_checkpoint()
            raise et.Interrupted(
                f"Interrupted at step {self.global_step}; saved in {self._folder}."
            ) from None
        return telling.means

    def _begun(self, event: Event) -> None:
        self._standing.moving = event

    def _noted(self, step: int, metrics: Metrics) -> None:
        self.train_metrics.append(metrics)
        self._records.write("train", step, metrics)

    def _validated(self, metrics: Metrics) -> None:
        self.val_metrics.append(metrics)
        self._standing.last_loss = metrics.get("loss")
        self._records.write("valid", self.global_step, metrics)

    def _passed(self, event: Event, *, whole: bool) -> None:
        self._standing.passed(event, whole=whole)

    def _judged(self, evolving: Evolving, batch: Any, context: et.Context) -> Any:
        return self._needed(inference(self._inner.model(evolving)), batch, context)

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


_AROUND_STEPS = ("on_batch_begin", "on_batch_end")


def _maybe(name: str, data: Any, size: int, *, judges: bool = False) -> Source | None:
    return None if data is None else source_of(name, data, size, judges=judges)
