"""`ProgressiveResizingTrainer`: short signals first, which are cheap, then longer ones."""

from collections.abc import Mapping, Sequence
from typing import Any, final

import jax
import numpy as np
import optax
from jaxtyping import Array, Float, Key

import etude as et
from etude.optim import OptimizerConfig
from etude.systems.machinery.records import Windows
from etude.systems.machinery.training.batches import check_alike
from etude.systems.machinery.training.objective import (
    Criterion,
    check_labels,
    classification,
    criterion_of,
)
from etude.systems.machinery.training.resizing import (
    ResizableSignalDataset,
    ResizeMethod,
    length_of_signals,
    rate_of,
    resized,
    resized_rate,
)
from etude.systems.machinery.training.settings import TrainerSettings

_OWNER = "ProgressiveResizingTrainer"
#: Samples, and epochs at that length: at 20,480 Hz, from 1.25 s to the whole record of 5 s.
SCHEDULE = ((25600, 20), (51200, 15), (76800, 10), (102400, 5))


@final
class ProgressiveResizingTrainer:
    """Trains in stages of growing length, one phase each, on one network of any length.

    Every stage is validated on signals of full length, so that its numbers can be compared with
    those of the next. With "crop" each step cuts at another place of every signal, and a line stays
    where it is; the other methods make the signals once, see `resize`, and those that change the
    sample rate move every line for the network, which the validation then shows.

    Args:
        model: as for `CNNTrainer`.
        optimizer: as for `CNNTrainer`; begins anew in each stage.
        criterion: as for `CNNTrainer`.
        schedule: samples and epochs of each stage; none longer than the signals, but for "pad".
        resize_method: "crop", "truncate", "pad", "decimate" or "interpolate".
        settings: fields of `TrainerSettings` but `batch_size`, and options of `etude.Trainer`.

    Raises:
        ConfigurationError: unknown settings, an unknown method, or a stage without samples or
            epochs.

    >>> import jax.numpy as jnp
    >>> from etude.systems.machinery import CNN1D
    >>> network = CNN1D(2, (4,), kernels=5, strides=4, dropout=0.0, key=jax.random.key(0))
    >>> data = jax.random.normal(jax.random.key(1), (8, 64)), jnp.arange(8) % 2
    >>> trainer = ProgressiveResizingTrainer(network, schedule=[(16, 1), (64, 1)], progress=False)
    >>> [name for name, _ in trainer.train(data, data, batch_size=4).reasons]
    ['length-16', 'length-64']
    """

    def __init__(
        self,
        model: Any,
        optimizer: OptimizerConfig | optax.GradientTransformation | None = None,
        criterion: Criterion | None = None,
        schedule: Sequence[tuple[int, int]] = SCHEDULE,
        *,
        resize_method: ResizeMethod | str = "crop",
        **settings: Any,
    ):
        if "batch_size" in settings:
            raise et.ConfigurationError(f"{_OWNER}: pass batch_size to train().")
        lengths = [length for length, _ in schedule]
        if not lengths or len(set(lengths)) < len(lengths) or min(map(min, schedule)) < 1:
            raise et.ConfigurationError(
                f"{_OWNER}: got schedule={list(schedule)}; expected (samples, epochs) of each "
                "stage, 1 or more of both, and no length twice."
            )
        # Of any method, the error for an unknown one.
        resized_rate(1, 1, resize_method, sample_rate=1.0)
        self.settings = TrainerSettings.of(_OWNER, settings).knowing(model)
        self.model, self.optimizer = model, optimizer
        self.criterion = criterion_of(criterion, model)
        self.schedule, self.resize_method = tuple(schedule), resize_method

    def phases(
        self, base_train_dataset: Any, base_val_dataset: Any = None, batch_size: int | None = None
    ) -> list[et.Phase]:
        """One phase for each length, for an `etude.Trainer` of your own."""
        settings = self.settings.sized(batch_size)
        loss = classification(_OWNER, self.criterion, settings.metadata_keys)
        check_alike(_OWNER, base_train_dataset, base_val_dataset)
        check_labels(_OWNER, self.model, self.criterion, base_train_dataset, base_val_dataset)
        validation = []
        if base_val_dataset is not None:
            judged = settings.indexed(_OWNER, base_val_dataset, capped=True)
            validation.append(et.Validation(judged))
        samples = length_of_signals(base_train_dataset)
        rate = rate_of(base_train_dataset, None)
        # One copy on the device for all stages that see the signals as they are, or cut them there.
        whole = settings.indexed(_OWNER, base_train_dataset)
        phases = []
        for length, epochs in self.schedule:
            resized_rate(samples, length, self.resize_method, sample_rate=rate)
            cut = self.resize_method == "crop" and length < samples
            data = whole
            if not cut and length != samples:
                data = settings.indexed(_OWNER, self._resized(base_train_dataset, length))
            phases.append(
                settings.phase(
                    _OWNER,
                    f"length-{length}",
                    loss,
                    data,
                    epochs,
                    optimizer=self.optimizer,
                    validation=validation,
                    augment=_cropping(length) if cut else None,
                )
            )
        return phases

    def trainer(
        self, base_train_dataset: Any, base_val_dataset: Any = None, batch_size: int | None = None
    ) -> et.Trainer:
        """The `etude.Trainer` of all stages, to `fit`, `resume` or `load` from."""
        phases = self.phases(base_train_dataset, base_val_dataset, batch_size)
        return self.settings.trainer(self.model, phases)

    def train_progressive(
        self, base_train_dataset: Any, base_val_dataset: Any = None, batch_size: int | None = None
    ) -> et.Result:
        """Trains all stages from the beginning; each starts from the best of the one before.

        Args:
            base_train_dataset: `Windows`, arrays `(signals, labels)` or a dictionary of them, or
                anything with a length that gives a sample by its number.
            base_val_dataset: the same for the validation, or None.
            batch_size: signals per step; None: 64.
        """
        return self.trainer(base_train_dataset, base_val_dataset, batch_size).fit()

    train = train_progressive

    def _resized(self, dataset: Any, length: int) -> Any:
        method = self.resize_method
        if isinstance(dataset, Windows):
            arrays = dataset.arrays(self.settings.metadata_keys or ())
            return {**arrays, "signal": resized(arrays["signal"], length, method)}
        if isinstance(dataset, Mapping):
            return {**dataset, "signal": resized(np.asarray(dataset["signal"]), length, method)}
        if isinstance(dataset, tuple):
            return (resized(np.asarray(dataset[0]), length, method), *dataset[1:])
        return ResizableSignalDataset(dataset, length, method)


def _cropping(length: int) -> Any:
    """A stretch of every signal of a batch, at a place of its own."""

    def crop(signal: Float[Array, "*channel samples"], key: Key[Array, ""]) -> Array:
        first = jax.random.randint(key, (), 0, signal.shape[-1] - length + 1)
        return jax.lax.dynamic_slice_in_dim(signal, first, length, axis=-1)

    def augment(batch: Any, key: Key[Array, ""]) -> Any:
        def cropped(signals: Array) -> Array:
            return jax.vmap(crop)(signals, jax.random.split(key, len(signals)))

        if isinstance(batch, Mapping):
            return {**batch, "signal": cropped(batch["signal"])}
        first, *rest = batch
        return (cropped(first), *rest)

    return augment
