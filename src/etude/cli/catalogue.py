"""All recipes by name, and where they are. Nothing is imported until a recipe is asked for.

>>> for name in names():
...     print(name)
gravitational-waves/demo
gravitational-waves/search
gravitational-waves/labels
gravitational-waves/twin
gravitational-waves/encodings
gravitational-waves/joint
digits-two-phase
attractor/prototypes
attractor/digits
attractor/fashion-mnist
born/plane
born/densities
born/digits
born/fashion-mnist
born/capacity
"""

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from etude.cli.options import UsageError
from etude.engine.errors import suggest

if TYPE_CHECKING:
    from etude.recipe import Recipe


@dataclass(frozen=True)
class Entry:
    """Where a recipe is, `module:attribute`, and its summary, which must equal the recipe's."""

    place: str
    summary: str


CATALOGUE = {
    "gravitational-waves/demo": Entry(
        "etude.systems.gravitational_waves.recipes:demo_recipe",
        "Black holes in O4 noise: an encoder without labels, then spikes, then both.",
    ),
    "gravitational-waves/search": Entry(
        "etude.systems.gravitational_waves.recipes:search_recipe",
        "Sensitive distance in O4 noise, as a fraction of that of a matched filter on the same "
        "data.",
    ),
    "gravitational-waves/labels": Entry(
        "etude.systems.gravitational_waves.recipes:labels_recipe",
        "What contrastive pre-training is worth where few windows have labels.",
    ),
    "gravitational-waves/twin": Entry(
        "etude.systems.gravitational_waves.recipes:twin_recipe",
        "Spikes against the same network without them: what is found, and what it costs.",
    ),
    "gravitational-waves/encodings": Entry(
        "etude.systems.gravitational_waves.recipes:encodings_recipe",
        "Six ways from the encoder's numbers to spikes.",
    ),
    "gravitational-waves/joint": Entry(
        "etude.systems.gravitational_waves.recipes:joint_recipe",
        "The encoder frozen or trained on, with and without CPC, from chirps or random filters.",
    ),
    "digits-two-phase": Entry(
        "etude.systems.quickstart:recipe",
        "Self-supervised pre-training on scikit-learn's digits, then a classifier on few labels.",
    ),
    "attractor/prototypes": Entry(
        "etude.systems.attractor.recipes:prototypes_recipe",
        "An attractor network learns noisy prototypes by a local rule, without gradients.",
    ),
    "attractor/digits": Entry(
        "etude.systems.attractor.recipes:digits_recipe",
        "Local rules, back-propagation and the read-out alone on scikit-learn's digits.",
    ),
    "attractor/fashion-mnist": Entry(
        "etude.systems.attractor.recipes:fashion_recipe",
        "Local rules, back-propagation and the read-out alone on Fashion-MNIST.",
    ),
    "born/plane": Entry(
        "etude.systems.born_machine.recipes:plane_recipe",
        "One Born machine five ways on moons, circles and spirals: classify, generate, play, "
        "resist.",
    ),
    "born/densities": Entry(
        "etude.systems.born_machine.recipes:densities_recipe",
        "A Born machine learns densities of known entropy: its likelihood beside the truth.",
    ),
    "born/digits": Entry(
        "etude.systems.born_machine.recipes:digits_recipe",
        "A Born machine of 64 sites classifies and draws scikit-learn's digits.",
    ),
    "born/fashion-mnist": Entry(
        "etude.systems.born_machine.recipes:fashion_recipe",
        "A Born machine of 784 sites classifies Fashion-MNIST.",
    ),
    "born/capacity": Entry(
        "etude.systems.born_machine.recipes:capacity_recipe",
        "Training likelihood of 1,000 binarised pictures against D: the two-site sweep and Adam.",
    ),
}


def names() -> tuple[str, ...]:
    """The names of all recipes."""
    return tuple(CATALOGUE)


def load(name: str) -> "Recipe[Any]":
    """The recipe of that name. Raises `UsageError` with near matches if there is none."""
    if name not in CATALOGUE:
        raise UsageError([f"There is no recipe {name!r}. {suggest(name, CATALOGUE)}"])
    module, attribute = CATALOGUE[name].place.split(":")
    return getattr(importlib.import_module(module), attribute)
