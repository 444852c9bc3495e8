"""`attractor/prototypes`, `attractor/digits`, `attractor/fashion-mnist`: local rules compared."""

from etude.systems.attractor.recipes.pictures import (
    FashionMNIST,
    Pictures,
    digits_recipe,
    fashion_recipe,
)
from etude.systems.attractor.recipes.prototypes import Prototypes, recipe as prototypes_recipe

__all__ = [
    "FashionMNIST",
    "Pictures",
    "Prototypes",
    "digits_recipe",
    "fashion_recipe",
    "prototypes_recipe",
]
