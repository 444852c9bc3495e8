"""Experiments with gravitational waves, by the names that `etude list` has."""

from etude.systems.gravitational_waves.recipes.comparisons import (
    Encodings,
    Exchange,
    encodings_recipe,
    joint_recipe,
    twin_recipe,
)
from etude.systems.gravitational_waves.recipes.demo import Demo, recipe as demo_recipe
from etude.systems.gravitational_waves.recipes.labels import Labels, recipe as labels_recipe
from etude.systems.gravitational_waves.recipes.search import Search, recipe as search_recipe

__all__ = [
    "Demo",
    "Encodings",
    "Exchange",
    "Labels",
    "Search",
    "demo_recipe",
    "encodings_recipe",
    "joint_recipe",
    "labels_recipe",
    "search_recipe",
    "twin_recipe",
]
