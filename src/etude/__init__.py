"""Étude: one trainer, on JAX, for models that do not learn like everyone else's."""

from importlib.metadata import version as _version

__version__ = _version("etude")
