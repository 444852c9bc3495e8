"""Half precision: `MixedPrecisionTrainer`, TF32 for the rest, and whether the device is fast at it.

>>> with enable_mixed_precision():
...     jax.config.jax_default_matmul_precision
'tensorfloat32'
"""

from contextlib import AbstractContextManager
from typing import Any, Literal, final

import jax
import optax

import etude as et
from etude.optim import OptimizerConfig
from etude.systems.machinery.training.objective import (
    Criterion,
    check_labels,
    criterion_of,
)
from etude.systems.machinery.training.settings import TrainerSettings

_TENSOR_CORES = 7.0  # compute capability of NVIDIA, from Volta on


@final
class MixedPrecisionTrainer:
    """Trains as `CNNTrainer`, with forward and backward pass in half precision.

    Parameters, statistics and updates stay in single precision. Under "float16" the loss is scaled,
    a step whose gradients overflow is skipped, and the scale moves by itself
    (Micikevicius et al. 2018); "bfloat16" has the range of single precision and needs none of this.

    Args:
        model: as for `CNNTrainer`.
        train_loader: as for `CNNTrainer`.
        optimizer: as for `CNNTrainer`.
        criterion: as for `CNNTrainer`.
        val_loader: as for `CNNTrainer`.
        precision: "float16" or "bfloat16".
        settings: fields of `TrainerSettings` but `mixed_precision`, and options of `etude.Trainer`.

    Raises:
        ConfigurationError: unknown settings, or some that contradict each other.
        DataError: labels that the network has no class for.
    """

    def __init__(
        self,
        model: Any,
        train_loader: Any,
        optimizer: OptimizerConfig | optax.GradientTransformation | None = None,
        criterion: Criterion | None = None,
        *,
        val_loader: Any = None,
        precision: Literal["float16", "bfloat16"] = "float16",
        **settings: Any,
    ):
        if "mixed_precision" in settings:
            raise et.ConfigurationError(
                "MixedPrecisionTrainer: mixed_precision is on. Write precision='float16' or "
                "'bfloat16'; CNNTrainer trains without it."
            )
        given = {**settings, "mixed_precision": precision}
        self.settings = TrainerSettings.of("MixedPrecisionTrainer", given).knowing(model)
        self.model, self.train_loader, self.val_loader = model, train_loader, val_loader
        self.optimizer, self.criterion = optimizer, criterion_of(criterion, model)
        check_labels("MixedPrecisionTrainer", model, self.criterion, train_loader, val_loader)

    def phases(self, num_epochs: int = 10) -> list[et.Phase]:
        """The one phase of `trainer`, for an `etude.Trainer` of your own."""
        return [
            self.settings.classifier(
                "MixedPrecisionTrainer",
                self.criterion,
                self.train_loader,
                self.val_loader,
                num_epochs,
                optimizer=self.optimizer,
            )
        ]

    def trainer(self, num_epochs: int = 10) -> et.Trainer:
        """The `etude.Trainer` of that many epochs, to `fit`, `resume` or `load` from."""
        return self.settings.trainer(self.model, self.phases(num_epochs))

    def train(self, num_epochs: int = 10) -> et.Result:
        """Trains from the beginning."""
        return self.trainer(num_epochs).fit()


def enable_mixed_precision() -> AbstractContextManager[Any]:
    """Products of matrices in TF32 within a `with` block, on NVIDIA GPUs that have it.

    Inputs of products are rounded to 10 bits; everything else stays in single precision. A device
    without TF32 computes as ever.
    """
    return jax.default_matmul_precision("tensorfloat32")


def check_mixed_precision_support() -> bool:
    """Whether the first device has units for products in half precision.

    XLA computes in half precision on every device; where this is False it gains nothing.

    >>> isinstance(check_mixed_precision_support(), bool)
    True
    """
    device = jax.devices()[0]
    if device.platform == "gpu":
        # AMD's has no number here, and has such units since 2018.
        capability = str(device.compute_capability)
        return not capability.replace(".", "").isdigit() or float(capability) >= _TENSOR_CORES
    return device.platform == "tpu"
