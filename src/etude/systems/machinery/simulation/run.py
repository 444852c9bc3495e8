"""Many simulated recordings, in memory or kept in a file.

>>> from etude.systems.machinery.simulation.journal import JournalSimulation
>>> simulated = simulate(JournalSimulation(duration=0.5), per_class=2)
>>> simulated.records.signals.shape, simulated.records.classes[5]
((22, 10240), 'cavitation')
"""

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import etude as et
from etude.systems.machinery.records import Records
from etude.systems.machinery.simulation.drawing import Simulation
from etude.systems.machinery.simulation.traces import Traces
from etude.systems.machinery.splits import Groups

_REVISION = 1  # one more whenever a recording of the same settings becomes another


class Simulated(NamedTuple):
    """Simulated recordings, and what their faults leave in them."""

    records: Records
    traces: Traces


def simulate(
    simulation: Simulation,
    per_class: int,
    *,
    path: str | Path | None = None,
    progress: bool = False,
) -> Simulated:
    """As many recordings of each class.

    Args:
        simulation: a `JournalSimulation` or `RollingSimulation`.
        per_class: recordings of each class.
        path: HDF5 file in which they are kept, and from which they are read the next time; None:
            in memory only.
        progress: whether to show a bar on a terminal.

    Raises:
        DataError: fewer than one recording, or a file that holds another simulation.
    """
    if per_class < 1:
        raise et.DataError(f"simulate: got per_class={per_class}, expected 1 or more.")
    if path is None:
        return _draw(simulation, per_class, progress)
    file, wanted = Path(path), _fingerprint(simulation, per_class)
    if file.exists():
        return _read(file, wanted)
    simulated = _draw(simulation, per_class, progress)
    _write(file, simulated, wanted)
    return simulated


def _draw(simulation: Simulation, per_class: int, progress: bool) -> Simulated:
    from rich.console import Console
    from rich.progress import track

    count = per_class * len(simulation.classes)
    signals = np.empty((count, simulation.samples), np.float32)
    others: list[Any] = []
    console = Console(stderr=True)
    for index in track(range(count), "simulating", console=console, disable=not progress):
        signal, *rest = simulation.draw(index)
        signals[index] = signal
        others.append(rest)
    label, bearing, condition, known, energy, noise = zip(*others, strict=True)
    metadata = {name: np.array([one[name] for one in known], np.float32) for name in known[0]}
    groups = Groups.of(bearing, condition)
    records = Records(
        signals, simulation.sample_rate, np.array(label), simulation.classes, groups, metadata
    )
    return Simulated(records, Traces(np.stack(energy), np.array(noise), simulation.block))


def _fingerprint(simulation: Any, per_class: int) -> str:
    settings = {"simulation": type(simulation).__name__, **asdict(simulation)}
    return json.dumps({**settings, "per_class": per_class, "revision": _REVISION}, sort_keys=True)


def _write(path: Path, simulated: Simulated, fingerprint: str) -> None:
    """There whole or not at all."""
    h5py = _h5py(path)
    records, traces = simulated
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(path.name + ".unfinished")
    with h5py.File(unfinished, "w") as file:
        file.attrs.update(fingerprint=fingerprint, sample_rate=records.sample_rate)
        file.attrs.update(classes=list(records.classes), block=traces.block)
        file["signals"], file["labels"] = records.signals, records.labels
        file["bearing"], file["condition"] = records.groups.bearing, records.groups.condition
        file["energy"], file["noise"] = traces.energy, traces.noise
        for name, values in records.metadata.items():
            file[f"metadata/{name}"] = values
    os.replace(unfinished, path)


def _read(path: Path, wanted: str) -> Simulated:
    h5py = _h5py(path)
    file: Any  # what is in a file is known when it is read, not by h5py's types
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise et.DataError(
            f"{path} cannot be read as HDF5 ({error}). Delete it, and it is simulated again."
        ) from error
    with file:
        found = json.loads(file.attrs.get("fingerprint", "{}"))
        asked = json.loads(wanted)
        other = [name for name in asked if found.get(name) != asked[name]]
        if other:
            lines = "; ".join(f"{n}: got {found.get(n)}, expected {asked[n]}" for n in other)
            raise et.DataError(
                f"{path} holds another simulation ({lines}). Delete it, or name another file."
            )
        metadata = {name: values[()] for name, values in file["metadata"].items()}
        records = Records(
            file["signals"][()],
            float(file.attrs["sample_rate"]),
            file["labels"][()],
            tuple(file.attrs["classes"]),
            Groups.of(file["bearing"][()], file["condition"][()]),
            metadata,
        )
        traces = Traces(file["energy"][()], file["noise"][()], int(file.attrs["block"]))
    return Simulated(records, traces)


def _h5py(path: Path) -> Any:
    try:
        import h5py
    except ImportError as error:
        raise et.DataError(
            f"{path} is kept by h5py, which is not installed: pip install 'etude[machinery]'."
        ) from error
    return h5py
