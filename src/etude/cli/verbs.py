"""`etude predict`, `etude sample`, and the commands of systems: words to a verb, and its results.

Verbs and their options belong to recipes and systems; what is here reads the command line for
them and shows what they return.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from etude.cli.commands import show_columns
from etude.cli.configuring import configure, describe
from etude.cli.options import parse, take_value
from etude.cli.reopen import reopen
from etude.errors import ConfigurationError, RunError, UsageError
from etude.verbs import PredictOptions, SampleOptions

if TYPE_CHECKING:
    from etude.catalogue import TrainedRun
    from etude.recipe import Configuration
    from etude.verbs import Command, Verb

Name = Literal["predict", "sample"]
#: What the table of a verb is called.
RESULTS = {"predict": "predictions", "sample": "samples"}


def predict(arguments: Sequence[str]) -> None:
    """`etude predict RUN INPUT... [--out DIR] [--recipe NAME] [--OPTION VALUE ...]`."""
    _use("predict", arguments)


def sample(arguments: Sequence[str]) -> None:
    """`etude sample RUN [--count 64] [--out DIR] [--recipe NAME] [--OPTION VALUE ...]`."""
    _use("sample", arguments)


def system_command(command: "Command", arguments: Sequence[str]) -> None:
    """A command that a system offers: `etude NAME INPUT... [--OPTION VALUE ...]`."""
    positional, given, problems = parse(arguments)
    table = command.run(positional, configure(command.options, {}, given, problems))
    if table is not None:
        print(table)


def help_on(name: Name, run: str, arguments: Sequence[str]) -> None:
    """Usage and options of the verb that the recipe of a run offers."""
    words = [word for word in arguments if word not in ("-h", "--help")]
    _, given, problems = parse(words)
    _, _, verb = _opened(name, Path(run), take_value(given, "recipe", problems))
    help_of(f"{name} {run}", verb)


def help_of(name: str, offered: "Verb | Command") -> None:
    """Usage and options of a verb or a command."""
    print(f"usage: etude {name} {offered.inputs} [--OPTION VALUE ...]\n\n{offered.summary}\n")
    show_columns(describe(offered.options))


def _use(name: Name, arguments: Sequence[str]) -> None:
    positional, given, problems = parse(arguments)
    recipe = take_value(given, "recipe", problems)
    if not positional:
        raise UsageError([*problems, "The folder of a run comes first; got nothing."])
    run = Path(positional[0])
    opened, config, verb = _opened(name, run, recipe)
    options = configure(verb.options, {}, given, problems, also=("recipe",))
    inputs = positional[1:]
    if bool(inputs) != bool(verb.inputs):
        expected = verb.inputs or "nothing more"
        raise UsageError([f"After the run, {expected} is expected; got {inputs or 'nothing'}."])
    assert isinstance(options, PredictOptions | SampleOptions)
    out = options.out
    if name == "sample" and out is None:
        out = run / "samples"
        options = options.model_copy(update={"out": out})
    file = None if out is None else out / f"{RESULTS[name]}.csv"
    # Beside the table, the verb itself may write `samples.npy` and the like.
    there = [] if file is None else sorted(file.parent.glob(f"{file.stem}.*"))
    if there and not options.overwrite:
        raise RunError(
            f"{there[0]} exists already: give another folder (--out), or replace it (--overwrite)."
        )
    trial = opened.recipe.trial_of(config, run)
    table = verb.run(trial.load(run), trial.config or config, inputs, options)
    if file is None:
        print(table)
        return
    table.write_csv(file)
    print(file)


def _opened(
    name: Name, folder: Path, recipe: str | None
) -> "tuple[TrainedRun, Configuration, Verb]":
    opened, config = reopen(folder, recipe)
    verb = opened.recipe.predict if name == "predict" else opened.recipe.sample
    if verb is None:
        raise ConfigurationError(f"The recipe {opened.recipe.name} does not offer `etude {name}`.")
    return opened, config, verb
