"""`etude predict RUN FILE... --speed 25`: the rule and the network on recordings from files."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

import etude as et
from etude.predictions import FILES
from etude.systems.machinery.bearings import Orders, bearing
from etude.systems.machinery.diagnosis import Diagnosis, Trained, diagnose
from etude.systems.machinery.plots import plot_envelope_spectrum
from etude.systems.machinery.reading import read_recording
from etude.table import Table
from etude.verbs import PredictOptions, Verb


class DiagnoseOptions(PredictOptions, frozen=True):
    """What a file does not say of its recording.

    >>> DiagnoseOptions(speed=25.0).speed
    25.0
    """

    rate: float | None = Field(None, gt=0, description="sample rate in Hz, where no file says it")
    speed: float | None = Field(None, gt=0, description="of the shaft in Hz; overrides the file's")
    bearing: str | None = Field(
        None,
        description="name in the catalogue, or its FTF,BPFO,BPFI,BSF per turn; none: the file's, "
        "else that of the training",
    )
    channel: str | None = Field(None, description="which, where a file has several")


def diagnosis_verb(trained_of: Callable[[Any], Trained]) -> Verb:
    """The verb of a recipe whose networks see windows; `trained_of(config)` says which."""

    def predict(model: Any, config: Any, inputs: Sequence[str], options: DiagnoseOptions) -> Table:
        return diagnosed(model, trained_of(config), inputs, options)

    return Verb(
        "what the envelope rule and the network say of recordings, as a whole and by windows; "
        "--out adds the envelope spectrum of each",
        FILES,
        DiagnoseOptions,
        predict,
    )


def diagnosed(
    network: Any, trained: Trained, inputs: Sequence[str], options: DiagnoseOptions
) -> Table:
    """Rows for each recording: the rule (dB), the network (probabilities), each of its windows.

    Raises `DataError` for two files of one name where figures are drawn, a bearing that nobody
    knows, and what `read_recording` and `diagnose` raise.
    """
    names = [Path(name).stem for name in inputs]
    if options.out is not None and len(set(names)) < len(names):
        raise et.DataError(
            "Two files have the same name, and so would their figures. Give them one by one."
        )
    rows: list[tuple[str, ...]] = []
    for path, name in zip(inputs, names, strict=True):
        recording = read_recording(
            path, sample_rate=options.rate, speed=options.speed, channel=options.channel
        )
        given = _orders(options.bearing) or recording.orders
        orders = given or trained.orders
        found = diagnose(network, trained, recording, orders)
        rows += _rows(Path(path).name, trained.classes, found, assumed=given is None)
        if options.out is not None and recording.speed is not None:
            options.out.mkdir(parents=True, exist_ok=True)
            # A dollar sign would begin a formula.
            title = f"{Path(path).name}: {found.said} by the envelope rule".replace("$", r"\$")
            figure = plot_envelope_spectrum(found.spectrum, recording.speed, orders, title=title)
            figure.savefig(options.out / f"{name}.png", dpi=110)
    return Table(("input", "by", "says", *trained.classes), tuple(rows))


def _orders(text: str | None) -> Orders | None:
    """The orders that an option names or lists."""
    if text is None:
        return None
    if "," not in text:
        return bearing(text).orders
    try:
        ftf, bpfo, bpfi, bsf = map(float, text.split(","))
    except ValueError:
        raise et.DataError(
            f"--bearing is a name, or FTF,BPFO,BPFI,BSF per turn of the shaft; got {text!r}."
        ) from None
    return Orders(ftf, bpfo, bpfi, bsf)


def _rows(
    name: str, classes: tuple[str, ...], found: Diagnosis, *, assumed: bool
) -> list[tuple[str, ...]]:
    # Nobody said which bearing it is: lines were sought where those of another may lie.
    where = "envelope rule, bearing assumed" if assumed else "envelope rule"
    rule = (name, where, found.said, "", *(f"{level:.1f} dB" for level in found.levels))
    who = "network" if found.known else "network of another bearing"
    votes = [(who, found.windows.mean(axis=0))]
    for number, row in enumerate(found.windows):
        votes.append((f"{number * found.duration:.3f} s", row))
    return [
        rule,
        *(
            (name, by, classes[int(row.argmax())], *(f"{value:.4f}" for value in row))
            for by, row in votes
        ),
    ]
