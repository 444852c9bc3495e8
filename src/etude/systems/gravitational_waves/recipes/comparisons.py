"""`gravitational-waves/twin`, `encodings` and `joint`: one part of the detector is exchanged.

All windows are fresh draws, and all methods of a recipe take the same number of labelled steps.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from pydantic import Field

import etude as et
from etude.recipe import Recipe, Trial
from etude.systems.gravitational_waves.bank import split_key
from etude.systems.gravitational_waves.network import SpikingNetwork
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
from etude.systems.gravitational_waves.spiking import (
    Counts,
    Encoding,
    Graded,
    SpikeBridge,
    ann_twin,
    count,
)

_COUNTED = 256  # windows whose spikes are counted
_COUNTING = 1 << 20  # their key, beyond those of the windows of `evaluate`


class Exchange(Comparison, frozen=True):
    """Every choice of `gravitational-waves/twin` and `gravitational-waves/joint`."""

    snn_epochs: int = Field(1, ge=1, description="passes on the frozen encoder")
    joint_epochs: int = Field(2, ge=1, description="passes of everything, or of the rest if frozen")
    cpc_weight: float = Field(
        0.05, ge=0, description="weight of the contrastive loss where everything learns, after CPC"
    )


class Encodings(Comparison, frozen=True):
    """Every choice of `gravitational-waves/encodings`."""

    epochs: int = Field(3, ge=1, description="passes on the frozen encoder")
    encodings: tuple[Encoding, ...] = Field(
        ("multi_threshold", "temporal_contrast", "delta", "phase", "latency", "rate"),
        description="encodings to compare, the main one first",
    )
    threshold: float = Field(0.1, gt=0, description="first threshold, which is learnt")
    steps: int = Field(2, ge=1, description="steps of `rate` and `latency` for one of the context")


@dataclass(frozen=True)
class Method:
    """A network, and how it is trained.

    Attributes:
        snn_epochs: passes on the frozen encoder.
        joint_epochs: passes of everything together.
        cpc: whether the encoder begins without labels.
        cpc_weight: weight of the contrastive loss in the joint phase.
        chirps: whether the first layer starts from chirps; None: as the configuration says.
        bridge: turns the context into spikes; None: the network's usual one.
        twin: whether the classifier is the twin without spikes.
    """

    snn_epochs: int
    joint_epochs: int = 0
    cpc: bool = True
    cpc_weight: float = 0.0
    chirps: bool | None = None
    bridge: SpikeBridge | None = None
    twin: bool = False


def twin_trials(config: Exchange) -> list[Trial]:
    """Spikes and no spikes, with each seed."""
    joint = _joint(config)
    return _trials(config, {"spikes": joint, "ANN twin": replace(joint, twin=True)})


def encoding_trials(config: Encodings) -> list[Trial]:
    """Each encoding of the same features, those of the frozen encoder, with each seed."""

    def bridge(encoding: Encoding) -> SpikeBridge:
        return SpikeBridge(config.threshold, encoding, steps=config.steps, learnable=True)

    return _trials(
        config, {name: Method(config.epochs, bridge=bridge(name)) for name in config.encodings}
    )


def joint_trials(config: Exchange) -> list[Trial]:
    """The encoder frozen or not, after CPC or not; and from random filters, which need both."""
    joint, frozen = _joint(config), Method(config.snn_epochs + config.joint_epochs)
    alone = replace(joint, cpc=False, cpc_weight=0.0)
    methods = {
        "CPC, joint": joint,
        "CPC, frozen": frozen,
        "no CPC, joint": alone,
        "no CPC, frozen": replace(frozen, cpc=False),
        "CPC, joint, random filters": replace(joint, chirps=False),
        "no CPC, joint, random filters": replace(alone, chirps=False),
    }
    return _trials(config, methods)


def _joint(config: Exchange) -> Method:
    """All three phases."""
    return Method(config.snn_epochs, config.joint_epochs, cpc_weight=config.cpc_weight)


def _trials(config: Comparison, methods: Mapping[str, Method]) -> list[Trial]:
    return [
        Trial(
            name,
            each.seed,
            partial(trainer, each, method),
            partial(judge, each),
            partial(exchanged, each, replace(method, chirps=False)),
        )
        for name, method in methods.items()
        for each in seeded(config, config.repeats)
    ]


def exchanged(config: Comparison, method: Method) -> SpikingNetwork:
    """The untrained network of a method."""
    network = untrained(config, chirps=method.chirps, bridge=method.bridge)
    if not method.twin:
        return network
    key = jax.random.fold_in(jax.random.key(config.seed), 1)
    twin = ann_twin(network.classifier, key=key)
    return eqx.tree_at(lambda model: model.classifier, network, twin)


def trainer(config: Comparison, method: Method, /, **options: Any) -> et.Trainer:
    """The phases of a method, on its network."""
    epochs = (config.cpc_epochs if method.cpc else 0, method.snn_epochs, method.joint_epochs)
    named = unified(config, exchanged(config, method), cpc_weight=method.cpc_weight, **options)
    return named.trainer(jnp.asarray(bank(config, "train").signals), None, epochs)


def judge(config: Comparison, model: SpikingNetwork, split: Any) -> dict[str, Any]:
    """`evaluate`, and what the classifier does for a window: means over windows as in training.

    A message is a spike, or the number that a neuron of the twin sends in every step. An operation
    is an addition per spike and connection that leads on from it; in the twin a product and an
    addition per connection and step.
    """
    results = evaluate(config, model, split)
    signals = jnp.asarray(bank(config, split).signals[:_COUNTED])
    drawn, spikes = jax.random.split(jax.random.fold_in(split_key(config.seed, split), _COUNTING))
    windows, _ = replace(mixing_of(config), split=split)(signals, drawn)
    counts = _counted(model, windows, spikes)
    neurons = [layer.neurons for layer in model.classifier.layers]
    if isinstance(neurons[0], Graded):
        messages, operations = 1 / neurons[0].dt, float(np.max(counts.dense_operations))
    else:
        sizes = [each.features for each in neurons]
        messages = float(np.average(np.mean(counts.rates, axis=0), weights=sizes))
        operations = float(np.mean(counts.synaptic_operations))
    return {**results, "messages": messages, "operations": operations / 1000}


@eqx.filter_jit
def _counted(model: SpikingNetwork, windows: jax.Array, key: jax.Array) -> Counts:
    """What each window costs; the key is for bridges that draw."""
    context = model.features(windows).context
    keys = jax.random.split(key, len(context))
    spikes = jax.vmap(lambda one, key: model.bridge(one, key=key))(context, keys)
    return jax.vmap(partial(count, model.classifier))(spikes)


JUDGED = {"ROC-AUC, SNR 8-15": "auc", "found at 1e-3": "efficiency"}
COSTS = {"messages per neuron and s": "messages", "1000 operations per window": "operations"}

twin_recipe = Recipe(
    "gravitational-waves/twin",
    "Spikes against the same network without them: what is found, and what it costs.",
    Exchange,
    twin_trials,
    {**JUDGED, **COSTS},
    export=export,
    ceiling=citations.CEILING,
    citations=citations.ALL,
    data_licence=citations.SIMULATED,
)

encodings_recipe = Recipe(
    "gravitational-waves/encodings",
    "Six ways from the encoder's numbers to spikes.",
    Encodings,
    encoding_trials,
    {**JUDGED, **COSTS},
    export=export,
    ceiling=citations.CEILING,
    citations=citations.ALL,
    data_licence=citations.SIMULATED,
)

joint_recipe = Recipe(
    "gravitational-waves/joint",
    "The encoder frozen or trained on, with and without CPC, from chirps or random filters.",
    Exchange,
    joint_trials,
    JUDGED,
    export=export,
    ceiling=citations.CEILING,
    citations=citations.ALL,
    data_licence=citations.SIMULATED,
)
