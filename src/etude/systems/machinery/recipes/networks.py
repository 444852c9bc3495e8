"""The networks that the recipes on windows compare, and how they are trained."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Int
from pydantic import Field

import etude as et
from etude.config import refuse
from etude.export import Exportable, one_by_one
from etude.predictions import in_parts
from etude.recipe import Configuration
from etude.systems.machinery.models import CNN1D, AbstractNetwork, EnvelopeNetwork
from etude.systems.machinery.records import Windows
from etude.systems.machinery.reports import report
from etude.systems.machinery.training import CNNTrainer, calibration

Network = Literal["envelope", "CNN"]


class Training(Configuration, frozen=True):
    """What every network is trained by."""

    repeats: int = Field(3, ge=1, le=100, description="trials of each method, with seeds from seed")
    window: int = Field(4096, ge=256, description="samples of a window")
    bands: int = Field(8, ge=1, description="bands of the envelope network")
    lines: int = Field(48, ge=1, description="lines of its spectrum, from 1 / duration on")
    width: int = Field(64, ge=1, description="units of its dense layer")
    channels: tuple[int, ...] = Field(
        (16, 32, 64),
        min_length=1,
        description="of the blocks of the CNN; their kernels: 64, then 8 taps",
    )
    dropout: float = Field(0.3, ge=0, lt=1, description="share that training leaves out")
    epochs: int = Field(30, ge=1, description="passes over the training windows")
    rate: float = Field(2e-3, gt=0, description="learning rate (AdamW), falls along a cosine")
    batch: int = Field(64, ge=1, description="windows per step")


#: Fields of `Training` that one of the networks reads alone.
READ_BY: Mapping[str, tuple[str, ...]] = {
    "envelope": ("bands", "lines", "width"),
    "CNN": ("channels",),
}


def refuse_unread(
    config: Configuration, field: str, read_by: Mapping[str, tuple[str, ...]] = READ_BY
) -> None:
    """Raises `ValueError` for settings of what is not chosen, which nothing would read.

    Args:
        config: of a recipe.
        field: what is chosen, as `networks`.
        read_by: the fields that each choice reads alone.
    """
    chosen, fields = getattr(config, field), type(config).model_fields
    refuse(
        type(config).__name__,
        [
            f"{name}={getattr(config, name)!r} is of {choice!r}, which is not in {field}: add "
            f"that, or leave {name} out"
            for choice, names in read_by.items()
            if choice not in chosen
            for name in names
            if getattr(config, name) != fields[name].default
        ],
    )


def network(config: Training, kind: Network, classes: int, seed: int) -> AbstractNetwork:
    """An untrained network."""
    key = jax.random.key(seed)
    if kind == "envelope":
        return EnvelopeNetwork(
            classes,
            bands=config.bands,
            lines=config.lines,
            width=config.width,
            dropout=config.dropout,
            key=key,
        )
    rest = len(config.channels) - 1
    return CNN1D(
        classes,
        config.channels,
        kernels=(64, *[8] * rest),
        strides=(8, *[4] * rest),
        hidden=(),
        dropout=config.dropout,
        key=key,
    )


def trainer(
    config: Training,
    kind: Network,
    train: Windows,
    held_out: Windows | None,
    seed: int,
    /,
    *,
    augment: Any = None,
    **options: Any,
) -> et.Trainer:
    """Trains for a fixed number of epochs, then calibrates on windows that were held out.

    Nothing is chosen by the windows held out but the temperature, which stays 1 without them.
    """
    untrained = network(config, kind, len(train.classes), seed)
    steps = config.epochs * -(-len(train) // config.batch)
    optimizer = optax.adamw(optax.cosine_decay_schedule(config.rate, steps), weight_decay=1e-2)
    named = CNNTrainer(untrained, train, None, optimizer, batch_size=config.batch)
    phases = [replace(phase, augment=augment) for phase in named.phases(config.epochs)]
    if held_out is not None:
        phases.append(calibration(held_out.arrays()))
    return et.Trainer(untrained, phases, seed=seed, **options)


def measured(model: AbstractNetwork, windows: Windows) -> dict[str, float]:
    """The report of a network on windows, with the temperature that it has."""
    scores = in_parts(model, windows.signals)
    temperature = float(np.asarray(model.head.temperature.value))
    return report(scores, windows.labels, windows.metadata["record"], temperature)


def exportable(
    model: AbstractNetwork, samples: int, sample_rate: float, classes: tuple[str, ...]
) -> Exportable:
    """Probabilities of windows, calibrated by the temperature of the network."""

    def function(x: Array) -> Array:
        centred = x - x.mean(axis=1, keepdims=True)
        spread = jnp.maximum(centred.std(axis=1, keepdims=True), jnp.finfo(x.dtype).tiny)
        return model.probabilities(centred / spread)

    return Exportable(
        one_by_one(function),
        {"windows": jax.ShapeDtypeStruct((samples,), jnp.float32)},
        f"windows of vibration, {samples} samples at {sample_rate:g} Hz, in any unit",
        "probabilities of the classes",
        "The function takes the mean off and divides by the standard deviation. Resampling, and "
        "cutting a recording into windows, come before; the envelope rule is not in it.",
        classes,
    )


def seeds(config: Training) -> Sequence[int]:
    """One for each repetition."""
    return range(config.seed, config.seed + config.repeats)


def one_of_each(
    labels: Int[np.ndarray, " n"], among: Int[np.ndarray, " m"], seed: int
) -> Int[np.ndarray, " classes"]:
    """A recording of each class, drawn from some.

    >>> one_of_each(np.array([0, 1, 0, 1]), np.array([0, 1]), 3).tolist()
    [0, 1]
    """
    rng = np.random.default_rng(seed)
    return np.array([rng.choice(among[labels[among] == c]) for c in np.unique(labels[among])])
