"""The first recipe: pre-training without labels, then a classifier, on real digits."""

from etude.systems.quickstart.digits import Digits, recipe
from etude.systems.quickstart.losses import augment, classification, info_nce
from etude.systems.quickstart.model import Network

__all__ = ["Digits", "Network", "augment", "classification", "info_nce", "recipe"]
