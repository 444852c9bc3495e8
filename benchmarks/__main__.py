"""`python -m benchmarks [NAME ...] [--quick] [--out FILE]`; the names are those of `REPORTS`."""

import argparse
import platform
from collections.abc import Callable
from pathlib import Path

import jax

from benchmarks import (
    attractor,
    augmentation,
    born,
    checkpoints,
    convolutions,
    costs,
    disk,
    generative,
    growth,
    history,
    layers,
    loggers,
    loops,
    machinery,
    memory,
    mesh,
    orders,
    population,
    reading,
    scaling,
    spikes,
    start,
    waveforms,
)

REPORTS: dict[str, Callable[[bool], str]] = {
    "loops": loops.report,
    "orders": orders.report,
    "convolutions": convolutions.report,
    "start": start.report,
    "memory": memory.report,
    "growth": growth.report,
    "reading": reading.report,
    "disk": disk.report,
    "augmentation": augmentation.report,
    "checkpoints": checkpoints.report,
    "history": history.report,
    "loggers": loggers.report,
    "attractor": attractor.report,
    "spikes": spikes.report,
    "waveforms": waveforms.report,
    "born": born.report,
    "machinery": machinery.report,
    "generative": generative.report,
    "population": population.report,
    "members": population.over_devices,
    "mesh": mesh.report,
    "layers": layers.report,
    "scaling": scaling.report,
    "costs": costs.report,
}


def main() -> None:
    """Prints the tables as they are done, and writes them to a file if asked."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", help=f"of {', '.join(REPORTS)}; all by default")
    parser.add_argument("--quick", action="store_true", help="few rounds: does it run at all?")
    parser.add_argument("--out", type=Path, help="write the tables to this file, too")
    options = parser.parse_args()
    unknown = [name for name in options.names if name not in REPORTS]
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}; known: {', '.join(REPORTS)}")
    head = (
        "# Benchmarks\n\nRatios from one run; times on other machines differ, ratios much less. "
        f"JAX {jax.__version__} on {jax.default_backend()}, Python {platform.python_version()}.\n"
    )
    parts = [head]
    print(head)
    for name in options.names or REPORTS:
        parts.append(REPORTS[name](options.quick))
        print(parts[-1], flush=True)
    if options.out:
        options.out.write_text("\n".join(parts))


if __name__ == "__main__":
    main()
