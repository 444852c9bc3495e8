"""A run of the command line, opened again: its recipe, its configuration, its model."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from etude.cli import catalogue
from etude.cli.settings import configure


def reopen(
    run: Path, options: Mapping[str, Sequence[str]] | None = None, also: Sequence[str] = ()
) -> tuple[Any, Any, Path]:
    """`(recipe, configuration, folder of the experiment)` of a run.

    `options` are fields that override the recorded ones; `also` names other options, which a
    misspelt field may have meant. Raises `UsageError`, `RunError` if there is no run, and
    `ConfigurationError` if no recipe made it.
    """
    from etude.recipe import root_of
    from etude.run import Run

    root = root_of(run)
    record = Run.open(root, lock=False).config
    recipe = catalogue.load(str(record["recipe"]))
    hint = f"The configuration is in {root / 'config.yaml'}."
    config = configure(
        recipe.configuration, record["configuration"], options or {}, hint=hint, also=also
    )
    return recipe, config, root


def load_run(run: str | Path) -> Any:
    """The trained model of a run that `etude train RECIPE` made.

    The newest checkpoint of the run counts, which may be unfinished or in training meanwhile; of
    an experiment of several trainings, the main one, or the one whose folder in `trials/` is
    named. Nothing is trained or written.

    Raises `RunError`, with similar names, if there is no run, `ConfigurationError` if no recipe
    made it, `CheckpointError` if there is no checkpoint yet.

    >>> load_run("runs/digits-two-phase")  # doctest: +SKIP
    """
    recipe, config, _ = reopen(Path(run))
    return recipe.load(config, Path(run))
