"""The demo, and comparisons: labels, spikes against none, encodings, frozen against joint."""

from etude.systems.gravitational_waves.recipes.comparisons import (
    Encodings,
    Exchange,
    encodings_recipe,
    joint_recipe,
    twin_recipe,
)
from etude.systems.gravitational_waves.recipes.demo import Demo, recipe as demo_recipe
from etude.systems.gravitational_waves.recipes.labels import Labels, recipe as labels_recipe

__all__ = [
    "Demo",
    "Encodings",
    "Exchange",
    "Labels",
    "demo_recipe",
    "encodings_recipe",
    "joint_recipe",
    "labels_recipe",
    "twin_recipe",
]
