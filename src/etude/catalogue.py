"""Recipes by name: those that installed packages offer, and a caller's own.

A package offers a recipe as an entry point of the group `etude.recipes`; nothing of it is imported
until it is asked for:

    [project.entry-points."etude.recipes"]
    "lines/straight" = "my_package.recipes:straight"

A recipe in any module that Python can import is named `module:attribute` by whoever runs it. A
run folder cannot do that: what a `config.yaml` names is looked up among the entry points alone,
so that nobody's folder decides which code is imported.

>>> "digits-two-phase" in recipe_names()
True
>>> find_recipe("digits-two-phase").configuration.__name__
'Digits'
"""

import importlib
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from etude.entry_points import RECIPES, offered
from etude.errors import ConfigurationError, DataError, suggest
from etude.experiment import root_of
from etude.export import load_weights, read_weights
from etude.kinds import is_mapping
from etude.recipe import Configuration, Recipe
from etude.run import Run


def recipe_names() -> tuple[str, ...]:
    """The names of all recipes that installed packages offer, sorted."""
    return tuple(offered(RECIPES))


def find_recipe(name: str) -> Recipe[Any]:
    """The recipe of an entry point, or of `module:attribute`; its `name` is the one given here.

    A module is looked for in the working directory first, as `python -m` does.

    Raises `ConfigurationError` for a name that nobody offers, with near matches, and for an entry
    point or a module that cannot be imported or holds no recipe.
    """
    return _imported_by_caller(name) if ":" in name else offered_recipe(name)


def offered_recipe(name: str) -> Recipe[Any]:
    """The recipe of an entry point. Raises what `find_recipe` raises."""
    points = offered(RECIPES)
    if name not in points:
        raise ConfigurationError(
            f"There is no recipe {name!r}. {suggest(name, points)} A recipe of your own is named "
            "by its module: my_package.module:recipe."
        )
    return _named(name, points[name].load())


@dataclass(frozen=True)
class TrainedRun:
    """A run folder whose recipe is known.

    Attributes:
        folder: the folder of the run; of a trial other than the main one, that in `trials/`.
        root: folder of the experiment that the run belongs to.
        recipe: the recipe that made it.
        record: what `config.yaml` says of the recipe's configuration, not validated yet.
    """

    folder: Path
    root: Path
    recipe: Recipe[Any]
    record: Mapping[str, Any]

    def configuration(self) -> Configuration:
        """The recipe's configuration. Raises `ConfigurationError` if the record does not fit."""
        return _configured(self.recipe, self.record, str(self.root / "config.yaml"))


def open_run(folder: Path, recipe: str | None = None) -> TrainedRun:
    """The run in `folder`, with the recipe that made it.

    Args:
        folder: the folder of a run that a recipe has made.
        recipe: name of the recipe, as at its training; needed where it has no entry point.

    Raises:
        RunError: there is no run in the folder.
        ConfigurationError: it was not made by a recipe, its recipe is not installed, or it is
            another one than `recipe`.
    """
    root = root_of(folder)
    record = Run.open(root, lock=False).config
    found = _recipe_of(f"The run in {folder}", str(record["recipe"]), recipe)
    return TrainedRun(folder, root, found, record["configuration"])


def load_run(run: str | Path, recipe: str | None = None) -> Any:
    """The trained model of a run that `etude train RECIPE` made.

    The newest checkpoint of the run counts, which may be unfinished or in training meanwhile; of
    an experiment of several trainings, the main one, or the one whose folder in `trials/` is
    named. Nothing is trained or written. `recipe` is needed where it is not installed, as in
    `open_run`.

    Raises what `open_run` raises, and `CheckpointError` if there is no checkpoint yet.

    >>> load_run("runs/digits-two-phase")  # doctest: +SKIP
    """
    opened = open_run(Path(run), recipe)
    return opened.recipe.load(opened.configuration(), opened.folder)


def load_export(path: str | Path, recipe: str | None = None) -> Any:
    """The trained model of an archive that `etude export RUN --format safetensors` wrote.

    The header of the file says which recipe and configuration make a model like it; where that
    depends on data, they must still be there. `recipe` is needed where it is not installed, as in
    `open_run`.

    Raises `ConfigurationError` for an archive that no recipe made, whose weights
    `etude.load_weights` reads into a model of yours, and for a recipe that does not fit; and what
    `load_weights` raises.

    >>> load_export("export/model.safetensors")  # doctest: +SKIP
    """
    header = read_weights(path)[1]
    if not {"recipe", "trial", "configuration"} <= header.keys():
        raise ConfigurationError(
            f"{path} does not say which recipe made it, so nothing here can build its model. Make "
            "one like it: et.load_weights(model_like, path)."
        )
    found = _recipe_of(str(path), header["recipe"], recipe)
    try:
        record = json.loads(header["configuration"])
    except ValueError:
        record = None
    if not is_mapping(record):
        raise DataError(f"{path}: the configuration in its header is damaged. Export it again.")
    config = _configured(found, record, str(path))
    return load_weights(found.trial_named(config, header["trial"]).like(), path)


def _recipe_of(what: str, recorded: str, recipe: str | None) -> Recipe[Any]:
    """The recipe that a run or an archive says made it, where the caller may have named it."""
    if recipe is not None:
        if recorded != recipe:
            raise ConfigurationError(
                f"{what} was made by the recipe {recorded!r}; got --recipe {recipe}. "
                f"Give the one that made it: --recipe {recorded}"
            )
        return find_recipe(recipe)
    if ":" in recorded:
        raise ConfigurationError(
            f"{what} says that {recorded!r} made it, which no installed package "
            "offers, and a file does not decide which code is imported. If you trust "
            f"that module, name it again: --recipe {recorded}, in Python "
            f"recipe={recorded!r}."
        )
    return offered_recipe(recorded)


def _configured(recipe: Recipe[Any], record: Mapping[str, Any], what: str) -> Configuration:
    try:
        return recipe.configuration.model_validate(dict(record))
    except ValidationError as error:
        found = [
            f"{'.'.join(map(str, item['loc']))}: {item['msg']}"
            for item in error.errors(include_url=False)
        ]
        raise ConfigurationError(
            f"{what} does not fit the recipe {recipe.name}, which may have changed since: "
            f"{'; '.join(found)}"
        ) from None


def _imported_by_caller(name: str) -> Recipe[Any]:
    module, _, attribute = name.partition(":")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        found = importlib.import_module(module)
    except Exception as error:
        raise ConfigurationError(
            f"The recipe {name!r}: its module cannot be imported: {type(error).__name__}: {error}. "
            f"Modules are looked for in {here} and where packages are installed."
        ) from error
    if attribute not in vars(found):
        recipes = [key for key, value in vars(found).items() if isinstance(value, Recipe)]
        raise ConfigurationError(
            f"The recipe {name!r}: {module} has no {attribute!r}. "
            + (suggest(attribute, recipes) if recipes else "It holds no recipe.")
        )
    return _named(name, vars(found)[attribute])


def _named(name: str, found: Any) -> Recipe[Any]:
    if not isinstance(found, Recipe):
        raise ConfigurationError(
            f"{name!r} is a {type(found).__name__}; expected an `etude.recipe.Recipe`."
        )
    return replace(found, name=name)
