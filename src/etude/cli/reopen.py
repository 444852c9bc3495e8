"""A run of the command line, opened again with the configuration that it recorded."""

from pathlib import Path
from typing import TYPE_CHECKING

from etude.cli.configuring import configure

if TYPE_CHECKING:
    from etude.catalogue import TrainedRun
    from etude.recipe import Configuration


def reopen(run: Path, recipe: str | None) -> "tuple[TrainedRun, Configuration]":
    """A run, and its configuration.

    Raises `UsageError` if the record does not fit, and what `etude.catalogue.open_run` raises.
    """
    from etude.catalogue import open_run

    opened = open_run(run, recipe)
    hint = f"The configuration is in {opened.root / 'config.yaml'}."
    return opened, configure(opened.recipe.configuration, opened.record, {}, hint)
