"""`etude train RECIPE --resume auto`: whether the folder holds the run that the command means.

Heavy modules load inside.
"""

import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from etude.cli.options import words
from etude.errors import RunError
from etude.kinds import is_mapping

if TYPE_CHECKING:
    from etude.recipe import Configuration, Recipe
    from etude.training.fingerprint import Changes


def goes_on(
    recipe: "Recipe[Any]", config: "Configuration", folder: Path, *, population: bool
) -> bool:
    """Whether the run in `folder` is gone on with; False if there is none yet.

    A resume compares the settings with those in the checkpoint. Refused here is what no checkpoint
    tells: another recipe or first trial, and, before there is a checkpoint, another value of any
    field.

    Raises `RunError` for those, for the folder of a trial, and for trials that were trained one
    after another if `population`; and what `etude.experiment.root_of` raises.
    """
    from etude.experiment import root_of
    from etude.run import Run
    from etude.run.folder import POPULATIONS, is_run
    from etude.training.fingerprint import compare
    from etude.training.resuming import listed

    if not is_run(folder):
        return False
    root = root_of(folder)
    if root != folder:
        raise RunError(
            f"{folder} is a trial of the experiment in {root}, which goes on as a whole: "
            f"--run {shlex.quote(str(root))}"
        )
    with Run.open(folder, lock=False) as run:
        record, empty = run.config, run.checkpoints.empty() and not run.checkpoints.lost()
    together = bool(record.get("population")) or (folder / POPULATIONS).is_dir()
    if population and not together:
        raise RunError(
            f"The trials of the run in {folder} are trained one after another: leave --population "
            "out, or give the new run another name (--run)."
        )
    first = [trial.name for trial in recipe.trials(config)][:1]
    made = {"recipe": record["recipe"], "first trial": [record.get("trial")]}
    changes = compare(made, {"recipe": recipe.name, "first trial": first})
    if "recipe" not in changes and (changes or (empty and not together)):
        changes |= changed_fields(folder, config)
    if changes:
        raise RunError(
            f"The run in {folder} was made with other settings than these:\n{listed(changes)}\n"
            "Train with those that it has, give the new run another name (--run), or replace the "
            "old one (--overwrite in place of --resume auto)."
        )
    return True


def is_done(recipe: "Recipe[Any]", config: "Configuration", folder: Path) -> bool:
    """Whether each trial of the run in `folder` is trained and measured with these settings."""
    done = len(recipe.results(config, folder)) == len(recipe.trials(config))
    return done and not changed_fields(folder, config)


def changed_fields(folder: Path, config: "Configuration") -> "Changes":
    """The fields of a recipe that are other than those of the run in `folder`."""
    from etude.run import Run
    from etude.search.fields import flat
    from etude.training.fingerprint import compare

    recorded = Run.open(folder, lock=False).config["configuration"]
    before = flat(recorded) if is_mapping(recorded) else {}  # it was edited by hand
    return compare(before, flat(config.model_dump(mode="json")))


def way_to_change(folder: Path, recipe: str, config: "Configuration") -> str:
    """The command that goes on with the run in `folder` with the fields of `config`."""
    options = {name: [_word(new)] for name, (_, new) in changed_fields(folder, config).items()}
    named = {"recipe": [recipe]} if ":" in recipe else {}
    line = words([str(folder)], {**named, **options, "changes": ["allow"]})
    return f"etude resume {shlex.join(line)}"


def _word(value: Any) -> str:
    """A value of a field as the command line takes it.

    >>> [_word(value) for value in (0.1, "sgd", None, [4, 8], True)]
    ['0.1', 'sgd', 'none', '[4, 8]', 'true']
    """
    if value is None:
        return "none"
    return value if isinstance(value, str) else json.dumps(value)
