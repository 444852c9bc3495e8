"""`gravitational-waves/labels`: what an encoder that learnt without labels is worth.

Labels are scarce only where windows are: N labelled windows are drawn once, and never drawn again
in other noise. Windows without labels cost nothing, so those of the contrastive phase are always
fresh. The first layer starts from chirps in all methods.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int
from pydantic import Field

import etude as et
from etude.recipe import Outcome, Recipe, Trial
from etude.systems.gravitational_waves.recipes import citations
from etude.systems.gravitational_waves.recipes.deployed import export
from etude.systems.gravitational_waves.recipes.shared import (
    Comparison,
    bank,
    evaluate,
    mixing_of,
    seeded,
    unified,
    untrained,
)

Method = Literal["CPC, frozen", "CPC, fine-tuned", "random, frozen", "supervised"]


class Labels(Comparison, frozen=True):
    """Every choice of `gravitational-waves/labels`."""

    windows: int = Field(4096, ge=64, description="labelled windows, all of them")
    shares: tuple[float, ...] = Field(
        (0.01, 0.1, 1.0), description="shares of them that trials have"
    )
    methods: tuple[Method, ...] = Field(
        ("CPC, fine-tuned", "CPC, frozen", "supervised", "random, frozen"),
        description="methods to compare, the main one first",
    )
    epochs: int = Field(1, ge=1, description="passes over as many windows as all")


def trials(config: Labels) -> list[Trial]:
    """All methods with each share of the labels and each seed."""
    return [
        Trial(
            f"{method}, {share:.0%}",
            each.seed,
            partial(trainer, each, method, share),
            partial(evaluate, each),
            partial(untrained, each, chirps=False),
        )
        for method, share, each in _grid(config)
    ]


def labelled(
    config: Labels, share: float
) -> tuple[Float[Array, "n samples detectors"], Int[Array, " n"]]:
    """The labelled windows of a share, again and again until they are as many as all.

    So every share takes the same number of steps, with the same compiled program. The windows of a
    smaller share are the first of a larger one.
    """
    signals = jnp.asarray(bank(config, "train").signals)
    # Not a key that the phases use, so that no labelled window comes without its label as well.
    key = jax.random.fold_in(jax.random.key(config.seed), 1_000_003)
    drawn, parts = jax.random.split(key)
    order = jax.random.permutation(drawn, jnp.arange(config.windows) % len(signals))
    chunks = jnp.split(order, list(range(512, config.windows, 512)))
    keys = jax.random.split(parts, len(chunks))
    mixed = [mixing_of(config)(signals[c], k) for c, k in zip(chunks, keys, strict=True)]
    windows, labels = (jnp.concatenate(column) for column in zip(*mixed, strict=True))
    few = jnp.arange(config.windows) % max(round(share * config.windows), 2)
    return windows[few], labels[few]


def trainer(config: Labels, method: Method, share: float, /, **options: Any) -> et.Trainer:
    """The encoder without labels where the method says so, then the labelled windows."""
    network = untrained(config)
    phases = []
    if method.startswith("CPC"):
        signals = jnp.asarray(bank(config, "train").signals)
        phases += unified(config, network).phases(signals, None, (config.cpc_epochs, 0, 0))
    lengths: Sequence[int] = (0, config.epochs, 0)
    if method in ("CPC, fine-tuned", "supervised"):
        lengths = (0, 0, config.epochs)
    # No contrastive loss beside the labels: the methods differ in where the encoder starts.
    supervised = unified(config, network, augment=None, cpc_weight=0.0)
    phases += supervised.phases(*labelled(config, share), lengths)
    return et.Trainer(network, phases, seed=config.seed, **options)


def draw(config: Labels, outcomes: Sequence[Outcome], folder: Path) -> None:
    """ROC-AUC against the number of labelled windows: every trial, and the mean of each method."""
    from matplotlib.figure import Figure

    found = {outcome.trial.name: outcome.metrics["auc"] for outcome in outcomes}
    named = zip(trials(config), _grid(config), strict=True)
    points = [(method, share, found[trial.name]) for trial, (method, share, _) in named]
    figure = Figure(figsize=(5, 3.5), layout="constrained")
    axes = figure.subplots()
    axes.set(xscale="log", xlabel="labelled windows", ylabel="ROC-AUC, SNR 8-15")
    axes.grid(alpha=0.3)
    for method in config.methods:
        counts = [round(share * config.windows) for share in config.shares]
        values = [[v for m, s, v in points if (m, s) == (method, x)] for x in config.shares]
        (line,) = axes.plot(counts, np.array([np.mean(some) for some in values]), label=method)
        for count, some in zip(counts, values, strict=True):
            axes.plot([count] * len(some), some, ".", color=line.get_color())
    axes.legend(fontsize="small")
    folder.mkdir(parents=True, exist_ok=True)
    figure.savefig(folder / "labels.png", dpi=90)


def _grid(config: Labels) -> list[tuple[Method, float, Labels]]:
    return [
        (method, share, each)
        for share in config.shares
        for method in config.methods
        for each in seeded(config, config.repeats)
    ]


recipe = Recipe(
    "gravitational-waves/labels",
    "What contrastive pre-training is worth where few windows have labels.",
    Labels,
    trials,
    {
        "ROC-AUC, SNR 8-15": "auc",
        "found at 1e-3": "efficiency",
        "at SNR 12-15": "efficiency_12_15",
    },
    draw=draw,
    export=export,
    ceiling=citations.CEILING,
    citations=citations.ALL,
    data_licence=citations.SIMULATED,
)
