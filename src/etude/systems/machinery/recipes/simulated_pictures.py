"""`machinery/simulated-spectrogram` and `-multi-tfr`: pictures over frequency and time.

The first masks parts of spectrograms while the network learns; the second has one network learn
from several representations.
"""

from collections.abc import Mapping
from functools import lru_cache, partial
from typing import Any, Literal

import jax
import numpy as np
from jaxtyping import Float
from pydantic import Field
from scipy.special import log_softmax

import etude as et
from etude.export import Exportable
from etude.recipe import Recipe, Trial
from etude.systems.machinery.recipes import citations
from etude.systems.machinery.recipes.simulated_data import parts
from etude.systems.machinery.recipes.simulated_measures import (
    CEILING,
    COLUMNS,
    LICENCE,
    draw,
    measured,
)
from etude.systems.machinery.recipes.simulated_networks import (
    Picture,
    Sight,
    Training,
    exportable,
    network,
    scores_of,
)
from etude.systems.machinery.records import Windows
from etude.systems.machinery.simulation import JOURNAL_CLASSES
from etude.systems.machinery.training import MultiTFRTrainer, SpectrogramTrainer

Masks = Literal["masked", "plain"]
Method = Literal["each", "together", "turns"]


class Spectrogram(Training, frozen=True):
    """Every choice of `machinery/simulated-spectrogram`."""

    masks: tuple[Masks, ...] = Field(("masked", "plain"), description="with masks, or without")
    picture: Picture = Field("spectrogram", description="representation")
    time_mask_param: int = Field(8, ge=0, description="widest mask over time, frames of 128")
    freq_mask_param: int = Field(6, ge=0, description="widest mask over frequency, rows of 48")


class MultiTFR(Training, frozen=True):
    """Every choice of `machinery/simulated-multi-tfr`."""

    methods: tuple[Method, ...] = Field(
        ("each", "together", "turns"),
        description="a network for each picture, or one for all: in every step, or in turns",
    )
    pictures: tuple[Picture, ...] = Field(
        ("spectrogram", "scalogram", "wigner-ville"), min_length=1, description="representations"
    )
    per_class: int = Field(80, ge=8, description="records of each class")


def spectrogram_trials(config: Spectrogram) -> list[Trial]:
    """With and without masks, with every seed."""
    return [
        Trial(
            f"{config.picture}, {masks}",
            seed,
            partial(build_spectrogram, config, masks, seed),
            partial(evaluate, config, (config.picture,), seed),
            partial(_network, seed),
        )
        for masks in config.masks
        for seed in range(config.seed, config.seed + config.repeats)
    ]


def multi_trials(config: MultiTFR) -> list[Trial]:
    """One network for each picture, and one for all, with every seed."""
    rows: list[tuple[str, Method, tuple[Picture, ...]]] = []
    for method in config.methods:
        if method == "each":
            rows.extend((picture, method, (picture,)) for picture in config.pictures)
        else:
            rows.append((f"all, {method}", method, config.pictures))
    return [
        Trial(
            row,
            seed,
            partial(build_multi, config, method, pictures, seed),
            partial(evaluate, config, pictures, seed),
            partial(_network, seed),
        )
        for row, method, pictures in rows
        for seed in range(config.seed, config.seed + config.repeats)
    ]


def build_spectrogram(
    config: Spectrogram, masks: Masks, seed: int, /, **options: Any
) -> et.Trainer:
    """The trainer of one trial."""
    train = parts(config, seed).train
    return SpectrogramTrainer(
        _network(seed),
        sight(config, config.picture, seed)(train),
        use_specaugment=masks == "masked",
        time_mask_param=config.time_mask_param,
        freq_mask_param=config.freq_mask_param,
        **config.settings(len(train)),
        **{"seed": seed, **options},
    ).trainer(config.epochs(len(train)))


def build_multi(
    config: MultiTFR, method: Method, pictures: tuple[Picture, ...], seed: int, /, **options: Any
) -> et.Trainer:
    """The trainer of one trial: every network sees as many pictures, of however many kinds."""
    train = parts(config, seed).train
    settings, turns = config.settings(len(train)), method == "turns"
    if not turns:
        settings["batch_size"] = max(1, settings["batch_size"] // len(pictures))
    return MultiTFRTrainer(
        _network(seed),
        {name: sight(config, name, seed)(train) for name in pictures},
        mode="turns" if turns else "together",
        use_specaugment=False,
        **settings,
        **{"seed": seed, **options},
    ).trainer(max(1, round(config.epochs(len(train)) / len(pictures))))


def evaluate(
    config: Training, pictures: tuple[Picture, ...], seed: int, trained: Any, split: str
) -> dict[str, Any]:
    """The report; of several pictures of a window the network's log-probabilities are averaged."""

    def scores(windows: Windows) -> Float[np.ndarray, "n classes"]:
        found = [scores_of(trained, sight(config, name, seed)(windows)) for name in pictures]
        return np.mean([log_softmax(one, axis=1) for one in found], axis=0)

    return measured(scores, parts(config, seed), split, seed)


def export_spectrogram(model: Any, config: Spectrogram, trial: Trial) -> Exportable:
    """What the network says of windows."""
    return exportable(model, [sight(config, config.picture, trial.seed)], config)


def export_multi(model: Any, config: MultiTFR, trial: Trial) -> Exportable:
    """What the network of a picture, or of all, says of windows."""
    seen = [name for name in config.pictures if name == trial.method] or config.pictures
    return exportable(model, [sight(config, name, trial.seed) for name in seen], config)


@lru_cache(maxsize=8)
def sight(config: Training, picture: Picture, seed: int) -> Sight:
    """What a network of this picture sees."""
    return Sight(picture, parts(config, seed).train)


def _network(seed: int) -> Any:
    return network("spectrogram", len(JOURNAL_CLASSES), "small", key=jax.random.key(seed))


_SHARED: Mapping[str, Any] = {"draw": draw, "ceiling": CEILING, "data_licence": LICENCE}

spectrogram_recipe = Recipe(
    "machinery/simulated-spectrogram",
    "Spectrograms of simulated vibration, with masks and without.",
    Spectrogram,
    spectrogram_trials,
    COLUMNS,
    export=export_spectrogram,
    citations=(citations.MASKS, citations.CALIBRATION),
    **_SHARED,
)

multi_recipe = Recipe(
    "machinery/simulated-multi-tfr",
    "One network for several time-frequency representations, beside one for each.",
    MultiTFR,
    multi_trials,
    COLUMNS,
    export=export_multi,
    citations=(citations.CALIBRATION,),
    **_SHARED,
)
