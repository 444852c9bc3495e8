"""What the recipes share: settings, signals, the untrained network, and how a network is judged."""

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from typing import Any, NamedTuple, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float32, Float64, Int
from pydantic import Field, model_validator

import etude as et
from etude.recipe import Configuration
from etude.systems.gravitational_waves.bank import SignalBank, signal_bank, split_key
from etude.systems.gravitational_waves.chirps import chirp_filters
from etude.systems.gravitational_waves.curves import noise_curve
from etude.systems.gravitational_waves.network import SpikingNetwork
from etude.systems.gravitational_waves.pipeline.roc import block_auc, tpr_at_fpr
from etude.systems.gravitational_waves.population import Population
from etude.systems.gravitational_waves.spiking import SpikeBridge
from etude.systems.gravitational_waves.training import UnifiedTrainer
from etude.systems.gravitational_waves.windows import Mixing

FALSE_ALARMS = 1e-3  # per window, at which efficiencies are stated
_CHUNK = 512  # windows that are mixed at a time
_BINS = ((8.0, 9.0), (9.0, 10.0), (10.0, 12.0), (12.0, 15.0))


class Experiment(Configuration, frozen=True):
    """The choices that all recipes have, each of which changes what is trained."""

    curve: str = Field("aLIGO-O4", description="noise curve of both detectors")
    signals: int = Field(4096, ge=64, description="binaries of the training bank")
    filters: int = Field(24, ge=1, description="pairs of filters of the first layer")
    taps: int = Field(128, ge=8, description="length of these filters at 512 Hz")
    chirps: bool = Field(True, description="whether the first layer starts from chirps")
    latent: int = Field(64, ge=2, description="numbers per step of the latents")
    context: int = Field(32, ge=2, description="numbers per step of the context")
    hidden: tuple[int, ...] = Field((128, 64), description="neurons of the spiking layers")
    cpc_rate: float = Field(2e-3, gt=0, description="learning rate without labels")
    rate: float = Field(5e-3, gt=0, description="learning rate with labels")
    batch: int = Field(64, ge=1, description="windows per step")
    sample_rate: float = Field(
        2048.0,
        ge=2048,
        le=2048,
        description="sample rate of the strain, Hz; the encoder is made for 2048",
    )
    window: float = Field(1.0, gt=0, description="seconds that the network sees at once")
    band: tuple[float, float] = Field((20.0, 1024.0), description="band of the whitened strain, Hz")
    merger: tuple[float, float] = Field(
        (0.5, 0.75),
        description="seconds into a window between which signals merge; later ones leave the "
        "spikes no time to answer",
    )
    low_snr: float = Field(5.0, gt=0, description="faintest network SNR in training")
    high_snr: float = Field(15.0, gt=0, description="loudest network SNR in training")
    incoherent: float = Field(0.15, ge=0, le=1, description="share of noise with lone signals")

    @model_validator(mode="after")
    def _enough(self) -> "Experiment":
        if self.chirps and self.filters > self.signals:
            raise ValueError(
                f"filters={self.filters} start from as many of the bank's signals={self.signals}: "
                "raise signals, lower filters, or set chirps to false"
            )
        return self


class Staged(Experiment, frozen=True):
    """The choices of recipes that train one network in three phases."""

    cpc_epochs: int = Field(1, ge=0, description="passes over the bank without labels")
    snn_epochs: int = Field(3, ge=0, description="passes on the frozen encoder")
    joint_epochs: int = Field(10, ge=0, description="passes of everything together")
    cpc_weight: float = Field(
        0.05, ge=0, description="weight of the contrastive loss in the joint phase"
    )


class Judging(Experiment, frozen=True):
    """The choices of recipes that `evaluate` judges."""

    test_windows: int = Field(8192, ge=512, description="windows of the evaluation")


class Comparison(Judging, frozen=True):
    """The choices of recipes that compare methods: a network smaller than the demo's, for less."""

    repeats: int = Field(3, ge=1, le=100, description="trials of each method, with seeds from seed")
    signals: int = Field(2048, ge=64, description="binaries of the training bank")
    filters: int = Field(16, ge=1, description="pairs of filters of the first layer")
    latent: int = Field(32, ge=2, description="numbers per step of the latents")
    hidden: tuple[int, ...] = Field((64, 32), description="neurons of the spiking layers")
    batch: int = Field(32, ge=1, description="windows per step")
    cpc_epochs: int = Field(1, ge=1, description="passes over the bank without labels")
    test_windows: int = Field(4096, ge=512, description="windows of the evaluation")


E = TypeVar("E", bound=Experiment)


def seeded(config: E, repeats: int) -> list[E]:
    """The configurations of the trials of a method, which differ in the seed."""
    seeds = range(config.seed, config.seed + repeats)
    return [config.model_copy(update={"seed": seed}) for seed in seeds]


@lru_cache(maxsize=4)
def mixing_of(config: Experiment) -> Mixing:
    """What the windows of the training are made of."""
    return Mixing(
        sample_rate=config.sample_rate,
        duration=config.window,
        merger=config.merger,
        snr=(config.low_snr, config.high_snr),
        incoherent=config.incoherent,
        band=config.band,
    )


