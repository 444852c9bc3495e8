"""All commands by name, and the help that each prints.

>>> help_of("report", BUILT_IN["report"], []).splitlines()[0]
'usage: etude report RUN... [--OPTION VALUE ...]'
"""

from collections.abc import Sequence

from etude.cli import (
    cite,
    commands,
    completion,
    export as exporting,
    listing,
    reporting,
    search,
    training,
    verbs,
)
from etude.cli.columns import columns
from etude.cli.fields import describe
from etude.cli.reading import Opening, opened
from etude.config import Config
from etude.entry_points import COMMANDS, RECIPES, offered
from etude.errors import UsageError, suggest
from etude.verbs import Command, offered_command


def _completion(inputs: Sequence[str], options: Config) -> None:
    print(completion.answer(inputs, BUILT_IN, find_command), end="")


BUILT_IN: dict[str, Command | Opening] = {
    "list": Command(
        "all recipes; or the runs in a folder, with their recipe, state and main metric",
        "[FOLDER]",
        listing.ListOptions,
        listing.list_all,
        "runs --sort when --state finished",
    ),
    "train": Opening(
        "run a recipe; `etude train RECIPE --help` lists its fields",
        "RECIPE",
        training.TrainOptions,
        training.open_recipe,
        "digits-two-phase --seed 1 --run runs/digits",
    ),
    "resume": Opening(
        "go on with a run that was interrupted, or train it longer",
        "RUN",
        training.ResumeOptions,
        training.open_to_resume,
        "runs/digits",
    ),
    "search": Opening(
        "find the best settings of a recipe; the same command goes on with a search",
        "RECIPE",
        search.SearchOptions,
        search.open_search,
        "digits-two-phase --space space.yaml --trials 2 --run runs/search",
    ),
    "evaluate": Command(
        "measure the models of a run",
        "RUN",
        commands.EvaluateOptions,
        commands.evaluate,
        "runs/digits --split valid",
    ),
    "predict": Opening(
        "what the trained model says about inputs; `etude predict RUN --help` lists the options",
        "RUN INPUT...",
        verbs.VerbOptions,
        verbs.open_to_predict,
        "runs/digits three.png --out found",
    ),
    "sample": Opening(
        "draw from the trained model; `etude sample RUN --help` lists the options",
        "RUN",
        verbs.VerbOptions,
        verbs.open_to_sample,
        "runs/plane --count 9 --out drawn",
    ),
    "export": Command(
        "write the trained model for others: weights, or a function that needs no etude",
        "RUN",
        exporting.ExportOptions,
        exporting.export,
        "runs/digits --format safetensors stablehlo --platforms cpu cuda --out exported",
    ),
    "report": Command(
        "write report.html and figures of a run, or comparison.html of several; prints the path",
        "RUN...",
        reporting.ReportOptions,
        reporting.report,
        "runs/digits",
    ),
    "cite": Command(
        "BibTeX of the methods and data of runs",
        "RUN...",
        cite.CiteOptions,
        cite.cite,
        "runs/digits",
    ),
    "history": Command(
        "how a training stands, and its metrics; with --csv every step and validation",
        "RUN",
        commands.HistoryOptions,
        commands.history,
        "runs/digits --csv digits.csv",
    ),
    "info": Command("versions and devices", "", Config, commands.info, ""),
    "completion": Command(
        "a script by which a shell completes the words of `etude`",
        "SHELL [-- WORD...]",
        Config,
        _completion,
        "bash",
    ),
}


def find_command(name: str) -> Command | Opening:
    """A command of ours, or of an installed package, which is imported.

    Raises `UsageError` for a name that nobody offers, `ConfigurationError` as `offered_command`.
    """
    if name in BUILT_IN:
        return BUILT_IN[name]
    known = [*BUILT_IN, *offered(COMMANDS)]
    if name not in known:
        raise UsageError([f"There is no command {name!r}. {suggest(name, known)}"])
    return offered_command(name)


def help_of_all() -> str:
    """What `etude --help` prints."""
    of_systems = ", ".join(offered(COMMANDS)) or "none"
    rows = [(f"{name} {one.inputs}".rstrip(), one.summary) for name, one in BUILT_IN.items()]
    return f"""usage: etude COMMAND [INPUT ...] [--OPTION VALUE ...]

One trainer, on JAX, for models that do not learn like everyone else's.

{columns(rows)}

Of installed systems: {of_systems}.
`etude COMMAND --help` has the options of each, and an example.

Exit codes: 0 done, 1 failed, 2 bad use, 3 interrupted and resumable."""


def help_of(name: str, command: Command | Opening, arguments: Sequence[str]) -> str:
    """What `etude NAME ... --help` prints; with a first input, the options that this decides.

    Raises what opening the first input raises.
    """
    words = [word for word in arguments if word not in ("-h", "--help")]
    found = opened(command, words) if isinstance(command, Opening) else None
    options, inputs, summary = describe(command.options), command.inputs, command.summary
    example: str | None = command.example
    if found is not None:
        options += describe(found.options)
        inputs, summary = f"{found.name} {found.inputs}", found.summary
        example = None if found.example is None else f"{found.name} {found.example}"
    elif isinstance(command, Opening):
        options.append(("--FIELD VALUE", f"as {inputs.split()[0]} decides"))
    usage = f"usage: etude {name} {inputs}".rstrip()
    parts = [usage + (" [--OPTION VALUE ...]" if options else ""), summary]
    parts += [columns(options)] if options else []
    if found is not None and found.about:
        parts.append(columns([(f"{title}:", text) for title, text in found.about]))
    if found is None and inputs.startswith("RECIPE"):
        recipes = "\n".join(f"  {recipe}" for recipe in offered(RECIPES))
        parts.append(f"Recipes (`etude list` says what they do):\n\n{recipes}")
    if example is not None:
        parts.append(f"Example:\n\n  etude {name} {example}".rstrip())
    return "\n\n".join(parts)
