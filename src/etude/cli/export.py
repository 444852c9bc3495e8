"""`etude export RUN`: the model of a run as files for others. Heavy modules load inside."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, Field

from etude.cli.commands import RECIPE
from etude.cli.outputs import refuse_unwritable
from etude.cli.reopen import reopen
from etude.config import Config, OutputFolder
from etude.errors import ConfigurationError, RunError, UsageError

if TYPE_CHECKING:
    from etude.catalogue import TrainedRun

#: That of `etude.export`, which imports JAX.
Platform = Literal["cpu", "cuda", "rocm", "tpu"]
Format = Literal["safetensors", "stablehlo"]


def _separated(values: Any) -> Any:
    """Also `cpu,cuda`, as one word."""
    if isinstance(values, str):
        values = [values]
    if isinstance(values, list):
        return [part for one in values for part in (one.split(",") if "," in str(one) else [one])]
    return values


class ExportOptions(Config, frozen=True):
    """Options of `etude export`."""

    format: Annotated[tuple[Format, ...], BeforeValidator(_separated)] = Field(
        ("safetensors",),
        description="safetensors: an archive of the weights; stablehlo: a function to deploy",
    )
    platforms: Annotated[tuple[Platform, ...] | None, BeforeValidator(_separated)] = Field(
        None, min_length=1, description="where the function shall run; none: cpu cuda"
    )
    out: OutputFolder | None = Field(
        None, description="folder of the files, in place of RUN/export"
    )
    overwrite: bool = Field(False, description="replace an export that the folder holds")
    recipe: str | None = Field(None, min_length=1, description=RECIPE)


def export(inputs: Sequence[str], options: ExportOptions) -> None:
    """`etude export RUN`."""
    run = Path(inputs[0])
    if not options.format:
        raise UsageError(
            [f"--format takes one or both of {', '.join(get_args(Format))}; got none."]
        )
    if options.platforms is not None and "stablehlo" not in options.format:
        raise UsageError(
            ["--platforms is for --format stablehlo: weights alone run nowhere. Leave it out."]
        )
    opened, config = reopen(run, options.recipe)
    recipe, trial = opened.recipe, opened.recipe.trial_of(config, run)
    _refuse_unfinished(opened)
    if "stablehlo" in options.format and recipe.export is None:
        raise ConfigurationError(
            f"The recipe {recipe.name} does not say what is deployed of its model, so there is no "
            "--format stablehlo. --format safetensors archives the weights."
        )
    from etude.export.card import ARCHIVE, CARD, DEPLOYED, DESCRIPTION, Card
    from etude.export.extra import needed
    from etude.export.stablehlo import write_stablehlo
    from etude.export.weights import save_weights
    from etude.run.whole_file import write_whole

    for library, name in (("safetensors", "safetensors"), ("flatbuffers", "stablehlo")):
        if name in options.format:
            needed(library, f"--format {name}")
    folder = options.out or run / "export"
    ours = [folder / name for name in (ARCHIVE, DEPLOYED, DESCRIPTION, CARD)]
    _prepare(folder, ours, overwrite=options.overwrite)
    model, own = trial.load(run), trial.config or config
    exportable = None
    if "stablehlo" in options.format:
        assert recipe.export is not None  # refused above
        exportable = recipe.export(model, own, trial)
    origin = {
        "recipe": recipe.name,
        "trial": trial.name,
        "configuration": config.model_dump(mode="json"),
    }
    said = None
    if exportable is not None:
        said = write_stablehlo(
            exportable,
            folder / DEPLOYED,
            platforms=options.platforms or ("cpu", "cuda"),
            about=origin,
        )
    if "safetensors" in options.format:
        about = {name: x if isinstance(x, str) else json.dumps(x) for name, x in origin.items()}
        save_weights(model, folder / ARCHIVE, about=about)
    table = recipe.table(recipe.results(config, opened.root))
    card = Card(
        f"{recipe.name}: {trial.method}, seed {trial.seed}",
        recipe.summary,
        _facts(opened),
        table.head,
        table.rows,
        _own(opened),
        recipe.about(),
        archive="safetensors" in options.format,
        recipe=recipe.name if ":" in recipe.name else None,
        deployed=said,
        configuration=config.model_dump(mode="json"),
        citations=recipe.citations,
    )
    write_whole(folder / CARD, card.text().encode())
    kept = [*((folder / ARCHIVE,) if "safetensors" in options.format else ()), folder / CARD]
    kept += [folder / DEPLOYED, folder / DESCRIPTION] if said is not None else []
    for path in ours:
        if path in kept:
            print(path)
        else:
            path.unlink(missing_ok=True)  # of an export that this one replaces


def _refuse_unfinished(opened: "TrainedRun") -> None:
    """Raises `RunError` unless the training is finished with the configuration of the run."""
    from etude.run import Run, Status, way_on
    from etude.run.trials import is_trained

    recorded = Run.open(opened.root, lock=False).config["configuration"]
    if is_trained(opened.folder, recorded):
        return
    status = Status.read(opened.folder)
    state = "not finished" if status is None else status.state
    raise RunError(
        f"The training in {opened.folder} is {state}, and an export is of a finished one; go on "
        f"with: {way_on(opened.root)}"
    )


def _prepare(folder: Path, files: Sequence[Path], *, overwrite: bool) -> None:
    """Makes the folder. Raises an error if it cannot be written, or holds one of the files.

    Also with `overwrite`, if one is of something else: a folder of one's own has a README.md.
    """
    from etude.export.card import MARKS

    there = [path for path in files if path.exists()]
    for path in there:
        mark = MARKS.get(path.name)
        if mark is not None and mark.encode() not in path.read_bytes():
            raise RunError(
                f"{path} is not of an export, and would be replaced: give another folder (--out)."
            )
    if there and not overwrite:
        raise RunError(
            f"{there[0]} exists already: give another folder (--out), or replace what was exported "
            "(--overwrite)."
        )
    refuse_unwritable(folder)
    folder.mkdir(parents=True, exist_ok=True)


def _facts(opened: "TrainedRun") -> list[tuple[str, str]]:
    """Where the model comes from."""
    from etude.run import Run, Status
    from etude.run.trials import progress

    run, status = Run.open(opened.folder, lock=False), Status.read(opened.folder)
    trials = progress(opened.root)
    found = run.environment
    versions = found.get("versions", {})
    return [
        ("recipe", f"`{opened.recipe.name}`"),
        ("begun", str(found.get("created", "unknown"))),
        *([("finished", f"{status.when}, {status.steps} steps")] if status is not None else []),
        *([("trials", trials)] if trials is not None else []),
        ("devices", ", ".join(found.get("devices", ["unknown"]))),
        ("versions", ", ".join(f"{name} {number}" for name, number in versions.items())),
    ]


def _own(opened: "TrainedRun") -> dict[str, float]:
    """The measures of this model that the table has as columns."""
    from etude.run import Status

    status = Status.read(opened.folder)
    found = {} if status is None else status.results.get("test", {})
    wanted = opened.recipe.columns.values()
    return {name: value for name, value in found.items() if name in wanted}
