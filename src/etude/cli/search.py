"""`etude search`. Heavy modules load inside."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from etude.cli.configuring import read_file
from etude.cli.fields import leaves
from etude.cli.options import Line, words
from etude.cli.reading import Opened, one_value
from etude.config import Config, OutputFolder
from etude.errors import UsageError


class SearchOptions(Config, frozen=True):
    """What `etude search` takes beside the fields of a recipe."""

    space: Path | None = Field(
        None, description="YAML file: field: {low, high, log, step}, a list of choices, or a value"
    )
    trials: int | None = Field(
        None, ge=1, description="how many, those of earlier calls included; none, of a grid: all"
    )
    workers: int = Field(1, ge=1, le=256, description="processes that work at a time")
    method: Literal["bayesian", "random", "grid"] = Field(
        "bayesian", description="how settings are chosen"
    )
    metric: str = Field("valid/loss", description="metric of a validation, never of the test split")
    mode: Literal["min", "max"] | None = Field(
        None, description="which of its values are better; of a loss the small ones"
    )
    seeds: int = Field(
        1, ge=1, le=1000, description="trainings of each setting, which are averaged"
    )
    constraint: tuple[str, ...] = Field(
        (), description='what a setting must satisfy, as "width * depth <= 256"'
    )
    prune: Literal["median", "halving", "never"] | None = Field(
        None, description="which trainings are stopped early; none: median, by a validation metric"
    )
    storage: str | None = Field(
        None, min_length=1, description="URL of a database for several hosts; none: a file"
    )
    run: OutputFolder | None = Field(
        None, description="folder of the search, in place of runs/RECIPE-search"
    )
    config: Path | None = Field(
        None, description="YAML file of fields that are the same in all trials"
    )


def open_search(name: str, options: Mapping[str, Sequence[str]]) -> Opened:
    """The fields of a recipe, with the values of `--config`; and its space, checked."""
    from etude.catalogue import find_recipe

    recipe = find_recipe(name)
    default = Path(f"runs/{name.replace(':', '/')}-search")
    problems: list[str] = []
    record = _content(one_value(options, "config"), problems)
    space = _space(recipe, one_value(options, "space"), options, problems)

    def search(line: Line, own: SearchOptions, config: Any) -> None:
        from etude.search import BayesianSearch, GridSearch, RandomSearch
        from etude.search.backend import shown

        folder = own.run or default
        searches = {"bayesian": BayesianSearch, "random": RandomSearch, "grid": GridSearch}
        found = searches[own.method](
            target=name,
            space=space,
            metric=own.metric,
            mode=own.mode,
            folder=folder,
            seeds=own.seeds,
            constraints=own.constraint,
            prune=own.prune,
            storage=own.storage,
            config=config,
            **({} if own.method == "grid" else {"seed": config.seed}),
        )
        given = line.options | ({"storage": [shown(own.storage)]} if own.storage else {})
        again = f"etude search {shlex.join(words(line.inputs, given))}"
        try:
            results = found.run(own.trials, workers=own.workers)
        except KeyboardInterrupt as error:
            stands = str(error).partition(" The same search")[0] or "Interrupted."
            raise KeyboardInterrupt(f"{stands} Go on with: {again}") from None
        print(results.table())
        print(f"{results.stands}; how: etude report {shlex.quote(str(folder))}")
        if results.has_best:
            best = shlex.quote(str(folder / "best.yaml"))
            print(f"The best: etude train {name} --config {best}")

    return Opened(
        name,
        recipe.configuration,
        search,
        f"the best settings of a recipe: {recipe.summary}",
        example="--space space.yaml --trials 20",
        record=record,
        problems=problems,
        hint=f"All fields: etude search {name} --help",
    )


def _content(file: str | None, problems: list[str]) -> dict[str, Any]:
    try:
        return read_file(Path(file)) if file else {}
    except UsageError as error:
        problems.append(str(error))
        return {}


def _space(
    recipe: Any, file: str | None, options: Mapping[str, Sequence[str]], problems: list[str]
) -> dict[str, Any]:
    """The space in a file; what is wrong with it goes to the problems."""
    if file is None:
        problems.append(
            "--space is missing: a YAML file of what is varied, as "
            f"{next(iter(leaves(recipe.configuration)))}: {{low: 1, high: 9}}."
        )
        return {}
    content = _content(file, problems)
    if not content and problems:
        return {}
    from etude.search.fields import fitted
    from etude.search.space import read_space

    space, found = read_space(content)
    space, others = fitted(space, recipe.configuration)
    problems += [f"{file}: {problem}" for problem in [*found, *others]]
    known = leaves(recipe.configuration)
    problems += [
        f"--{name} is {'varied' if name in space.varied else 'given'} by {file}: give it there or "
        "here."
        for name in (*space.varied, *space.constants)
        if name in options and name in known
    ]
    return content
