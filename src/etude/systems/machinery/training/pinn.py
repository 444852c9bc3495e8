"""`PINNTrainer`: a classifier that also learns what physics says of its classes."""

from collections.abc import Mapping
from typing import Any, final, get_args

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

import etude as et
from etude.inputs import Values
from etude.optim import OptimizerConfig
from etude.systems.machinery.bearings import SLIP
from etude.systems.machinery.losses import (
    FrequencyConsistencyLoss,
    PhysicalConstraintLoss,
    SommerfeldConsistencyLoss,
    TemporalSmoothnessLoss,
)
from etude.systems.machinery.records import Windows
from etude.systems.machinery.training.batches import Sample, read_batch
from etude.systems.machinery.training.objective import (
    Criterion,
    accuracy,
    check_labels,
    criterion_of,
    forward,
    has_many_labels,
)
from etude.systems.machinery.training.ramps import RAMPS, Ramp
from etude.systems.machinery.training.settings import TrainerSettings

_OWNER = "PINNTrainer"


@final
class PINNTrainer:
    """Trains as `CNNTrainer`, by a loss on the labels and weighted terms of physics.

    The weight of a term is its lambda times the ramp of `lambda_schedule` at the share of the
    training that is done. With `adaptive_lambda` it is also scaled, in each step, so that the
    gradient of the term at the logits has lambda times the norm of that of the loss on the labels:
    no term drowns the others, whatever its unit, and where the labels are learnt physics rests.
    The logits, through which all terms reach the network, take the place of the last shared layer
    in Chen et al. (GradNorm, ICML 2018).

    Every step reports `data_loss`, each term by its name (`freq`, `sommerfeld`, `temporal`), and
    the weight it had (`lambda_freq` and so on). A validation reports the loss on the labels as
    `loss`, which can be compared from one epoch to the next, and the terms beside it.

    Args:
        model: as for `CNNTrainer`, for one class of each signal.
        train_loader: as for `CNNTrainer`, with the metadata that the terms need.
        val_loader: the same for the validation, or None.
        optimizer: as for `CNNTrainer`.
        criterion: as for `CNNTrainer`.
        lambda_freq: weight of `frequency`.
        lambda_sommerfeld: weight of `sommerfeld`.
        lambda_temporal: weight of `temporal`.
        adaptive_lambda: whether to scale the weights by the norms of the gradients.
        lambda_schedule: "linear", "exponential", "step" or "constant"; see `RAMPS`.
        sample_rate: Hz, of the signals; must be that of `frequency` and of windows that are given.
        frequency: the term of the spectrum, needs the metadata "speed", and "orders" where there
            are several bearings.
        sommerfeld: the term of the oil film, needs "sommerfeld"; None: that of the simulated
            journal bearings, unless its weight is 0.
        temporal: the term of neighbouring windows, needs "record" and "window"; None: with factor
            1, unless its weight is 0.
        settings: fields of `TrainerSettings`, among them `metadata_keys`, and options of
            `etude.Trainer`.

    Raises:
        ConfigurationError: unknown settings, an unknown schedule, another sample rate, signals of
            another bearing than the one of `frequency`, a weight without its term or a term without
            weight, no term, or a network of several labels.
        DataError: labels that the network has no class for, or, for the term of neighbouring
            windows, one of a recording twice.
    """

    def __init__(
        self,
        model: Any,
        train_loader: Any,
        val_loader: Any = None,
        optimizer: OptimizerConfig | optax.GradientTransformation | None = None,
        criterion: Criterion | None = None,
        *,
        lambda_freq: float = 1.0,
        lambda_sommerfeld: float = 0.5,
        lambda_temporal: float = 0.1,
        adaptive_lambda: bool = True,
        lambda_schedule: Ramp | str = "linear",
        sample_rate: float = 20480,
        frequency: FrequencyConsistencyLoss | None = None,
        sommerfeld: SommerfeldConsistencyLoss | None = None,
        temporal: TemporalSmoothnessLoss | None = None,
        **settings: Any,
    ):
        if lambda_schedule not in RAMPS:
            raise et.ConfigurationError(
                f"{_OWNER}: lambda_schedule is one of {get_args(Ramp)}; got {lambda_schedule!r}."
            )
        if has_many_labels(model):
            raise et.ConfigurationError(
                f"{_OWNER}: the physics terms are of one class for each signal, and the network "
                "gives several labels. Make it without multi_label."
            )
        rates = {} if frequency is None else {"frequency": frequency.expectations.sample_rate}
        for name, loader in (("train_loader", train_loader), ("val_loader", val_loader)):
            if isinstance(loader, Windows):
                rates[name] = loader.sample_rate
        wrong = [f"{name} is at {rate:g} Hz" for name, rate in rates.items() if rate != sample_rate]
        if wrong:
            raise et.ConfigurationError(
                f"{_OWNER}: sample_rate={sample_rate:g} Hz, but {' and '.join(wrong)}. Give the "
                "rate of the signals to all, and resample what has another."
            )
        for name, loader in (("train_loader", train_loader), ("val_loader", val_loader)):
            _check_bearing(name, frequency, loader)
            if temporal is not None or lambda_temporal > 0:
                _check_windows(name, loader)
        if sommerfeld is None and lambda_sommerfeld > 0:
            sommerfeld = SommerfeldConsistencyLoss()
        if temporal is None and lambda_temporal > 0:
            temporal = TemporalSmoothnessLoss(1.0)
        self.physics = PhysicalConstraintLoss(
            lambda_freq, lambda_sommerfeld, lambda_temporal, frequency, sommerfeld, temporal
        )
        self.lambdas = {
            "freq": lambda_freq,
            "sommerfeld": lambda_sommerfeld,
            "temporal": lambda_temporal,
        }
        self.ramp, self.adaptive_lambda = RAMPS[lambda_schedule], adaptive_lambda
        self.settings = TrainerSettings.of(_OWNER, settings).knowing(
            model, needed=_needed(self.physics)
        )
        self.model, self.train_loader, self.val_loader = model, train_loader, val_loader
        self.optimizer, self.criterion = optimizer, criterion_of(criterion, model)
        check_labels(_OWNER, model, self.criterion, train_loader, val_loader)

    def compute_loss(
        self,
        outputs: Float[Array, "batch classes"],
        targets: Values,
        signal: Values,
        metadata: Mapping[str, Any],
        progress: float | Float[Array, ""] = 1.0,
    ) -> tuple[Float[Array, ""], dict[str, Array]]:
        """The whole loss of a batch, and its parts by name.

        Args:
            outputs: logits.
            targets: labels or probabilities.
            signal: windows, `(batch, samples)` or `(batch, 1, samples)`.
            metadata: name -> what is known of each window.
            progress: share of the training that is done.

        Raises:
            ConfigurationError: metadata that a term needs are not there.
        """
        logits = et.widened(outputs)
        labels = jnp.asarray(targets)
        windows = et.widened(signal).reshape(len(signal), -1)

        def terms_of(logits: Array) -> dict[str, Array]:
            return self.physics(logits, windows, metadata)[1]

        data, pull_data = jax.vjp(lambda logits: self.criterion(logits, labels), logits)
        terms, pull = jax.vjp(terms_of, logits)
        done = self.ramp(jnp.asarray(progress, logits.dtype))
        total, parts = data, {"data_loss": data, **terms}
        for name, term in terms.items():
            weight = self.lambdas[name] * done
            if self.adaptive_lambda:
                (wanted,) = pull_data(jnp.ones_like(data))
                one = {other: jnp.full_like(t, other == name) for other, t in terms.items()}
                weight = weight * _ratio(wanted, *pull(one))
            parts[f"lambda_{name}"] = weight
            total += weight * term
        return total, parts

    def phases(self, num_epochs: int = 10) -> list[et.Phase]:
        """The one phase of `trainer`, for an `etude.Trainer` of your own."""
        validation = self.settings.validation(
            _OWNER, self.train_loader, self.val_loader, self._measured
        )
        return [
            self.settings.phase(
                _OWNER,
                "fit",
                self._loss,
                self.settings.source(_OWNER, self.train_loader),
                num_epochs,
                optimizer=self.optimizer,
                validation=validation,
            )
        ]

    def trainer(self, num_epochs: int = 10) -> et.Trainer:
        """The `etude.Trainer` of that many epochs, to `fit`, `resume` or `load` from."""
        return self.settings.trainer(self.model, self.phases(num_epochs))

    def train(self, num_epochs: int = 10) -> et.Result:
        """Trains from the beginning; the weights follow their schedule over these epochs."""
        return self.trainer(num_epochs).fit()

    def _sample(self, batch: Any) -> Sample:
        return read_batch(_OWNER, batch, self.settings.metadata_keys)

    def _loss(
        self, model: Any, batch: Any, context: et.Context
    ) -> tuple[Array, dict[str, Any], Any]:
        sample = self._sample(batch)
        logits, moved = forward(model, sample, context.key)
        progress = jnp.asarray(context.progress)
        total, parts = self.compute_loss(
            logits, sample.targets, sample.signals, sample.metadata, progress
        )
        return total, {"accuracy": accuracy(model, logits, sample.targets), **parts}, moved

    def _measured(self, model: Any, batch: Any, context: et.Context) -> dict[str, Any]:
        sample = self._sample(batch)
        logits, _ = forward(model, sample, context.key)
        windows = et.widened(sample.signals).reshape(len(sample.signals), -1)
        terms = self.physics(et.widened(logits), windows, sample.metadata)[1]
        return {
            "loss": self.criterion(logits, sample.targets),
            "accuracy": accuracy(model, logits, sample.targets),
            **terms,
        }


