"""Étude: one trainer, on JAX, for models that do not learn like everyone else's.

The public names are listed in `etude.api`, and come from there at their first use, so that the
command line answers before JAX is loaded.
"""

from importlib import import_module
from importlib.metadata import version as _version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from etude.api import *  # noqa: F403

__version__ = _version("etude")


def __getattr__(name: str) -> Any:
    if name.startswith("_"):
        raise AttributeError(f"module 'etude' has no attribute {name!r}")
    public = _public()
    if name not in public:
        from etude.errors import suggest

        raise AttributeError(f"module 'etude' has no attribute {name!r}. {suggest(name, public)}")
    return globals().setdefault(name, public[name])


def __dir__() -> list[str]:
    return sorted(_public())


def _public() -> dict[str, Any]:
    names = vars(import_module("etude.api"))
    return {name: value for name, value in names.items() if not name.startswith("_")}
