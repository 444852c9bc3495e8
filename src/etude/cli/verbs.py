"""`etude predict` and `etude sample`: words to a verb, and its results.

Verbs and their options belong to recipes; what is here reads the command line for them and shows
what they return.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from etude.cli.commands import RECIPE
from etude.cli.options import Line
from etude.cli.outputs import refuse_unwritable
from etude.cli.reading import Opened, one_value
from etude.cli.reopen import reopen
from etude.config import Config
from etude.errors import ConfigurationError, RunError

Name = Literal["predict", "sample"]
#: What the table of a verb is called.
RESULTS = {"predict": "predictions", "sample": "samples"}


class VerbOptions(Config, frozen=True):
    """What `etude predict` and `etude sample` take beside the options of the verb."""

    recipe: str | None = Field(None, min_length=1, description=RECIPE)


def open_to_predict(run: str, options: Mapping[str, Sequence[str]]) -> Opened:
    """The options with which the model of a run says something about inputs."""
    return _opened("predict", Path(run), options)


def open_to_sample(run: str, options: Mapping[str, Sequence[str]]) -> Opened:
    """The options with which the model of a run is drawn from."""
    return _opened("sample", Path(run), options)


def _opened(name: Name, run: Path, options: Mapping[str, Sequence[str]]) -> Opened:
    opened, config = reopen(run, one_value(options, "recipe"))
    verb = opened.recipe.predict if name == "predict" else opened.recipe.sample
    if verb is None:
        raise ConfigurationError(f"The recipe {opened.recipe.name} does not offer `etude {name}`.")

    def use(line: Line, own: VerbOptions, chosen: Any) -> None:
        if name == "sample" and chosen.out is None:
            chosen = chosen.model_copy(update={"out": _samples(run)})
        file = _free(name, chosen.out, overwrite=chosen.overwrite)
        if chosen.out is not None:
            refuse_unwritable(chosen.out)
        trial = opened.recipe.trial_of(config, run)
        table = verb.run(trial.load(run), trial.config or config, line.inputs[1:], chosen)
        if file is None:
            print(table)
            return
        table.write_csv(file)
        print(file)

    example = None if verb.inputs else "--count 9 --seed 1 --overwrite"
    return Opened(str(run), verb.options, use, verb.summary, example, verb.inputs)


def _samples(run: Path) -> Path:
    """The folder of samples in a run. Raises `RunError` if that is a file."""
    if (run / "samples").is_file():
        raise RunError(f"{run / 'samples'} is a file: name a folder for the samples (--out).")
    return run / "samples"


def _free(name: Name, folder: Path | None, *, overwrite: bool) -> Path | None:
    """The file of the table. Raises `RunError` if results are there, unless `overwrite`."""
    if folder is None:
        return None
    file = folder / f"{RESULTS[name]}.csv"
    # Beside the table, the verb itself may write `samples.npy` and the like.
    there = sorted(folder.glob(f"{file.stem}.*"))
    if there and not overwrite:
        raise RunError(
            f"{there[0]} exists already: give another folder (--out), or replace it (--overwrite)."
        )
    return file