def _needed(physics: PhysicalConstraintLoss) -> list[str]:
    """The metadata that the terms need."""
    names = []
    if physics.frequency is not None:
        expected = physics.frequency.expectations
        several = expected.named and len(expected.bearings) > 1
        names += ["speed", "orders"] if several else ["speed"]
    if physics.sommerfeld is not None:
        names.append("sommerfeld")
    return names if physics.temporal is None else [*names, "record", "window"]


def _check_bearing(name: str, frequency: FrequencyConsistencyLoss | None, loader: Any) -> None:
    """Raises ConfigurationError for signals that are not of the only bearing of the term."""
    orders = _known(loader).get("orders")
    if frequency is None or orders is None or not frequency.expectations.named:
        return
    bearings = list(frequency.expectations.bearings)
    if len(bearings) > 1:
        return  # which of them each signal is of, the metadata say
    own, found = np.array(list(bearings[0])), np.asarray(orders)
    alike = np.isclose(found, own, rtol=SLIP, atol=0).all(axis=-1)
    if not alike.all():
        other = found[np.argmin(alike)]
        raise et.ConfigurationError(
            f"{_OWNER}: {name} has signals of a bearing with orders {_listed(other)}, but the only "
            f"one of frequency has {_listed(own)} (FTF, BPFO, BPFI, BSF). Make the term with the "
            "bearings of the signals: bearings=[...]."
        )


