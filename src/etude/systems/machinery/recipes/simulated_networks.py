"""Networks and optimizer of the recipes on simulated records, and what a network sees."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32, PRNGKeyArray
from pydantic import Field

import etude as et
from etude.export import Exportable, one_by_one
from etude.optim import OptimizerConfig, SchedulerConfig
from etude.predictions import in_parts
from etude.systems.machinery.models import (
    CNN1D,
    WDCNN,
    HybridNetwork,
    ResNet1D,
    SpectrogramCNN,
)
from etude.systems.machinery.recipes.simulated_data import Records
from etude.systems.machinery.records import Windows
from etude.systems.machinery.signals import (
    FEATURES,
    decibels,
    features,
    log_spectrogram,
    scalogram,
    wigner_ville,
)
from etude.systems.machinery.simulation import JOURNAL_CLASSES

Model = Literal["cnn", "resnet", "wdcnn", "spectrogram", "hybrid", "features"]
Size = Literal["small", "full"]
Picture = Literal["spectrogram", "scalogram", "wigner-ville"]
MODELS: tuple[str, ...] = get_args(Model)

#: What the hybrid network is told: of the film, the logarithm of its Sommerfeld number.
TOLD = {"speed": 1, "film": 1}

_LOW = 12.5  # Hz, of the lowest row of a picture; the slowest whirl is at 23 Hz
_HIGH = 2800.0  # Hz, of the highest; bubbles collapse at up to 2500
_ROWS = 48


class Training(Records, frozen=True):
    """What every recipe on simulated records can be told of records and training."""

    steps: int = Field(2000, ge=1, description="steps of training, as whole epochs")
    batch: int = Field(32, ge=1, description="windows of a step")
    learning_rate: float = Field(5e-3, gt=0, description="first; falls to zero along a cosine")

    def epochs(self, windows: int) -> int:
        """Epochs over so many windows that are about as many steps."""
        return max(1, round(self.steps / -(-windows // self.batch_of(windows))))

    def batch_of(self, windows: int) -> int:
        """Windows of a step, of no more than there are."""
        return min(self.batch, windows)

    def settings(self, windows: int) -> dict[str, Any]:
        """Of a trainer: AdamW, whose rate falls to zero along a cosine."""
        return {
            "optimizer": OptimizerConfig(optimizer_type="adamw", learning_rate=self.learning_rate),
            "lr_scheduler": SchedulerConfig(scheduler_type="cosine"),
            "batch_size": self.batch_of(windows),
        }


def network(model: Model, classes: int, size: Size, *, key: PRNGKeyArray) -> Any:
    """A network with its first weights: "small" for windows at 6400 Hz, or "full" for records."""
    full = size == "full"
    match model:
        case "cnn":
            return CNN1D(classes, key=key) if full else small_cnn(classes, key=key)
        case "resnet" if full:
            return ResNet1D(classes, key=key)
        case "resnet":
            return ResNet1D(classes, (16, 32, 64), blocks=1, stem=32, key=key)
        case "wdcnn" if full:
            return WDCNN(classes, key=key)
        case "wdcnn":
            return WDCNN(classes, (16, 32, 32, 64), kernel=32, stride=8, hidden=(), key=key)
        case "spectrogram":
            channels = (16, 32, 64, 128) if full else (8, 16, 32, 32)
            return SpectrogramCNN(classes, channels, key=key)
        case "hybrid":
            a, b = jax.random.split(key)
            return HybridNetwork(network("cnn", classes, size, key=a), TOLD, width=8, key=b)
        case "features":
            return Dense(len(FEATURES), classes, 256 if full else 64, key=key)


def small_cnn(classes: int, *, key: PRNGKeyArray) -> CNN1D:
    """The network of the tables: 23 thousand parameters, a step every 32 samples."""
    return CNN1D(
        classes,
        (16, 32, 32, 64),
        kernels=(32, 9, 7, 5),
        strides=(8, 4, 2, 2),
        hidden=(),
        dropout=0.0,
        key=key,
    )


class Dense(eqx.Module):
    """One hidden layer, from the features of a batch to logits."""

    layers: eqx.nn.MLP

    def __init__(self, inputs: int, classes: int, width: int, *, key: PRNGKeyArray):
        self.layers = eqx.nn.MLP(inputs, classes, width, 1, key=key)

    def __call__(self, x: Float[Array, "batch inputs"]) -> Float[Array, "batch classes"]:
        """Logits."""
        return jax.vmap(self.layers)(x)


class Sight:
    """What a model sees of windows, normalised by those of the training.

    Args:
        model: its name; or that of a picture, for a network of spectrograms.
        train: windows of the training.
    """

    def __init__(self, model: Model | Picture, train: Windows):
        self.model = "spectrogram" if model in get_args(Picture) else model
        self._picture: Any = model
        self._mean, self._deviation = np.zeros(1, np.float32), np.ones(1, np.float32)
        if self.model in ("features", "spectrogram"):
            seen = self._raw(train)
            axes = 0 if self.model == "features" else (0, 1, 2)
            self._mean, self._deviation = seen.mean(axes), seen.std(axes)

    def __call__(self, windows: Windows) -> dict[str, np.ndarray]:
        """Arrays for a trainer: "signal", "label", and the metadata that the model is told."""
        seen = (self._raw(windows) - self._mean) / self._deviation
        arrays = {"signal": seen.astype(np.float32), "label": windows.labels}
        return {**arrays, **self.metadata(windows)}

    @property
    def shows(self) -> str:
        """What the model sees, in words."""
        if self.model == "features":
            return "its 36 features"
        return f"its {self._picture}" if self.model == "spectrogram" else "the signal itself"

    def metadata(self, windows: Windows) -> dict[str, np.ndarray]:
        """What the model is told beside what it sees."""
        if self.model != "hybrid":
            return {}
        film = np.log10(windows.metadata["sommerfeld"]).astype(np.float32)
        return {"speed": windows.metadata["speed"], "film": film}

    def _raw(self, windows: Windows) -> Float32[np.ndarray, "windows ..."]:
        signals, rate = windows.signals, windows.sample_rate
        if self.model in ("features", "spectrogram"):
            size = 256 if self.model == "features" else 64
            return in_parts(lambda x: self._represented(x, rate), signals, size)
        return signals

    def _represented(self, signals: Array, rate: float) -> Array:
        if self.model == "features":
            return features(signals, rate)
        return picture(self._picture, signals, rate) if self.model == "spectrogram" else signals

    def traced(self, signals: Float[Array, "batch samples"], rate: float) -> Float[Array, "..."]:
        """What the model sees of signals, within a compiled function."""
        return (self._represented(signals, rate) - self._mean) / self._deviation


def picture(
    kind: Picture, signals: Float[Array, "batch samples"], rate: float
) -> Float[Array, "batch freq time"]:
    """A representation over frequency and time, in dB under its largest value."""
    if kind == "spectrogram":
        found = log_spectrogram(
            signals, rate, low=_LOW, high=_HIGH, bands=_ROWS, window=round(rate / _LOW), hop=128
        )
        return decibels(found.values)
    if kind == "scalogram":
        return decibels(
            scalogram(signals, rate, low=2 * _LOW, high=_HIGH, rows=_ROWS, hop=128).values
        )
    found = wigner_ville(signals, rate, bins=2 * _ROWS, smoothing=256, hop=128)
    return decibels(jnp.maximum(found.values, 0))


def exportable(model: Any, sights: Sequence[Sight], config: Records) -> Exportable:
    """Probabilities of windows; of several sights the log-probabilities are averaged."""
    told = sights[0].model == "hybrid"

    def function(x: Array, *known: Array) -> Array:
        logs = []
        for see in sights:
            seen = see.traced(x, config.rate)
            metadata = {"speed": known[0], "film": jnp.log10(known[1])} if told else None
            logits = model(seen, metadata) if told else model(seen)
            logs.append(jax.nn.log_softmax(et.widened(logits)))
        return jax.nn.softmax(jnp.mean(jnp.stack(logs), axis=0))

    inputs = {"windows": jax.ShapeDtypeStruct((config.samples,), jnp.float32)}
    takes = f"windows of vibration as simulated, {config.samples} samples at {config.rate:g} Hz"
    if told:
        inputs |= {name: jax.ShapeDtypeStruct((), jnp.float32) for name in ("speed", "sommerfeld")}
        takes += "; the speed of each in Hz, and its Sommerfeld number"
    sees = ", ".join(see.shows for see in sights)
    return Exportable(
        one_by_one(function),
        inputs,
        takes,
        "probabilities of the classes, which nothing calibrates",
        f"The function makes what the network sees of a window ({sees}), scaled as in the "
        "training. Resampling, and cutting a recording into windows, come before.",
        JOURNAL_CLASSES,
    )


def scores_of(model: Any, seen: Mapping[str, Any]) -> Float[np.ndarray, "n classes"]:
    """Logits of what is seen, in inference mode."""
    told = {name: values for name, values in seen.items() if name not in ("signal", "label")}

    def at(where: Array) -> Array:
        index = np.asarray(where)
        known = {name: values[index] for name, values in told.items()}
        return _logits(model, seen["signal"][index], known)

    return in_parts(at, np.arange(len(seen["label"])), 256)


@eqx.filter_jit
def _logits(model: Any, signals: Array, known: Mapping[str, Array]) -> Array:
    return model(signals, known) if known else model(signals)
