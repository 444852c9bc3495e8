"""`gravitational-waves/search`: hours of noise with injections, beside a matched filter and a CNN.

The network of the demo, trained for longer, and a convolutional network of the same size on the
same first layer. Both are judged by the field's measure: the sensitive distance at a false-alarm
rate, as a fraction of that of a matched filter on exactly the same data.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from pydantic import Field

import etude as et
from etude.recipe import Outcome, Recipe, Trial
from etude.systems.gravitational_waves.cnn import ConvolutionalNetwork
from etude.systems.gravitational_waves.command import search_verb
from etude.systems.gravitational_waves.network import SpikingNetwork
from etude.systems.gravitational_waves.pipeline.intervals import Estimate, binomial_interval
from etude.systems.gravitational_waves.pipeline.plots import plot_distance, plot_efficiency
from etude.systems.gravitational_waves.pipeline.sensitivity import Efficiency
from etude.systems.gravitational_waves.recipes import citations, shared
from etude.systems.gravitational_waves.recipes.deployed import export
from etude.systems.gravitational_waves.recipes.survey import (
    EDGES,
    RATES,
    Survey,
    matched_filter,
)

Method = Literal["CPC, spikes", "CNN"]


class Search(shared.Staged, frozen=True):
    """The training of the demo for longer, and the survey."""

    repeats: int = Field(3, ge=1, le=100, description="trials of each method, with seeds from seed")
    methods: tuple[Method, ...] = Field(
        ("CPC, spikes", "CNN"),
        description="networks; the CNN has no context and no neurons, and knows labels alone: "
        "cpc_epochs, cpc_rate and cpc_weight are of the spikes",
    )
    signals: int = Field(16384, ge=64, description="binaries of the training bank")
    filters: int = Field(32, ge=1, description="pairs of filters of the first layer")
    taps: int = Field(192, ge=8, description="length of these filters at 512 Hz")
    high_snr: float = Field(12.0, gt=0, description="loudest network SNR in training")
    incoherent: float = Field(0.05, ge=0, le=1, description="share of noise with lone signals")
    snn_epochs: int = Field(1, ge=0, description="passes on the frozen encoder")
    joint_epochs: int = Field(20, ge=0, description="passes of everything together")
    foreground: float = Field(3.0, gt=0, description="hours with injections")
    background: float = Field(4.0, ge=1, description="hours of noise alone")
    stride: float = Field(0.125, gt=0, description="seconds between windows")


def trials(config: Search) -> list[Trial]:
    """Each network with each seed."""
    return [
        Trial(
            method,
            each.seed,
            partial(build, each, method),
            partial(evaluate, config),
            partial(network, each, method, chirps=False),
        )
        for method in config.methods
        for each in shared.seeded(config, config.repeats)
    ]


def network(
    config: Search, method: Method, *, chirps: bool | None = None
) -> SpikingNetwork | ConvolutionalNetwork:
    """What a method trains; see `shared.untrained`."""
    spiking = shared.untrained(config, chirps=chirps)
    if method == "CPC, spikes":
        return spiking
    return ConvolutionalNetwork(spiking.encoder, key=jax.random.key(config.seed))


def build(config: Search, method: Method, /, **options: Any) -> et.Trainer:
    """The trainer of one trial."""
    if method == "CPC, spikes":
        return shared.staged(config, **options)
    signals = jnp.asarray(shared.bank(config, "train").signals)
    data = et.ArrayData(signals, config.batch, drop_last=True)
    epochs = et.Epochs(config.snn_epochs + config.joint_epochs)
    steps = epochs.count * data.steps_per_epoch
    rate = optax.warmup_cosine_decay_schedule(0.0, config.rate, steps // 20, steps)
    learner = et.Learner(
        et.Gradient(cross_entropy), optax.adamw(rate, weight_decay=1e-3), clip_norm=1.0
    )
    phase = et.Phase("supervised", learner, data, epochs, augment=shared.mixing_of(config))
    return et.Trainer(network(config, method), phase, seed=config.seed, **options)


def cross_entropy(
    model: ConvolutionalNetwork, batch: tuple[jax.Array, jax.Array], context: et.Context
) -> jax.Array:
    """The cross-entropy of the labels with the statistic as log-odds."""
    windows, labels = batch
    return optax.sigmoid_binary_cross_entropy(model.statistic(windows), labels).mean()


def evaluate(config: Search, model: Any, split: str) -> dict[str, float]:
    """Distances and efficiency of a network, and of the matched filter on the same data."""
    survey = Survey(
        config.curve,
        config.foreground,
        config.background,
        seed=config.seed,
        split=split,
        band=config.band,
    )
    # Of a bound method the weights are arguments: another seed compiles nothing.
    mine = survey.judge(eqx.filter_jit(model.statistic), config.window, config.stride)
    ceiling = matched_filter(survey)
    return {
        **mine,
        **{f"filter_{name}": value for name, value in ceiling.items()},
        **{
            f"ratio_{rate:g}": mine[f"distance_{rate:g}"] / ceiling[f"distance_{rate:g}"]
            for rate in RATES
        },
        "parameters": float(
            sum(leaf.size for leaf in jax.tree.leaves(eqx.filter(model, eqx.is_inexact_array)))
        ),
    }


def draw(config: Search, outcomes: Sequence[Outcome], folder: Path) -> None:
    """Efficiency and distances, of the first of each network and of the matched filter."""
    folder.mkdir(parents=True, exist_ok=True)
    found = {o.trial.method: o.metrics for o in reversed(outcomes)}
    prefix = "filter_"
    metrics = outcomes[0].metrics
    ceiling = {n.removeprefix(prefix): v for n, v in metrics.items() if n.startswith(prefix)}
    searches = {"matched filter": ceiling, **found}
    curves = {name: _efficiency(values) for name, values in searches.items()}
    plot_efficiency(curves, "one per hour").savefig(folder / "efficiency.png", dpi=110)
    distances = {name: (np.array(RATES), _distances(v)) for name, v in searches.items()}
    plot_distance(distances, "hour").savefig(folder / "distance.png", dpi=110)


def _efficiency(metrics: Any) -> Efficiency:
    hits, total = (
        np.array([metrics[f"{name}_{low:g}"] for low in EDGES[:-1]], int)
        for name in ("found", "total")
    )
    return Efficiency(EDGES, hits, total, *binomial_interval(hits, total, 0.95, "clopper-pearson"))


def _distances(metrics: Any) -> list[Estimate]:
    names = [f"distance_{rate:g}" for rate in RATES]
    return [Estimate(metrics[n], metrics[f"{n}_low"], metrics[f"{n}_high"]) for n in names]


recipe = Recipe(
    "gravitational-waves/search",
    "Sensitive distance in O4 noise, as a fraction of that of a matched filter on the same data.",
    Search,
    trials,
    {
        "of the filter's distance, 1 per hour": "ratio_1",
        "10 per hour": "ratio_10",
        "distance, Mpc": "distance_1",
        "the filter's": "filter_distance_1",
        "found": "found",
        "by the filter": "filter_found",
        "late, s (median)": "time_bias",
        "90 % within, s": "time_error",
        "parameters": "parameters",
    },
    predict=search_verb,
    splits=("valid", "test"),
    draw=draw,
    export=export,
    ceiling=(
        "Of the filter's distance: about 1. A matched filter is the best there is for one known "
        "signal in Gaussian noise; over a bank of them the likelihood ratio may do a little better."
    ),
    citations=(
        *citations.ALL,
        citations.SURVEY,
        citations.MATCHED_FILTER,
        citations.OPEN_DATA,
    ),
    data_licence=citations.WITH_EVENT,
)
