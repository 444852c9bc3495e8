"""What each command does. Heavy modules load inside the commands that need them."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from etude.cli import catalogue
from etude.cli.options import (
    UsageError,
    parse,
    take_flag,
    take_positional,
    take_value,
    unknown,
)
from etude.cli.reopen import reopen
from etude.cli.settings import configure, describe, read_file
from etude.engine.errors import suggest

#: What `etude train` takes beside the fields of a recipe.
OWN = ("run", "overwrite", "config")

#: What `etude resume` does about settings that are other than the run's.
CHANGES = ("refuse", "allow")

#: Whose strain `etude detect` fetches by itself.
EVENT = "GW150914"


def list_recipes(arguments: Sequence[str]) -> None:
    """`etude list`."""
    _nothing_left(arguments)
    width = max(map(len, catalogue.CATALOGUE))
    for name, entry in catalogue.CATALOGUE.items():
        print(f"{name:{width}}  {entry.summary}")


def train(arguments: Sequence[str]) -> None:
    """`etude train RECIPE [--run DIR] [--overwrite] [--config FILE] [--field.sub VALUE ...]`."""
    positional, options, problems = parse(arguments)
    name = take_positional(positional, "The name of a recipe", problems)
    overwrite = take_flag(options, "overwrite", problems)
    folder = take_value(options, "run", problems)
    file = take_value(options, "config", problems)
    if not name:
        raise UsageError(problems, "See `etude list`.")
    recipe = catalogue.load(name)
    try:
        content = read_file(Path(file)) if file else {}
    except UsageError as error:
        content, problems = {}, [*problems, str(error)]
    hint = f"All fields: etude train {name} --help"
    config = configure(recipe.configuration, content, options, problems, hint, OWN)
    _carry_out(recipe, config, Path(folder or f"runs/{name}"), overwrite=overwrite)


def train_help(name: str) -> None:
    """`etude train RECIPE --help`: all fields with their defaults."""
    recipe = catalogue.load(name)
    print(f"etude train {name}: {recipe.summary}\n")
    rows = [
        ("--run DIR", f"folder of the run (default: runs/{name})"),
        ("--overwrite", "replace the run in that folder"),
        ("--config FILE", "YAML file of fields; the command line goes before it"),
        *describe(recipe.configuration),
    ]
    _columns(rows)


def resume(arguments: Sequence[str]) -> None:
    """`etude resume RUN [--checkpoint NAME] [--changes allow] [--field.sub VALUE ...]`."""
    positional, options, problems = parse(arguments)
    run = take_positional(positional, "The folder of a run", problems)
    checkpoint = take_value(options, "checkpoint", problems)
    changes = take_value(options, "changes", problems) or "refuse"
    if changes not in CHANGES:
        problems.append(f"--changes takes 'allow'; got {changes!r}. {suggest(changes, CHANGES)}")
    _refuse(problems)
    recipe, config, root = reopen(Path(run), options, ("checkpoint", "changes"))
    at = None if checkpoint is None else (Path(run), checkpoint)
    _carry_out(recipe, config, root, resume=True, changes=changes, at=at)


def evaluate(arguments: Sequence[str]) -> None:
    """`etude evaluate RUN [--split NAME]`."""
    positional, options, problems = parse(arguments)
    run = take_positional(positional, "The folder of a run", problems)
    split = take_value(options, "split", problems) or "test"
    _refuse([*problems, *unknown(options, ["split"])])
    recipe, config, _ = reopen(Path(run))
    if split not in recipe.splits:
        raise UsageError([f"There is no split {split!r}. {suggest(split, recipe.splits)}"])
    table = recipe.evaluate(config, Path(run), split)
    print(f"{run}, {split} split")
    _show(table)


def detect(arguments: Sequence[str]) -> None:
    """`etude detect RUN H1 L1 [--out DIR] [--slides N]`, or `etude detect RUN GW150914`."""
    positional, options, problems = parse(arguments)
    event = positional[1:] == [EVENT]
    if len(positional) != 3 and not event:
        got = " ".join(map(repr, positional)) or "nothing"
        problems.append(
            f"A run comes first, then two files of strain, H1 and L1, or {EVENT}; got {got}."
        )
    folder = take_value(options, "out", problems)
    slides = take_value(options, "slides", problems) or "50"
    if not slides.isdecimal() or not int(slides):
        problems.append(f"--slides takes a number from 1; got {slides!r}.")
    _refuse([*problems, *unknown(options, ["out", "slides"])])
    run = Path(positional[0])
    recipe, config, _ = reopen(run)
    needed = ("sample_rate", "window", "band", "merger")
    lacking = [name for name in needed if name not in recipe.configuration.model_fields]
    if lacking:
        raise UsageError(
            [f"The recipe {recipe.name} trains no detector of gravitational waves: its "
             f"configuration lacks {', '.join(lacking)}."]
        )  # fmt: skip
    from etude.run import write_report
    from etude.systems.gravitational_waves.detect import Preparation, detect_files
    from etude.systems.gravitational_waves.downloads import gw150914

    first, second = gw150914().values() if event else map(Path, positional[1:])
    name = EVENT if event else first.stem
    preparation = Preparation(**{name: getattr(config, name) for name in needed})
    place = Path(folder) if folder else run / "detections" / name
    found = detect_files(
        recipe.load(config, run), first, second, place, preparation, slides=int(slides)
    )
    print(found.summary())
    print(f"{len(found.triggers)} triggers: {place / 'triggers.csv'}")
    print(f"Figure: {place / 'detection.png'}")
    if not folder:
        figures = run / "figures"
        figures.mkdir(exist_ok=True)
        shutil.copyfile(place / "detection.png", figures / f"detection-{name}.png")
        print(f"Report: {write_report(run)}")


def report(arguments: Sequence[str]) -> None:
    """`etude report RUN`."""
    positional, options, problems = parse(arguments)
    run = take_positional(positional, "The folder of a run", problems)
    _refuse([*problems, *unknown(options, [])])
    from etude.run import write_report

    print(write_report(Path(run)))


def info(arguments: Sequence[str]) -> None:
    """`etude info`."""
    _nothing_left(arguments)
    from etude.run.environment import environment

    found = environment(seed=0)
    rows = [("python", found["python"]), ("platform", found["platform"])]
    rows += list(found["versions"].items())
    rows += [("device", device) for device in found["devices"]]
    _columns([(str(name), str(value)) for name, value in rows])


def _carry_out(recipe: Any, config: Any, folder: Path, **how: Any) -> None:
    try:
        _show(recipe.carry_out(config, folder, **how))
    except KeyboardInterrupt as error:
        from etude.run.advice import way_on
        from etude.run.directory import is_run

        if str(error) or not is_run(folder):  # a trainer has said how to go on, or nobody can
            raise
        raise KeyboardInterrupt(f"Interrupted; go on with: {way_on(folder)}") from None


def _nothing_left(arguments: Sequence[str]) -> None:
    _refuse([f"This command takes no arguments; got {' '.join(arguments)}."] if arguments else [])


def _refuse(problems: Sequence[str]) -> None:
    if problems:
        raise UsageError(problems)


def _columns(rows: Sequence[tuple[str, str]]) -> None:
    width = max(len(name) for name, _ in rows)
    for name, text in rows:
        print(f"  {name:{width}}  {text}")


def _show(table: Any) -> None:
    rows = [table.head, *table.rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(f"{c:{w}}" for c, w in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
    lines.insert(1, "  ".join("-" * width for width in widths))
    print("\n".join(lines))