def _check_windows(name: str, loader: Any) -> None:
    """Raises DataError where a window of a recording is there twice."""
    known = _known(loader)
    if not {"record", "window"} <= set(known):
        return
    places = np.stack([np.asarray(known["record"]), np.asarray(known["window"])])
    found, counts = np.unique(places, axis=1, return_counts=True)
    if counts.size and counts.max() > 1:
        record, window = found[:, counts.argmax()]
        raise et.DataError(
            f"{_OWNER}: {name} has window {window} of record {record} {counts.max()} times, "
            "expected once: the term of neighbouring windows pairs them by these numbers. Give "
            "every recording a number of its own."
        )


def _known(loader: Any) -> Mapping[str, Any]:
    """The metadata of windows and arrays; none of what makes its batches itself."""
    if isinstance(loader, Windows):
        return loader.metadata
    if isinstance(loader, tuple) and len(loader) == 3:
        loader = loader[2]
    return loader if isinstance(loader, Mapping) else {}


def _listed(orders: np.ndarray) -> str:
    return ", ".join(f"{order:.4g}" for order in orders)


def _ratio(wanted: Array, own: Array) -> Float[Array, ""]:
    """The norm of one gradient over that of another; 0 where the latter is nothing."""
    norm = jnp.linalg.norm(own)
    there = norm > jnp.finfo(norm.dtype).tiny
    found = jnp.linalg.norm(wanted) / jnp.where(there, norm, 1.0)
    return jax.lax.stop_gradient(jnp.where(there, found, 0.0))
