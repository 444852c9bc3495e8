"""Trained models for others: an archive of weights, a function to deploy, a model card."""

from etude.export.weights import load_weights, save_weights

__all__ = ["load_weights", "save_weights"]
