"""What the recipes of Born machines do with a trained machine: class probabilities, samples."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32, Int
from pydantic import Field

import etude as et
from etude.export import Exportable, one_by_one
from etude.predictions import in_parts
from etude.systems.born_machine.data import Scaling
from etude.systems.born_machine.machine import BornMachine
from etude.systems.born_machine.plots import plot_pictures, plot_points
from etude.systems.born_machine.sampling import sample, sample_labels
from etude.table import Table
from etude.verbs import SampleOptions


class DrawOptions(SampleOptions, frozen=True):
    """What is drawn.

    >>> DrawOptions(label=3).label
    3
    """

    label: int | None = Field(
        None, ge=0, description="class of all samples, counted from 0; none: drawn from p(c)"
    )


def probabilities(
    machine: BornMachine, x: Float32[np.ndarray, "n sites"]
) -> Float[np.ndarray, "n classes"]:
    """p(c | x) of samples in the domain of the machine, some at a time."""
    return in_parts(machine.class_probabilities, x)


def exportable(
    machine: BornMachine, scaling: Scaling, shape: tuple[int, ...], classes: tuple[str, ...]
) -> Exportable:
    """p(c | x) and log p(x) of samples in the units of the data, which are scaled."""
    volume = scaling.log_volume

    def function(x: Array) -> dict[str, Array]:
        sites = scaling.traced(x.reshape(-1, machine.sites))
        return {
            "probabilities": machine.class_probabilities(sites),
            "log_density": machine.log_marginal(sites) + volume,
        }

    return Exportable(
        one_by_one(function),
        {"samples": jax.ShapeDtypeStruct(shape, jnp.float32)},
        "samples in the units of the data; those of pictures are intensities from 0 to 1",
        "probabilities: p(c|x) of the classes. log_density: log p(x) in nats, in these units; a "
        "machine that was trained as a classifier alone has not learnt it",
        "The function scales samples to the domain of the machine; what lies outside of the range "
        "of the training data goes to its edge.",
        classes,
    )


def drawn(
    machine: BornMachine, options: DrawOptions
) -> tuple[Float[Array, "n sites"], Int[np.ndarray, " n"]]:
    """Samples in the domain, and their classes.

    With a label they are `sample(machine, jax.random.key(seed), label, count)`. Without one, that
    key is split in two: the first gives the classes, by `sample_labels`, the second the samples.

    Raises `ConfigurationError` for a class that the machine does not have.
    """
    key, label = jax.random.key(options.seed), options.label
    if label is None:
        first, key = jax.random.split(key)
        labels = sample_labels(machine, first, options.count)
        return sample(machine, key, labels), np.asarray(labels)
    if label >= machine.classes:
        raise et.ConfigurationError(
            f"--label {label}: the machine has {machine.classes} classes, counted from 0. Give "
            f"one of 0 to {machine.classes - 1}, or leave it out."
        )
    return sample(machine, key, label, options.count), np.full(options.count, label)


def write_samples(
    samples: Float[np.ndarray, "n sites"],
    labels: Int[np.ndarray, " n"],
    shape: tuple[int, ...],
    classes: Sequence[str],
    folder: Path | None,
) -> Table:
    """Writes `samples.npy`, and `samples.png` if they can be shown; their classes as a table.

    Args:
        samples: samples in the units of the data.
        labels: the class of each sample.
        shape: shape of a sample; pictures have two axes, points of the plane two numbers.
        classes: names of the classes.
        folder: where the files go; None: only the table is made.
    """
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        shaped = np.asarray(samples, np.float32).reshape(-1, *shape)
        np.save(folder / "samples.npy", shaped)
        figure: Any = None
        if len(shape) == 2:
            figure = plot_pictures(shaped)
        elif shape == (2,):
            figure = plot_points(shaped, labels, classes)
        if figure is not None:
            figure.savefig(folder / "samples.png", dpi=110)
    rows = [(str(number), classes[int(label)]) for number, label in enumerate(labels)]
    return Table(("sample", "class"), tuple(rows))
