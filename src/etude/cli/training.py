"""`etude train` and `etude resume`. Heavy modules load inside."""

import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator

from etude.cli.commands import RECIPE
from etude.cli.configuring import read_file
from etude.cli.joining import ProcessOptions, join, speaks
from etude.cli.options import Line, words
from etude.cli.reading import Opened, one_value
from etude.cli.starting_again import goes_on, is_done, way_to_change
from etude.config import OutputFolder, near_match
from etude.errors import OtherSettingsError, UsageError

DEVICES = "devices that batches, or the trials of --population, are spread over; all: every one"


def _devices(value: Any) -> Any:
    count = int(value) if isinstance(value, int | str) and re.fullmatch(r"\d+", str(value)) else 0
    if value in (None, "all") or (count and not isinstance(value, bool)):
        return count or value
    raise ValueError(f"expected a number of devices, or 'all'{near_match(str(value), ['all'])}")


Devices = Annotated[int | Literal["all"] | None, BeforeValidator(_devices)]


class TrainOptions(ProcessOptions, frozen=True):
    """What `etude train` takes beside the fields of a recipe."""

    run: OutputFolder | None = Field(None, description="folder of the run, in place of runs/RECIPE")
    overwrite: bool = Field(False, description="replace the run in that folder")
    resume: Literal["auto"] | None = Field(
        None, description="auto: begin, or go on with the run in that folder; nothing if it is done"
    )
    config: Path | None = Field(
        None, description="YAML file of fields; the command line overrides it"
    )

    population: int | None = Field(
        None,
        ge=2,
        description="train so many seeds of each method side by side; in place of --repeats",
    )
    devices: Devices = Field(None, description=DEVICES)

    @field_validator("resume", mode="before")
    @classmethod
    def _auto(cls, value: Any) -> Any:
        if value not in (None, "auto"):
            raise ValueError(
                f"expected 'auto'{near_match(str(value), ['auto'])}, which begins or goes on by "
                "itself (from a particular checkpoint: etude resume RUN --checkpoint NAME)"
            )
        return value

    @field_validator("resume")
    @classmethod
    def _not_anew(cls, value: Any, info: Any) -> Any:
        if value is not None and info.data.get("overwrite"):
            raise ValueError("--overwrite would begin anew each time; give one of both")
        return value


class ResumeOptions(ProcessOptions, frozen=True):
    """What `etude resume` takes beside the fields of a recipe."""

    checkpoint: str | None = Field(
        None, min_length=1, description="go back to it, as step-500, and drop what came later"
    )
    changes: Literal["refuse", "allow"] = Field(
        "refuse", description="what becomes of settings that are other than the run's"
    )
    devices: Devices = Field(None, description=f"{DEVICES}; none: as before")
    recipe: str | None = Field(None, min_length=1, description=RECIPE)


def open_recipe(name: str, options: Mapping[str, Sequence[str]]) -> Opened:
    """The fields of a recipe, with the values of `--config`."""
    from etude.catalogue import find_recipe

    recipe = find_recipe(name)
    default = Path(f"runs/{name.replace(':', '/')}")
    file = one_value(options, "config")
    record, problems = {}, []
    try:
        record = read_file(Path(file)) if file else {}
    except UsageError as error:
        problems.append(str(error))

    def train(line: Line, own: TrainOptions, config: Any) -> None:
        several = own.population is not None
        if own.population is not None:
            config = _repeated(name, config, own.population, line)
        folder = own.run or default
        how: dict[str, Any] = {"overwrite": own.overwrite, "population": several}
        join(own)
        _agree_on(line)
        if own.resume is not None and _first_says(
            lambda: goes_on(recipe, config, folder, population=several)
        ):
            how = {"resume": True}  # the run knows whether its trials are trained side by side
            if speaks() and is_done(recipe, config, folder):
                print(f"The run in {folder} is finished: nothing is left to train.")
        try:
            _run(recipe, config, folder, devices=own.devices, **how)
        except OtherSettingsError as error:
            raise OtherSettingsError(error.told, way_to_change(folder, name, config)) from None
        except KeyboardInterrupt as error:
            if own.resume is None or str(error):
                raise
            raise KeyboardInterrupt("Interrupted early; the same command begins again.") from None

    return Opened(
        name,
        recipe.configuration,
        train,
        recipe.summary,
        example=f"--seed 1 --run {default}-1",
        record=record,
        problems=problems,
        hint=f"All fields: etude train {name} --help",
        about=recipe.about(),
    )


def open_to_resume(run: str, options: Mapping[str, Sequence[str]]) -> Opened:
    """The fields of the recipe that made a run, with the values that it recorded."""
    from etude.catalogue import open_run

    opened = open_run(Path(run), one_value(options, "recipe"))

    def resume(line: Line, own: ResumeOptions, config: Any) -> None:
        at = None if own.checkpoint is None else (Path(run), own.checkpoint)
        join(own)
        _agree_on(line)
        try:
            how = {"changes": own.changes, "at": at, "devices": own.devices}
            _run(opened.recipe, config, opened.root, resume=True, **how)
        except OtherSettingsError as error:
            allowed = shlex.join(words(line.inputs, {**line.options, "changes": ["allow"]}))
            raise OtherSettingsError(error.told, f"etude resume {allowed}") from None

    return Opened(
        run,
        opened.recipe.configuration,
        resume,
        f"go on with a run of {opened.recipe.name}: {opened.recipe.summary}",
        example="",
        record=opened.record,
        hint=f"The configuration is in {opened.root / 'config.yaml'}.",
    )


def _agree_on(line: Line) -> None:
    """Several processes are started with the same line, but for their numbers."""
    from etude.engine.processes import processes

    own = ("process_id", "coordinator")  # the first process may be called otherwise at home
    said = {f"--{name}": values for name, values in line.options.items() if name not in own}
    processes().all_agree({"inputs": line.inputs, **said})


def _first_says(decide: Callable[[], bool]) -> bool:
    """What the first of several processes decides, about files that it may be writing."""
    from etude.engine.processes import processes

    return processes().first_says(decide)


def _repeated(name: str, config: Any, count: int, line: Line) -> Any:
    """The configuration with so many seeds of each method."""
    kind = type(config)
    if "repeats" not in kind.model_fields:
        raise UsageError([f"--population: {name} has no field repeats, the number of its seeds."])
    if "repeats" in line.options:
        raise UsageError(["--population is the number of seeds, as --repeats is. Give one."])
    try:
        return kind.model_validate({**config.model_dump(), "repeats": count})
    except ValueError as error:
        raise UsageError([f"--population: {error}"]) from None


def _run(recipe: Any, config: Any, folder: Path, **how: Any) -> None:
    try:
        table = recipe.run(config, folder, **how)
        if speaks():
            print(table)
    except KeyboardInterrupt as error:
        from etude.run import way_on
        from etude.run.folder import is_run

        if str(error) or not is_run(folder):  # a trainer has said how to go on, or nobody can
            raise
        raise KeyboardInterrupt(f"Interrupted; go on with: {way_on(folder)}") from None
