"""Commands on a run, and about the installation. Heavy modules load inside those that need them."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from etude.cli.columns import columns, numbers
from etude.cli.outputs import refuse_unwritable
from etude.cli.reopen import reopen
from etude.config import Config, OutputFile
from etude.errors import UsageError

if TYPE_CHECKING:
    from etude.run import History, Status

#: What the option `recipe` means, of each command that opens a run.
RECIPE = "recipe of the run, where no installed package offers it"


class EvaluateOptions(Config, frozen=True):
    """Options of `etude evaluate`."""

    split: str = Field("test", description="which data the models are measured on")
    recipe: str | None = Field(None, min_length=1, description=RECIPE)


class HistoryOptions(Config, frozen=True):
    """Options of `etude history`."""

    csv: OutputFile | None = Field(
        None, description="file for every step and validation, which is replaced"
    )


def evaluate(inputs: Sequence[str], options: EvaluateOptions) -> None:
    """`etude evaluate RUN`."""
    run, split = inputs[0], options.split
    opened, config = reopen(Path(run), options.recipe)
    recipe = opened.recipe
    said: list[str] = []
    table = recipe.evaluate(config, Path(run), split, say=said.append)
    print("\n".join([f"{run}, {split} split", *said, str(table)]))


def history(inputs: Sequence[str], options: HistoryOptions) -> None:
    """`etude history RUN`."""
    run, file = Path(inputs[0]), options.csv
    if file and file.exists() and run.resolve() in file.resolve().parents:
        raise UsageError([f"--csv {file} would replace a file of the run. Give it another name."])
    if file == Path("-"):
        raise UsageError(["--csv takes the name of a file; got '-', which is none."])
    if file:
        refuse_unwritable(file.parent, "csv")
    from etude.run import History, Status
    from etude.run.trials import progress

    found, status = History.open(run), Status.read(run)
    stands = _stands(run, status, found) if status else f"{len(found)} records"
    trials = progress(run)
    if trials:
        print(f"{inputs[0]}: {trials}")
    print(f"{'the first trial' if trials else inputs[0]}: {stands}")
    head = ("metric", "last", "lowest", "highest", "count")
    rows = [
        (one.name, *(f"{x:.5g}" for x in (one.last, one.lowest, one.highest)), str(one.count))
        for one in found.summary()
    ]
    print(numbers([head, *rows]))
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


def info(inputs: Sequence[str], options: Config) -> None:
    """`etude info`."""
    from etude.run.environment import environment

    found = environment(seed=0)
    rows = [("python", found["python"]), ("platform", found["platform"])]
    rows += list(found["versions"].items())
    rows += [("device", device) for device in found["devices"]]
    print(columns([(str(name), str(value)) for name, value in rows]))
