"""Experiments with machine faults, by the names that `etude list` has."""

from etude.systems.machinery.recipes.augmentation import Augmented, recipe as augmentation_recipe
from etude.systems.machinery.recipes.leakage import Leakage, recipe as leakage_recipe
from etude.systems.machinery.recipes.mfpt import Recordings, recipe as mfpt_recipe
from etude.systems.machinery.recipes.simulated import recipe as simulated_recipe
from etude.systems.machinery.recipes.simulated_distillation import recipe as distillation_recipe
from etude.systems.machinery.recipes.simulated_physics import recipe as pinn_recipe
from etude.systems.machinery.recipes.simulated_pictures import (
    multi_recipe as multi_tfr_recipe,
    spectrogram_recipe,
)
from etude.systems.machinery.recipes.simulated_progressive import recipe as progressive_recipe

__all__ = [
    "Augmented",
    "Leakage",
    "Recordings",
    "augmentation_recipe",
    "distillation_recipe",
    "leakage_recipe",
    "mfpt_recipe",
    "multi_tfr_recipe",
    "pinn_recipe",
    "progressive_recipe",
    "simulated_recipe",
    "spectrogram_recipe",
]
