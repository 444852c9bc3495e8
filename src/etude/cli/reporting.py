"""`etude report RUN...`: the page of a run, or one that compares several."""

from collections.abc import Sequence
from pathlib import Path

from pydantic import Field

from etude.cli.outputs import refuse_unwritable
from etude.config import Config, OutputFile
from etude.errors import RunError, UsageError

#: What the page of a comparison is called, in the working directory.
COMPARISON = Path("comparison.html")


class ReportOptions(Config, frozen=True):
    """Options of `etude report`."""

    out: OutputFile | None = Field(
        None, description="page that compares several runs, in place of comparison.html"
    )
    overwrite: bool = Field(False, description="replace the page that is there")


def report(inputs: Sequence[str], options: ReportOptions) -> None:
    """`etude report RUN...`."""
    if not inputs or not all(inputs):
        raise UsageError(["The folder of a run comes first, and more may follow; got nothing."])
    runs = [Path(name) for name in inputs]
    if len(runs) == 1:
        if options.model_fields_set:
            raise UsageError(
                ["--out and --overwrite are for several runs: one run has its page in its folder."]
            )
        if (runs[0] / "search.yaml").is_file():
            from etude.search import write_report
        else:
            from etude.run import write_report

        print(write_report(runs[0]))
        return
    places = [run.resolve() for run in runs]
    twice = [str(run) for run, place in zip(runs, places, strict=True) if places.count(place) > 1]
    if twice:
        raise UsageError([f"These are one run: {', '.join(twice)}. Name each run once."])
    from etude.run.comparison import write_comparison

    page = options.out or COMPARISON
    if page.exists() and not options.overwrite:
        raise RunError(
            f"{page} exists already: give another file (--out), or replace it (--overwrite)."
        )
    refuse_unwritable(page.parent)
    print(write_comparison(runs, page))
