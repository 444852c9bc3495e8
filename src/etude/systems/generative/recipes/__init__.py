"""Experiments with generative models, by the names that `etude list` has."""

from etude.systems.generative.recipes.vae import recipe as vae_recipe

__all__ = ["vae_recipe"]
