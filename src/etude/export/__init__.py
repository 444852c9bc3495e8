"""Trained models for others: an archive of weights, and a function to deploy."""

from etude.export.stablehlo import Exportable, Platform, one_by_one, write_stablehlo
from etude.export.weights import load_weights, read_weights, save_weights

__all__ = [
    "Exportable",
    "Platform",
    "load_weights",
    "one_by_one",
    "read_weights",
    "save_weights",
    "write_stablehlo",
]