@lru_cache(maxsize=8)
def bank(config: Experiment, split: Any) -> SignalBank:
    """Signals of a `Split`; those of validation and test are fewer."""
    room = mixing_of(config).room
    return signal_bank(
        Population(),
        [noise_curve(config.curve)],
        config.signals if split == "train" else max(config.signals // 4, _CHUNK),
        split=split,
        seed=config.seed,
        sample_rate=config.sample_rate,
        band=config.band,
        progress=True,
        duration=room["duration"],
        merger=room["merger"],
    )


def untrained(
    config: Experiment, *, chirps: bool | None = None, bridge: SpikeBridge | None = None
) -> SpikingNetwork:
    """The network before training; `chirps` overrules the configuration.

    Without chirps it is made without signals, in the same shapes: the skeleton of every run.
    """
    started = config.chirps if chirps is None else chirps
    return SpikingNetwork.build(
        config.latent,
        config.hidden,
        bridge=bridge,
        filters=config.filters,
        taps=config.taps,
        kernels=jnp.asarray(_chirps(config)) if started else None,
        context_dim=config.context,
        classifier={"readout_time_constant": 0.1},
        key=jax.random.key(config.seed),
    )


def staged(config: Staged, /, **options: Any) -> et.Trainer:
    """The trainer of the untrained network in its three phases."""
    signals = jnp.asarray(bank(config, "train").signals)
    epochs = (config.cpc_epochs, config.snn_epochs, config.joint_epochs)
    trainer = unified(config, untrained(config), cpc_weight=config.cpc_weight, **options)
    return trainer.trainer(signals, None, epochs)


def unified(config: Experiment, network: SpikingNetwork, /, **options: Any) -> UnifiedTrainer:
    """The trainer of a network, on fresh windows unless `options` say otherwise.

    They are those of `UnifiedTrainer`, `etude.Trainer`'s among them.
    """
    defaults = {"augment": mixing_of(config), "seed": config.seed}
    return UnifiedTrainer(
        network.encoder,
        network.bridge,
        network.classifier,
        (config.cpc_rate, config.rate, config.rate),
        predictors=network.predictors,
        batch_size=config.batch,
        **{**defaults, **options},
    )


def evaluate(config: Judging, model: SpikingNetwork, split: str) -> dict[str, Any]:
    """Area under the ROC for network SNR 8 to 15, and shares found at 1 false alarm in 1000.

    The windows are fresh draws, half of them noise alone; the lowest rate of false alarms that
    they resolve, 1 / noise windows, is among the results. The interval of the area is that of
    other binaries too, of which each is in several windows, see `block_auc`.
    """
    drawn = judged(config, model, split)
    noise, found = drawn.statistic[drawn.snr == 0], drawn.statistic[drawn.snr > 0]
    binary = drawn.binary[drawn.snr > 0]
    # A window of noise alone holds no binary: each is a block of its own.
    area = block_auc(noise, found, -1 - np.arange(len(noise)), binary, seed=config.seed)
    resolution = 1 / len(noise)
    rate = max(FALSE_ALARMS, resolution)
    results: dict[str, Any] = {
        "auc": area.value,
        "auc_interval": [area.low, area.high],
        "resolution": resolution,
        "efficiency": tpr_at_fpr(noise, found, rate).value,
    }
    for low, high in _BINS:
        inside = drawn.statistic[(drawn.snr >= low) & (drawn.snr < high)]
        results[f"efficiency_{low:g}_{high:g}"] = tpr_at_fpr(noise, inside, rate).value
    return results


class Judged(NamedTuple):
    """Windows of a split as a network ranks them.

    Attributes:
        statistic: how signal-like each window is.
        snr: network SNR of its signal, 0 for noise alone.
        binary: index into the bank of the split.
    """

    statistic: Float64[np.ndarray, " windows"]
    snr: Float32[np.ndarray, " windows"]
    binary: Int[np.ndarray, " windows"]


def judged(config: Judging, model: Callable[..., Any], split: Any) -> Judged:
    """The windows of `evaluate`; no other split has their noise, mergers or directions.

    The model makes logits `(n, 2)` of windows, and is given a key.
    """
    signals = jnp.asarray(bank(config, split).signals[:_CHUNK])
    mixing = replace(
        mixing_of(config), snr=(_BINS[0][0], _BINS[-1][1]), incoherent=0.0, split=split
    )
    keys = jax.random.split(split_key(config.seed, split), -(-config.test_windows // _CHUNK))
    draws = [_ranked(model, mixing, signals, key) for key in keys]
    statistic, snr = (np.concatenate(column) for column in zip(*draws, strict=True))
    binary = np.tile(np.arange(len(signals)), len(keys))
    return Judged(statistic.astype(np.float64), snr, binary)


@eqx.filter_jit
def _ranked(
    model: Callable[..., Any], mixing: Mixing, signals: jax.Array, key: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Statistics of fresh windows, with a key for bridges that draw, and the SNRs in them."""
    drawn, spikes = jax.random.split(key)
    mixed = mixing.mix(signals, drawn)
    logits = model(mixed.windows, key=spikes)
    return logits[:, 1] - logits[:, 0], mixed.snr


@lru_cache(maxsize=4)
def _chirps(config: Experiment) -> np.ndarray:
    signals = bank(config, "train").signals[:2048, :, 0, 0]
    return chirp_filters(signals, config.filters, taps=config.taps)
