"""Figures of recordings. Matplotlib is imported when a figure is drawn.

Every function returns a `matplotlib.figure.Figure` that belongs to no window; save it with
``figure.savefig(...)``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from etude.systems.machinery.bearings import CHARACTERISTIC, Orders
from etude.systems.machinery.signals import Spectrum

if TYPE_CHECKING:
    from matplotlib.figure import Figure
else:
    Figure = Any


def plot_envelope_spectrum(
    spectrum: Spectrum,
    speed: float,
    orders: Orders,
    *,
    harmonics: int = 3,
    title: str = "Envelope spectrum",
) -> Figure:
    """The spectrum of a squared envelope, with the shaft and the characteristic frequencies.

    Args:
        spectrum: as `squared_envelope_spectrum` gives it, of one signal.
        speed: Hz, of the shaft.
        orders: of the bearing.
        harmonics: multiples of each frequency that are marked; those of the cage, once.
        title: of the figure.

    >>> from etude.systems.machinery import BEARINGS, squared_envelope_spectrum
    >>> noise = np.random.default_rng(0).normal(size=8192)
    >>> spectrum = squared_envelope_spectrum(noise, 8192.0)
    >>> figure = plot_envelope_spectrum(spectrum, 25.0, BEARINGS["NICE"].orders)
    >>> figure.axes[0].get_xlabel()
    'frequency / Hz'
    """
    figure, axes = _figure("frequency / Hz", "amplitude of the squared envelope", title)
    lines = {"shaft": speed} | {
        name: order * speed for name, order in zip(CHARACTERISTIC, orders, strict=True)
    }
    top = max(lines.values()) * (harmonics + 0.5)
    shown = (spectrum.frequencies > 0) & (spectrum.frequencies <= top)
    amplitudes = np.asarray(spectrum.amplitudes)
    axes.plot(spectrum.frequencies[shown], amplitudes[shown], lw=0.7, color="0.25")
    for number, (name, frequency) in enumerate(lines.items()):
        for k in range(1, 2 if name == "FTF" else harmonics + 1):
            label = f"{name}, {frequency:.1f} Hz" if k == 1 else None
            axes.axvline(k * frequency, color=f"C{number}", ls="--", lw=1, alpha=0.7, label=label)
    axes.set(xlim=(0, top), ylim=(0, None))
    axes.legend(fontsize="small", loc="upper right")
    return figure


def plot_accuracy(
    curves: Mapping[str, tuple[Sequence[Any], Float[np.ndarray, "points seeds"]]],
    xlabel: str,
    title: str,
) -> Figure:
    """Accuracies against numbers or names: mean over the seeds, and their standard deviation.

    >>> figure = plot_accuracy({"mine": ([1, 2], np.array([[0.5, 0.7], [0.9, 0.9]]))}, "n", "")
    >>> figure.axes[0].get_ylabel()
    'accuracy'
    """
    figure, axes = _figure(xlabel, "accuracy", title)
    for name, (x, values) in curves.items():
        spread = values.std(axis=1, ddof=1) if values.shape[1] > 1 else None
        axes.errorbar(x, values.mean(axis=1), spread, marker="o", ms=4, capsize=2, label=name)
    axes.set(ylim=(0, 1.03))
    axes.legend(fontsize="small", loc="lower right")
    return figure


def _figure(xlabel: str, ylabel: str, title: str) -> tuple[Figure, Any]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.set(xlabel=xlabel, ylabel=ylabel, title=title)
    axes.grid(alpha=0.3)
    return figure, axes
