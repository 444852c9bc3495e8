"""A run of the command line, opened again, with options that override its configuration."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from etude.cli.configuring import configure

if TYPE_CHECKING:
    from etude.catalogue import TrainedRun
    from etude.recipe import Configuration


def reopen(
    run: Path,
    recipe: str | None,
    options: Mapping[str, Sequence[str]] | None = None,
    also: Sequence[str] = (),
) -> "tuple[TrainedRun, Configuration]":
    """A run, and its configuration.

    `options` are fields that override the recorded ones; `also` names other options, which a
    misspelt field may have meant. Raises `UsageError` and what `etude.catalogue.open_run` raises.
    """
    from etude.catalogue import open_run

    opened = open_run(run, recipe)
    hint = f"The configuration is in {opened.root / 'config.yaml'}."
    config = configure(
        opened.recipe.configuration, opened.record, options or {}, hint=hint, also=also
    )
    return opened, config
