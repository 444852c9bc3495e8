"""Étude: one trainer, on JAX, for models that do not learn like everyone else's.

The public names are listed in `etude.api`, and come from there at their first use, so that the
command line answers before JAX is loaded.
"""

from importlib.metadata import version as _version
from typing import TYPE_CHECKING

from etude.late import names_of as _names_of

if TYPE_CHECKING:
    from etude.api import *  # noqa: F403

__version__ = _version("etude")

__getattr__, __dir__ = _names_of("etude", "etude.api")
