"""`gravitational-waves/demo`: binary black holes in the noise of a detector, found by spikes.

The encoder learns without labels, the spiking classifier on the frozen encoder, then both. Signals
and noise are drawn in the compiled step, so no window is seen twice.
"""

from functools import partial
from typing import Any

import jax.numpy as jnp
from pydantic import Field

import etude as et
from etude.recipe import Recipe, Trial
from etude.systems.gravitational_waves.command import search_verb
from etude.systems.gravitational_waves.recipes import citations
from etude.systems.gravitational_waves.recipes.shared import (
    Experiment,
    bank,
    evaluate,
    unified,
    untrained,
)


class Demo(Experiment, frozen=True):
    """Every choice of the experiment."""

    cpc_epochs: int = Field(1, ge=0, description="passes over the bank without labels")
    snn_epochs: int = Field(3, ge=0, description="passes on the frozen encoder")
    joint_epochs: int = Field(10, ge=0, description="passes of everything together")


def trials(config: Demo) -> list[Trial]:
    """One training."""
    parts = partial(trainer, config), partial(evaluate, config)
    return [Trial("CPC, spikes", config.seed, *parts, partial(untrained, config, chirps=False))]


def trainer(config: Demo, /, **options: Any) -> et.Trainer:
    """The trainer of the three phases."""
    signals = jnp.asarray(bank(config, "train").signals)
    epochs = (config.cpc_epochs, config.snn_epochs, config.joint_epochs)
    return unified(config, untrained(config), **options).trainer(signals, None, epochs)


recipe = Recipe(
    "gravitational-waves/demo",
    "Black holes in O4 noise: an encoder without labels, then spikes, then both.",
    Demo,
    trials,
    {
        "ROC-AUC, SNR 8-15": "auc",
        "found at SNR 8-9": "efficiency_8_9",
        "9-10": "efficiency_9_10",
        "10-12": "efficiency_10_12",
        "12-15": "efficiency_12_15",
    },
    predict=search_verb,
    ceiling=citations.CEILING,
    citations=(*citations.ALL, citations.OPEN_DATA),
    data_licence=citations.WITH_EVENT,
)
