"""`gravitational-waves/demo`: binary black holes in the noise of a detector, found by spikes.

The encoder learns without labels, the spiking classifier on the frozen encoder, then both. Signals
and noise are drawn in the compiled step, so no window is seen twice.
"""

from functools import partial

from etude.recipe import Recipe, Trial
from etude.systems.gravitational_waves.command import search_verb
from etude.systems.gravitational_waves.recipes import citations
from etude.systems.gravitational_waves.recipes.deployed import export
from etude.systems.gravitational_waves.recipes.shared import (
    Judging,
    Staged,
    evaluate,
    staged,
    untrained,
)


class Demo(Staged, Judging, frozen=True):
    """Every choice of the experiment."""


def trials(config: Demo) -> list[Trial]:
    """One training."""
    parts = partial(staged, config), partial(evaluate, config)
    return [Trial("CPC, spikes", config.seed, *parts, partial(untrained, config, chirps=False))]


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
    export=export,
    ceiling=citations.CEILING,
    citations=(*citations.ALL, citations.OPEN_DATA),
    data_licence=citations.WITH_EVENT,
)
