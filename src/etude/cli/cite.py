"""`etude cite RUN...`: the works that runs are built on."""

from collections.abc import Sequence
from pathlib import Path

from pydantic import Field

from etude.cli.commands import RECIPE
from etude.config import Config
from etude.errors import ConfigurationError, UsageError


class CiteOptions(Config, frozen=True):
    """Options of `etude cite`."""

    recipe: str | None = Field(None, min_length=1, description=RECIPE)


def cite(inputs: Sequence[str], options: CiteOptions) -> None:
    """`etude cite RUN...`: BibTeX of methods and data, each entry once."""
    if not inputs or not all(inputs):
        raise UsageError(["The folder of a run comes first, and more may follow; got nothing."])
    from etude.catalogue import open_run
    from etude.run import Run, from_recipe

    notes: list[str] = []
    entries: dict[str, str] = {}
    for run in map(Path, inputs):
        if not from_recipe(Run.open(run, lock=False).config):
            raise ConfigurationError(
                f"The run in {run} was not made by a recipe, and a recipe is what knows the works "
                "to cite. Cite those of your own model and data."
            )
        recipe = open_run(run, options.recipe).recipe
        if not recipe.citations:
            # What stands between entries is no part of BibTeX.
            notes.append(f"The recipe {recipe.name} of {run} names no works.")
        for entry in recipe.citations:
            entries.setdefault(" ".join(entry.split()), entry)
    print("\n\n".join([*notes, *entries.values()]))
