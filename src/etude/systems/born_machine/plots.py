"""Figures of Born machines. Matplotlib is imported when a figure is drawn.

Every function returns a `matplotlib.figure.Figure` that belongs to no window; save it with
`figure.savefig(...)`.
"""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from etude.systems.born_machine.data import DataHandler

if TYPE_CHECKING:
    from matplotlib.figure import Figure
else:
    Figure = Any


SHOWN = 300  # points of each class in a heat map


def plot_samples(
    samples: Sequence[Array | np.ndarray], datahandler: DataHandler, shown: int = 500
) -> Figure:
    """Samples beside as many test samples, in raw coordinates; pictures as rows of classes.

    Args:
        samples: samples of each class, in the domain of the embedding.
        datahandler: the data that the samples imitate.
        shown: how many points of each class are drawn in the plane, at most.
    """
    from matplotlib.figure import Figure

    inverse = datahandler.scaling.inverse
    drawn = [inverse(np.asarray(points)) for points in samples]
    real = [inverse(datahandler.of_class("test", c)) for c in range(datahandler.classes)]
    figure = Figure(figsize=(9, 4.2), layout="constrained")
    panels = zip(figure.subplots(1, 2), ("data", "samples"), (real, drawn), strict=True)
    for axes, title, groups in panels:
        axes.set(title=title, xticks=[], yticks=[])
        if len(datahandler.shape) == 2:
            axes.imshow(_mosaic(groups, datahandler.shape), cmap="gray_r")
            continue
        for label, points in enumerate(groups):
            axes.scatter(*points[:shown, :2].T, s=4, label=str(label))
        axes.set_aspect("equal")
        axes.legend(title="class", fontsize="small")
    return figure


def plot_pictures(pictures: Float[np.ndarray, "n height width"], shown: int = 400) -> Figure:
    """The first `shown` pictures, row by row in a grid that is about square.

    >>> plot_pictures(np.zeros((5, 4, 4))).axes[0].images[0].get_array().shape
    (8, 12)
    """
    from matplotlib.figure import Figure

    pictures = pictures[:shown]
    columns = math.ceil(math.sqrt(len(pictures)))
    rows = [pictures[k : k + columns] for k in range(0, len(pictures), columns)]
    mosaic = _mosaic(rows, pictures.shape[1:], columns)
    size = 6 / max(mosaic.shape)
    figure = Figure(figsize=(mosaic.shape[1] * size, mosaic.shape[0] * size))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.imshow(mosaic, cmap="gray_r", vmin=0, vmax=1)
    return figure


def plot_points(
    points: Float[np.ndarray, "n 2"], labels: Int[np.ndarray, " n"], classes: Sequence[str]
) -> Figure:
    """Points of the plane, a colour for each class that there is.

    >>> len(plot_points(np.eye(2), np.array([0, 1]), ("a", "b")).axes[0].collections)
    2
    """
    figure, axes = _figure("$x_1$", "$x_2$", "Samples")
    for label in np.unique(labels):
        axes.scatter(*points[labels == label].T, s=6, label=classes[label], color=f"C{label}")
    axes.set_aspect("equal")
    axes.legend(title="class", fontsize="small")
    return figure


