"""`etude detect RUN H1 L1`: the form of `predict` of the recipes that train a detector.

Heavy modules load inside.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from etude.errors import ConfigurationError
from etude.table import Table
from etude.verbs import Command, PredictOptions, Verb

if TYPE_CHECKING:
    from etude.systems.gravitational_waves.detect import Detection

#: Whose strain is fetched when it is asked for by name.
EVENT = "GW150914"
INPUTS = f"(H1_FILE L1_FILE | {EVENT})"


class SearchOptions(PredictOptions, frozen=True):
    """How strain is searched."""

    slides: int = Field(50, ge=1, description="time slides for the background, at most")


class DetectOptions(SearchOptions, frozen=True):
    """How the strain is searched, and with which run."""

    recipe: str | None = Field(None, description="recipe of the run, where it is not installed")


def search(model: Any, config: Any, inputs: Sequence[str], options: SearchOptions) -> Table:
    """The triggers in the strain of two detectors, the loudest first.

    Raises `ConfigurationError` for anything but two files or the event, `DataError` as
    `detect_files`.
    """
    _, files = _strain(inputs)
    return _found(model, config, files, options.out, options).table()


def detect(inputs: Sequence[str], options: DetectOptions) -> None:
    """Searches strain with the network of a run, and adds the figure to its report.

    Raises `ConfigurationError` for other inputs or a run that is no detector's, `DataError` as
    `detect_files`.
    """
    from etude.catalogue import open_run
    from etude.run import write_report

    if not inputs:
        raise ConfigurationError(f"A run comes first, then {INPUTS}; got nothing.")
    name, files = _strain(inputs[1:])
    run = open_run(Path(inputs[0]), options.recipe)
    config = run.configuration()
    folder = options.out or run.folder / "detections" / name
    found = _found(run.recipe.load(config, run.folder), config, files, folder, options)
    print(found.summary())
    print(f"{len(found.triggers)} triggers: {folder / 'triggers.csv'}")
    print(f"Figure: {folder / 'detection.png'}")
    if options.out is None:
        figures = run.folder / "figures"
        figures.mkdir(exist_ok=True)
        shutil.copyfile(folder / "detection.png", figures / f"detection-{name}.png")
        print(f"Report: {write_report(run.folder)}")


def _strain(inputs: Sequence[str]) -> tuple[str, tuple[Path, Path]]:
    """The name of what is searched, and its two files."""
    if list(inputs) == [EVENT]:
        from etude.systems.gravitational_waves.downloads import gw150914

        first, second = gw150914().values()
        return EVENT, (first, second)
    if len(inputs) != 2:
        got = " ".join(map(repr, inputs)) or "nothing"
        raise ConfigurationError(
            f"Two files of strain are searched, H1 and L1, or the event {EVENT}; got {got}."
        )
    return Path(inputs[0]).stem, (Path(inputs[0]), Path(inputs[1]))


def _found(
    model: Any, config: Any, files: tuple[Path, Path], folder: Path | None, options: SearchOptions
) -> "Detection":
    from etude.systems.gravitational_waves.detect import Preparation, detect_files

    needed = ("sample_rate", "window", "band", "merger")
    lacking = [name for name in needed if name not in type(config).model_fields]
    if lacking:
        raise ConfigurationError(
            "The recipe of this run trains no detector of gravitational waves: its configuration "
            f"lacks {', '.join(lacking)}."
        )
    preparation = Preparation(**{name: getattr(config, name) for name in needed})
    return detect_files(model, *files, folder, preparation, slides=options.slides)


search_verb = Verb("search strain of two detectors for signals", INPUTS, SearchOptions, search)
detect_command = Command(
    "search strain of two detectors for signals with the network of a run",
    f"RUN {INPUTS}",
    DetectOptions,
    detect,
    f"runs/demo {EVENT} --slides 20",
)
