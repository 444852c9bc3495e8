"""What every search is told beside its target and its space, checked.

>>> wrong_options(metric="", folder="", seeds=1, constraints=(), prune=None, storage=None)
["metric is a name, as valid/loss; got ''.", "folder is the path of a folder; got ''."]
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from etude.engine.numbers import is_count
from etude.errors import suggest
from etude.kinds import is_a
from etude.search.constraints import Expression
from etude.search.plan import PRUNERS


def wrong_options(
    *, metric: Any, folder: Any, seeds: Any, constraints: Any, prune: Any, storage: Any
) -> list[str]:
    """A sentence for each that is none."""
    found: list[str] = []
    if metric == "":
        found.append(f"metric is a name, as valid/loss; got {metric!r}.")
    if folder is not None and (not isinstance(folder, str | Path) or not str(folder)):
        found.append(f"folder is the path of a folder; got {folder!r}.")
    if not is_count(seeds):
        found.append(f"seeds is a whole number from 1; got {seeds!r}.")
    if not (is_a(constraints, str | Expression | Iterable) or callable(constraints)):
        found.append(
            "constraints are expressions, as 'width <= 64', or functions of a setting; got "
            f"{constraints!r}. For none, leave it out."
        )
    if prune is not None and prune not in tuple(PRUNERS):
        found.append(
            f"prune is one of {', '.join(PRUNERS)}; got {prune!r}. {suggest(str(prune), PRUNERS)}"
        )
    if storage is not None and (not isinstance(storage, str) or not storage):
        found.append(f"storage is the URL of a database, as sqlite:///a.db; got {storage!r}.")
    elif storage is not None and folder is None:
        found.append("A storage needs a folder for the search as well; got folder=None.")
    return found