def plot_densities(
    machine: Any,
    datahandler: DataHandler,
    samples: Sequence[Array | np.ndarray] = (),
    points: int = 120,
) -> Figure:
    """p(x|c) of each class over the plane, in the coordinates of the domain, with test samples.

    A last panel has p(x) and, if there are any, samples of the machine.

    Args:
        machine: a model of two sites with `log_weights` and `class_log_partition`.
        datahandler: the data that the machine has learned.
        samples: samples of each class, in the domain; empty: none are drawn.
        points: number of points of the grid along each axis.

    Raises:
        ValueError: data that are not in the plane.
    """
    from matplotlib.figure import Figure

    if datahandler.sites != 2:
        raise ValueError(
            f"plot_densities: the data have {datahandler.sites} sites; a density is drawn for "
            "two. Use plot_samples."
        )
    _, log_densities = density_grid(machine, datahandler.domain, points)
    weights = log_densities + _log_priors(machine)
    panels = [*np.exp(log_densities.T), np.exp(weights).sum(axis=1)]
    titles = [f"$p(x\\mid {label})$" for label in range(len(panels) - 1)] + ["$p(x)$"]
    figure = Figure(figsize=(3.4 * len(panels), 3.4), layout="constrained")
    shown = [datahandler.of_class("test", c)[:SHOWN] for c in range(datahandler.classes)]
    drawn = [np.asarray(points)[:SHOWN] for points in samples]
    shown.append(np.concatenate(drawn) if drawn else shown[0][:0])
    ends = (*datahandler.domain, *datahandler.domain)
    for axes, panel, title, marks in zip(
        figure.subplots(1, len(panels)), panels, titles, shown, strict=True
    ):
        image = panel.reshape(points, points).T
        axes.imshow(image, origin="lower", extent=ends, cmap="viridis", vmin=0)
        axes.scatter(*np.asarray(marks).T, s=1.5, color="white", alpha=0.6)
        axes.set(title=title, xticks=[], yticks=[], xlim=ends[:2], ylim=ends[2:])
    return figure


def density_grid(
    machine: Any, domain: tuple[float, float], points: int
) -> tuple[Float[np.ndarray, " points"], Float[np.ndarray, "grid classes"]]:
    """The middles of `points` equal intervals, and log p(x|c) on their grid (x_1 slowest)."""
    low, high = domain
    axis = low + (high - low) * (np.arange(points) + 0.5) / points
    grid = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 2)
    weights = machine.log_weights(jnp.asarray(grid, jnp.float32))
    return axis, np.asarray(weights - machine.class_log_partition(), float)


def plot_entanglement(entropies: Float[np.ndarray | Array, " bonds"], bond_dim: int) -> Figure:
    """Entanglement entropy of every bond, with the most that the bond dimension allows.

    >>> len(plot_entanglement(np.zeros(5), bond_dim=4).axes[0].lines)
    2
    """
    figure, axes = _figure("bond", "entropy, nats", "Entanglement")
    axes.plot(np.arange(1, len(entropies) + 1), np.asarray(entropies), marker=".")
    axes.axhline(np.log(bond_dim), color="gray", linestyle=":", label=f"log {bond_dim}")
    axes.set_ylim(bottom=0)
    axes.legend()
    return figure


def plot_likelihoods(
    curves: Mapping[str, Mapping[int, float]], floor: float | None = None
) -> Figure:
    """-log p in nats against the bond dimension, a curve for each method.

    Args:
        curves: for each method, nats by bond dimension.
        floor: the least that is possible, such as an entropy.

    >>> figure = plot_likelihoods({"sweep": {10: 94.0, 30: 66.0}}, floor=6.9)
    >>> figure.axes[0].get_xscale()
    'log'
    """
    figure, axes = _figure("bond dimension $D$", "$-\\log p$, nats", "Likelihood")
    for name, curve in curves.items():
        dims = sorted(curve)
        axes.plot(dims, [curve[dim] for dim in dims], marker="o", label=name)
    if floor is not None:
        axes.axhline(floor, color="gray", linestyle=":", label="least possible")
    axes.set_xscale("log")
    dims = sorted({dim for curve in curves.values() for dim in curve})
    axes.set_xticks(dims, [str(dim) for dim in dims])
    axes.set_xticks([], minor=True)
    axes.legend()
    return figure


def _log_priors(machine: Any) -> np.ndarray:
    """log p(c)."""
    partition = np.asarray(machine.class_log_partition(), float)
    return partition - np.logaddexp.reduce(partition)


def _mosaic(groups: Sequence[np.ndarray], shape: tuple[int, ...], columns: int = 10) -> np.ndarray:
    """Pictures in a grid, a row for each class; blank where there are fewer."""
    height, width = shape
    rows = np.zeros((len(groups), columns, height, width))
    for row, pictures in zip(rows, groups, strict=True):
        row[: len(pictures)] = pictures[:columns].reshape(-1, height, width)
    return rows.swapaxes(1, 2).reshape(len(groups) * height, columns * width)


def _figure(xlabel: str, ylabel: str, title: str) -> tuple[Figure, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    axes.set(xlabel=xlabel, ylabel=ylabel, title=title)
    return figure, axes
