"""A package whose public names are imported at their first use.

So the command line answers before JAX is loaded. The names are those of another module, which is
one explicit list.
"""

from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import Any


def names_of(package: str, api: str) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """`__getattr__` and `__dir__` of a package with the public names of the module `api`.

    >>> getter, lister = names_of("etude", "etude.api")
    >>> getter("Steps").__name__, "Steps" in lister()
    ('Steps', True)
    """

    @cache
    def public() -> dict[str, Any]:
        names = vars(import_module(api))
        return {name: value for name, value in names.items() if not name.startswith("_")}

    def getter(name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        found = public()
        if name not in found:
            from etude.errors import suggest

            near = suggest(name, found)
            raise AttributeError(f"module {package!r} has no attribute {name!r}. {near}")
        return found[name]

    return getter, lambda: sorted(public())
