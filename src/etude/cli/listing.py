"""`etude list`: the recipes, or the runs in a folder. Heavy modules load inside."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from etude.cli.columns import columns
from etude.config import Config
from etude.errors import ConfigurationError, RunError, UsageError
from etude.table import Table

if TYPE_CHECKING:
    from etude.run.listing import Listed

Key = Literal["run", "recipe", "state", "metric", "when"]
#: That of `etude.run.listing`, which imports more.
State = Literal["training", "finished", "interrupted", "failed", "killed", "unknown", "damaged"]


class ListOptions(Config, frozen=True):
    """Options of `etude list FOLDER`."""

    sort: Key | None = Field(
        None, description="order of the runs, metric: by its name, then its value; none: run"
    )
    reverse: bool = Field(False, description="the other way round")
    recipe: str | None = Field(None, min_length=1, description="runs of this recipe alone")
    state: State | None = Field(None, description="runs in this state alone")


def list_all(inputs: Sequence[str], options: ListOptions) -> Table | None:
    """`etude list` and `etude list FOLDER`."""
    if not inputs:
        _refuse_options(options)
        print(columns(_recipes()))
        return None
    if len(inputs) > 1:
        raise UsageError([f"One folder is listed at a time; got {' '.join(inputs)}."])
    if not inputs[0]:
        raise UsageError(["The name of the folder is empty."])
    folder = Path(inputs[0])
    if not folder.is_dir():
        state = "a file" if folder.exists() else "not there"
        raise RunError(f"{folder} is {state}: name the folder that runs are in, as runs.")
    from etude.run.listing import listed, runs_in

    found = [listed(run) for run in runs_in(folder)]
    chosen = [
        run
        for run in found
        if options.recipe in (None, run.recipe) and options.state in (None, run.state)
    ]
    if not chosen:
        print(_nothing(folder, found, options))
        return None
    key = options.sort or "run"
    known = sorted(
        (run for run in chosen if _known(run, key)),
        key=lambda run: _key(run, key),
        reverse=options.reverse,
    )
    chosen = known + [run for run in chosen if not _known(run, key)]
    rows = [
        (
            str(run.path),
            run.recipe,
            run.state if not run.trials else f"{run.state}, {run.trials}",
            run.metric if not run.problem else run.problem.splitlines()[0][:60],
            run.shown,
            run.when,
        )
        for run in chosen
    ]
    return Table(("run", "recipe", "state, trials", "metric", "value", "when"), tuple(rows))


def _recipes() -> list[tuple[str, str]]:
    from etude.catalogue import offered_recipe, recipe_names

    rows = []
    for name in recipe_names():
        try:
            rows.append((name, offered_recipe(name).summary))
        except ConfigurationError as error:  # one broken package does not hide the others
            rows.append((name, str(error)))
    return rows


def _refuse_options(options: ListOptions) -> None:
    for name in sorted(options.model_fields_set):
        raise UsageError(
            [f"--{name} is about runs: name the folder that they are in, etude list FOLDER."]
        )


def _known(run: "Listed", key: Key) -> bool:
    """Whether a run has what it is ordered by; those that have not come last."""
    return not math.isnan(run.value) if key == "metric" else bool(_key(run, key)[0])


def _key(run: "Listed", key: Key) -> tuple[Any, ...]:
    if key == "metric":
        return run.metric, run.value, run.path
    named = {"run": str(run.path), "recipe": run.recipe, "state": run.state, "when": run.when}
    return named[key], run.path


def _nothing(folder: Path, found: Sequence["Listed"], options: ListOptions) -> str:
    if not found:
        return f"There are no runs in {folder}."
    asked = ", ".join(
        f"--{name} {value}"
        for name, value in (("recipe", options.recipe), ("state", options.state))
        if value is not None
    )
    there = sorted({f"{run.recipe or 'no recipe'}, {run.state}" for run in found})
    return (
        f"None of the {len(found)} runs in {folder} is of {asked}; there are: {'; '.join(there)}."
    )
