"""Experiments with Born machines, by the names that `etude list` has."""

from etude.systems.born_machine.recipes.capacity import recipe as capacity_recipe
from etude.systems.born_machine.recipes.pictures import (
    digits as digits_recipe,
    fashion as fashion_recipe,
)
from etude.systems.born_machine.recipes.plane import (
    densities as densities_recipe,
    recipe as plane_recipe,
)

__all__ = [
    "capacity_recipe",
    "densities_recipe",
    "digits_recipe",
    "fashion_recipe",
    "plane_recipe",
]
