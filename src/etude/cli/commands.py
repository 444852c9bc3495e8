"""What each command does. Heavy modules load inside the commands that need them."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from etude.cli.configuring import configure, describe, read_file
from etude.cli.options import parse, take_flag, take_positional, take_value, unknown, words
from etude.cli.reopen import reopen
from etude.errors import ConfigurationError, OtherSettingsError, UsageError, suggest

if TYPE_CHECKING:
    from etude.run import History, Status

#: What `etude train` takes beside the fields of a recipe.
OWN = ("run", "overwrite", "config")


#: What `etude resume` does about settings that are other than the run's.
CHANGES = ("refuse", "allow")


def list_recipes(arguments: Sequence[str]) -> None:
    """`etude list`."""
    _nothing_left(arguments)
    from etude.catalogue import offered_recipe, recipe_names

    rows = []
    for name in recipe_names():
        try:
            rows.append((name, offered_recipe(name).summary))
        except ConfigurationError as error:  # one broken package does not hide the others
            rows.append((name, str(error)))
    show_columns(rows)


def train(arguments: Sequence[str]) -> None:
    """`etude train RECIPE [--run DIR] [--overwrite] [--config FILE] [--field.sub VALUE ...]`."""
    positional, options, problems = parse(arguments)
    name = take_positional(positional, "The name of a recipe", problems)
    overwrite = take_flag(options, "overwrite", problems)
    folder = take_value(options, "run", problems)
    file = take_value(options, "config", problems)
    if not name:
        raise UsageError(problems, "See `etude list`.")
    from etude.catalogue import find_recipe

    recipe = find_recipe(name)
    try:
        content = read_file(Path(file)) if file else {}
    except UsageError as error:
        content, problems = {}, [*problems, str(error)]
    hint = f"All fields: etude train {name} --help"
    config = configure(recipe.configuration, content, options, problems, hint, OWN)
    _run(recipe, config, Path(folder or f"runs/{name.replace(':', '/')}"), overwrite=overwrite)


def train_help(name: str) -> None:
    """`etude train RECIPE --help`: all fields with their defaults."""
    from etude.catalogue import find_recipe

    recipe = find_recipe(name)
    print(f"etude train {name}: {recipe.summary}\n")
    rows = [
        ("--run DIR", f"folder of the run (default: runs/{name.replace(':', '/')})"),
        ("--overwrite", "replace the run in that folder"),
        ("--config FILE", "YAML file of fields; the command line overrides it"),
        *describe(recipe.configuration),
    ]
    show_columns(rows)
    about = recipe.about()
    if about:
        print()
        show_columns([(f"{title}:", text) for title, text in about])


def resume(arguments: Sequence[str]) -> None:
    """`etude resume RUN [--checkpoint NAME] [--changes allow] [--recipe NAME] [--FIELD VALUE]`."""
    positional, options, problems = parse(arguments)
    run = take_positional(positional, "The folder of a run", problems)
    checkpoint = take_value(options, "checkpoint", problems)
    changes = take_value(options, "changes", problems) or "refuse"
    name = take_value(options, "recipe", problems)
    if changes not in CHANGES:
        problems.append(f"--changes takes 'allow'; got {changes!r}. {suggest(changes, CHANGES)}")
    refuse(problems)
    opened, config = reopen(Path(run), name, options, ("checkpoint", "changes", "recipe"))
    at = None if checkpoint is None else (Path(run), checkpoint)
    try:
        _run(opened.recipe, config, opened.root, resume=True, changes=changes, at=at)
    except OtherSettingsError as error:
        positional, typed, _ = parse(arguments)
        allowed = shlex.join(words(positional, {**typed, "changes": ["allow"]}))
        raise OtherSettingsError(error.told, f"etude resume {allowed}") from None


def evaluate(arguments: Sequence[str]) -> None:
    """`etude evaluate RUN [--split NAME] [--recipe NAME]`."""
    positional, options, problems = parse(arguments)
    run = take_positional(positional, "The folder of a run", problems)
    split = take_value(options, "split", problems) or "test"
    name = take_value(options, "recipe", problems)
    refuse([*problems, *unknown(options, ["split", "recipe"])])
    opened, config = reopen(Path(run), name)
    recipe = opened.recipe
    if split not in recipe.splits:
        raise UsageError([f"There is no split {split!r}. {suggest(split, recipe.splits)}"])
    said: list[str] = []
    table = recipe.evaluate(config, Path(run), split, say=said.append)
    print("\n".join([f"{run}, {split} split", *said, str(table)]))


def report(arguments: Sequence[str]) -> None:
    """`etude report RUN`."""
    positional, options, problems = parse(arguments)
    run = take_positional(positional, "The folder of a run", problems)
    refuse([*problems, *unknown(options, [])])
    from etude.run import write_report

    print(write_report(Path(run)))


def history(arguments: Sequence[str]) -> None:
    """`etude history RUN [--csv FILE]`."""
    positional, options, problems = parse(arguments)
    run = take_positional(positional, "The folder of a run", problems)
    file = take_value(options, "csv", problems)
    refuse([*problems, *unknown(options, ["csv"])])
    if file and Path(file).exists() and Path(run).resolve() in Path(file).resolve().parents:
        raise UsageError([f"--csv {file} would replace a file of the run. Give it another name."])
    if file == "-":
        raise UsageError(["--csv takes the name of a file; got '-', which is none."])
    from etude.run import History, Status
    from etude.run.trials import progress

    found, status = History.open(Path(run)), Status.read(Path(run))
    stands = _stands(Path(run), status, found) if status else f"{len(found)} records"
    trials = progress(Path(run))
    if trials:
        print(f"{run}: {trials}")
    print(f"{'the first trial' if trials else run}: {stands}")
    head = ("metric", "last", "lowest", "highest", "count")
    rows = [
        (one.name, *(f"{x:.5g}" for x in (one.last, one.lowest, one.highest)), str(one.count))
        for one in found.summary()
    ]
    show_table([head, *rows])
    if file:
        found.to_csv(file)
        print(f"All steps and validations: {file}")


def _stands(run: Path, status: "Status", history: "History") -> str:
    """How a training stands, in a few words."""
    reason = f" ({status.reason})" if status.reason else ""
    if status.state != "training":
        return f"{status.state}{reason}, {status.steps} steps, {status.when}"
    # Written at the beginning and with checkpoints: the history is ahead, and the lock knows more.
    from etude.run import way_on
    from etude.run.folder import LOCK
    from etude.run.lock import is_held

    steps = next((r["global_step"] for r in reversed(history) if "global_step" in r), status.steps)
    far = f"{steps} steps, status of {status.when}"
    if is_held(run / LOCK):
        return f"training, {far}"
    return f"interrupted without an end (killed?), {far}; go on with: {way_on(run)}"


def info(arguments: Sequence[str]) -> None:
    """`etude info`."""
    _nothing_left(arguments)
    from etude.run.environment import environment

    found = environment(seed=0)
    rows = [("python", found["python"]), ("platform", found["platform"])]
    rows += list(found["versions"].items())
    rows += [("device", device) for device in found["devices"]]
    show_columns([(str(name), str(value)) for name, value in rows])


def _run(recipe: Any, config: Any, folder: Path, **how: Any) -> None:
    try:
        print(recipe.run(config, folder, **how))
    except KeyboardInterrupt as error:
        from etude.run import way_on
        from etude.run.folder import is_run

        if str(error) or not is_run(folder):  # a trainer has said how to go on, or nobody can
            raise
        raise KeyboardInterrupt(f"Interrupted; go on with: {way_on(folder)}") from None


def _nothing_left(arguments: Sequence[str]) -> None:
    refuse([f"This command takes no arguments; got {' '.join(arguments)}."] if arguments else [])


def refuse(problems: Sequence[str]) -> None:
    """Raises `UsageError` if there is any problem."""
    if problems:
        raise UsageError(problems)


def show_table(rows: Sequence[Sequence[str]]) -> None:
    """Prints rows below each other: names to the left, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for name, *numbers in rows:
        cells = [f"{cell:>{width}}" for cell, width in zip(numbers, widths[1:], strict=True)]
        print("  ".join([f"  {name:{widths[0]}}", *cells]))


def show_columns(rows: Sequence[tuple[str, str]]) -> None:
    """Prints names and what they mean, side by side."""
    width = max(len(name) for name, _ in rows)
    for name, text in rows:
        print(f"  {name:{width}}  {text}")
