"""`gravitational-waves/demo`: the three phases in minutes, judged on windows and by GW150914."""

from etude.systems.gravitational_waves.recipes.demo import Demo, recipe as demo_recipe

__all__ = ["Demo", "demo_recipe"]
