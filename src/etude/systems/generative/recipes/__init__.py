"""Experiments with generative models, by the names that `etude list` has."""

from etude.systems.generative.recipes.autoregressive import recipe as autoregressive_recipe
from etude.systems.generative.recipes.conditional import recipe as pictures_recipe
from etude.systems.generative.recipes.diffusion import recipe as diffusion_recipe
from etude.systems.generative.recipes.energy import recipe as energy_recipe
from etude.systems.generative.recipes.flow_matching import recipe as flow_matching_recipe
from etude.systems.generative.recipes.flows import recipe as flows_recipe
from etude.systems.generative.recipes.gan import recipe as gan_recipe
from etude.systems.generative.recipes.gan_pictures import recipe as gan_pictures_recipe
from etude.systems.generative.recipes.vae import recipe as vae_recipe
from etude.systems.generative.recipes.vq import recipe as vq_recipe

__all__ = [
    "autoregressive_recipe",
    "diffusion_recipe",
    "energy_recipe",
    "flow_matching_recipe",
    "flows_recipe",
    "gan_pictures_recipe",
    "gan_recipe",
    "pictures_recipe",
    "vae_recipe",
    "vq_recipe",
]
