"""What is done with a trained model beside measuring it, and commands of systems.

A recipe offers verbs: `etude predict RUN INPUT...` and `etude sample RUN` call them with the model
of a run. A system offers commands of its own by the entry-point group `etude.commands`.

>>> class Options(PredictOptions):
...     digits: int = Field(2, ge=0, description="decimals")
>>> def predict(model, config, inputs, options):
...     return Table(("input", "value"), tuple((x, f"{model:.{options.digits}f}") for x in inputs))
>>> verb = Verb("the value of each input", "NAME...", Options, predict)
>>> print(verb.run(0.123, None, ["a"], Options()))
input  value
-----  -----
a      0.12
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import Field

from etude.config import Config, OutputFolder
from etude.entry_points import COMMANDS, offered
from etude.errors import ConfigurationError, suggest
from etude.table import Table


class PredictOptions(Config, frozen=True):
    """What every `predict` takes; a verb adds its own fields.

    A validation error if `out`, or a folder around it, is a file.

    >>> PredictOptions().out is None
    True
    """

    out: OutputFolder | None = Field(
        None, description="folder for the results instead of the terminal"
    )
    overwrite: bool = Field(False, description="replace results that the folder holds")


class SampleOptions(Config, frozen=True):
    """What every `sample` takes; a verb adds its own fields.

    A validation error if `out`, or a folder around it, is a file.

    >>> SampleOptions(count=9).count
    9
    """

    count: int = Field(64, ge=1, description="how many samples")
    seed: int = Field(0, ge=0, lt=2**31, description="seed of the samples")
    out: OutputFolder | None = Field(
        None, description="folder for the samples, in place of RUN/samples"
    )
    overwrite: bool = Field(False, description="replace samples that the folder holds")


@dataclass(frozen=True)
class Verb:
    """What a recipe does with a trained model.

    Attributes:
        summary: one line about it.
        inputs: what it takes, as a usage line shows it; empty if it takes nothing.
        options: its typed options, a class that extends `PredictOptions` or `SampleOptions`.
        run: `run(model, configuration, inputs, options) -> Table`. The configuration is the
            recipe's, or that of the trial where it has its own. Inputs are the words of the
            command line. `options.out`, a folder, is where it may write files of its own; the
            table is printed or written by who calls it. Raises `DataError` for bad inputs.
    """

    summary: str
    inputs: str
    options: type[Config]
    run: Callable[[Any, Any, Sequence[str], Any], Table]


@dataclass(frozen=True)
class Command:
    """A command, `etude NAME INPUT... [--OPTION VALUE ...]`.

    Attributes:
        summary: one line about it.
        inputs: what it takes, as a usage line shows it; empty if it takes nothing.
        options: its typed options.
        run: `run(inputs, options) -> Table | None`; a table is printed. Raises `ConfigurationError`
            for inputs that it cannot take.
        example: what follows `etude NAME` in a line that runs, as "runs/digits --split valid".
    """

    summary: str
    inputs: str
    options: type[Config]
    run: Callable[[Sequence[str], Any], Table | None]
    example: str


def offered_command(name: str) -> Command:
    """The command of an entry point.

    Raises `ConfigurationError` if there is none, or if it cannot be imported.
    """
    points = offered(COMMANDS)
    if name not in points:
        raise ConfigurationError(f"There is no command {name!r}. {suggest(name, points)}")
    found = points[name].load()
    if not isinstance(found, Command):
        raise ConfigurationError(
            f"The entry point {name!r} of {points[name].package} is a {type(found).__name__}; "
            "expected an `etude.verbs.Command`."
        )
    return found
