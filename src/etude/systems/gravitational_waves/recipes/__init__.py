"""Experiments with gravitational waves, by the names that `etude list` has."""

from etude.systems.gravitational_waves.recipes.demo import Demo, recipe as demo_recipe
from etude.systems.gravitational_waves.recipes.search import Search, recipe as search_recipe

__all__ = ["Demo", "Search", "demo_recipe", "search_recipe"]
