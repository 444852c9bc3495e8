"""`machinery/augmentation`: which augmentations help with bearings that were never seen."""

from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key
from pydantic import Field, model_validator

import etude as et
from etude.augment import gaussian_noise, mixup, time_masking, time_shift
from etude.recipe import Recipe, Trial
from etude.systems.machinery.models import AbstractNetwork
from etude.systems.machinery.recipes import citations
from etude.systems.machinery.recipes.leakage import Simulations, divided, export
from etude.systems.machinery.recipes.networks import (
    Network,
    measured,
    network,
    refuse_unread,
    seeds,
    trainer,
)
from etude.systems.machinery.signals.values import weighted
from etude.systems.machinery.simulation import ROLLING_CLASSES

Kind = Literal["nothing", "noise", "shift", "masking", "mixup", "another path"]
_KNOTS = 16  # of the gain of another path, equally spaced up to half the sample rate


class Augmented(Simulations, frozen=True):
    """Every choice of `machinery/augmentation`."""

    repeats: int = Field(3, ge=1, le=100, description="trials of each method, with seeds from seed")
    augmentations: tuple[Kind, ...] = Field(
        get_args(Kind), min_length=1, description="what is done to a batch"
    )
    snr_db: float = Field(10.0, description="of the noise that is added, dB")
    masked: int = Field(512, ge=0, description="samples of the widest mask")
    gain: float = Field(10.0, ge=0, description="standard deviation of the gain of a path, dB")

    @model_validator(mode="after")
    def _augmented(self) -> "Augmented":
        read_by = {"noise": ("snr_db",), "masking": ("masked",), "another path": ("gain",)}
        refuse_unread(self, "augmentations", read_by)
        return self


def trials(config: Augmented) -> list[Trial]:
    """Each network with each augmentation and each seed, by a bearing-wise split."""
    return [
        Trial(
            f"{kind}, {what}",
            seed,
            partial(build, config, kind, what, seed),
            partial(evaluate, config, seed),
            partial(network, config, kind, len(ROLLING_CLASSES), seed),
        )
        for kind in config.networks
        for what in config.augmentations
        for seed in seeds(config)
    ]


def build(config: Augmented, kind: Network, what: Kind, seed: int, /, **options: Any) -> et.Trainer:
    """The trainer of one trial."""
    windows, split = divided(config, "bearing", seed)
    return trainer(
        config,
        kind,
        windows[split.train],
        windows[split.valid],
        seed,
        augment=augmentation(config, what),
        **options,
    )


def evaluate(config: Augmented, seed: int, model: AbstractNetwork, part: str) -> dict[str, float]:
    """The report of a network on windows as they are."""
    windows, split = divided(config, "bearing", seed)
    return measured(model, windows[split.parts[part]])


@lru_cache(maxsize=16)
def augmentation(config: Augmented, what: Kind) -> Callable[[Any, Any], Any] | None:
    """What is done to a batch, one function for all seeds; None for nothing."""
    if what == "nothing":
        return None
    if what == "mixup":

        def mixed(batch: Mapping[str, Array], key: Key[Array, ""]) -> dict[str, Array]:
            pair = batch["signal"], batch["label"]
            signals, labels = mixup(pair, key, num_classes=len(ROLLING_CLASSES))
            return {**batch, "signal": signals, "label": labels}

        return mixed
    of_signals: Callable[[Array, Any], Array] = {
        "noise": partial(gaussian_noise, snr_db=config.snr_db),
        "shift": partial(time_shift, max_shift=config.window),
        "masking": partial(time_masking, max_width=config.masked),
        "another path": partial(another_path, gain=config.gain),
    }[what]

    def augmented(batch: Mapping[str, Array], key: Key[Array, ""]) -> dict[str, Array]:
        return {**batch, "signal": of_signals(batch["signal"], key)}

    return augmented


def another_path(
    signals: Float[Array, "batch samples"], key: Key[Array, ""], *, gain: float
) -> Float[Array, "batch samples"]:
    """The signals as another structure might carry them, with standard deviation 1.

    Each spectrum is multiplied by a gain whose decibels are normal at 16 frequencies, and linear
    between.

    Args:
        signals: the batch.
        key: the source of randomness.
        gain: standard deviation, dB.

    >>> x = jax.random.normal(jax.random.key(0), (2, 256))
    >>> another_path(x, jax.random.key(1), gain=10.0).std(axis=1).round(3).tolist()
    [1.0, 1.0]
    """
    samples = signals.shape[-1]
    knots = gain * jax.random.normal(key, (len(signals), _KNOTS), signals.dtype)
    place = np.linspace(0, _KNOTS - 1, samples // 2 + 1)
    left = np.minimum(place.astype(int), _KNOTS - 2)
    weight = (place - left).astype(signals.dtype)
    decibels = knots[:, left] * (1 - weight) + knots[:, left + 1] * weight
    heard = jnp.fft.irfft(weighted(jnp.fft.rfft(signals), 10 ** (decibels / 20)), samples)
    loudness = jnp.std(heard, axis=-1, keepdims=True)
    return heard / jnp.where(loudness > 0, loudness, 1)


recipe = Recipe(
    "machinery/augmentation",
    "Augmentations under a bearing-wise split of simulated recordings.",
    Augmented,
    trials,
    {
        "test windows, bearing-wise": "window_accuracy",
        "test records": "record_accuracy",
        "AUROC": "auroc",
        "ECE": "ece",
        "ECE, scaled": "ece_scaled",
    },
    export=export,
    ceiling="1 for records; see machinery/leakage for windows.",
    citations=(citations.ENVELOPE, citations.CALIBRATION),
    data_licence="None: the data are simulated.",
)
