"""Figures of a search. Matplotlib is imported when a figure is drawn.

Every function returns a `matplotlib.figure.Figure` that belongs to no window; save it with
``figure.savefig(...)``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from etude.systems.gravitational_waves.pipeline.intervals import Estimate, binomial_interval
from etude.systems.gravitational_waves.pipeline.roc import ROC
from etude.systems.gravitational_waves.pipeline.sensitivity import Efficiency

if TYPE_CHECKING:
    from matplotlib.figure import Figure
else:
    Figure = Any


def plot_roc(curves: Mapping[str, ROC], confidence: float = 0.95) -> Figure:
    """ROC curves by name, with Clopper-Pearson bands, down to what the noise windows resolve.

    >>> from etude.systems.gravitational_waves.pipeline.roc import roc
    >>> figure = plot_roc({"network": roc(np.arange(20.0), np.arange(10.0, 30.0))})
    >>> figure.axes[0].get_xscale(), len(figure.axes[0].lines)
    ('log', 1)
    """
    figure, axes = _figure("false positive rate", "true positive rate", "ROC")
    for name, curve in curves.items():
        shown = curve.false_positive_rate >= curve.resolution
        x, y = curve.false_positive_rate[shown], curve.true_positive_rate[shown]
        # A hundred points of the band are as good as thousands: each takes a root of its own.
        hits = np.unique(np.linspace(0, curve.signals, 101).astype(int))
        ends = binomial_interval(hits, np.full_like(hits, curve.signals), confidence)
        low, high = (np.interp(y * curve.signals, hits, end) for end in ends)
        (line,) = axes.plot(x, y, label=name, drawstyle="steps-post")
        axes.fill_between(x, low, high, step="post", color=line.get_color(), alpha=0.2, lw=0)
    axes.set(xscale="log", ylim=(0, 1.02))
    axes.legend(fontsize="small")
    return figure


def plot_efficiency(curves: Mapping[str, Efficiency], rate: str) -> Figure:
    """Found fraction against injected SNR, with intervals; `rate` names the false-alarm rate.

    >>> from etude.systems.gravitational_waves.pipeline.sensitivity import efficiency
    >>> snr = np.linspace(4, 12, 99)
    >>> curve = efficiency(snr > 8, snr, np.arange(4.0, 13.0))
    >>> figure = plot_efficiency({"matched filter": curve}, "one per hour")
    >>> figure.axes[0].get_xlabel()
    'optimal network SNR'
    """
    title = f"Injections found at a false-alarm rate of {rate}"
    figure, axes = _figure("optimal network SNR", "fraction found", title)
    for name, curve in curves.items():
        filled = curve.total > 0
        middle = curve.fraction[filled]
        arms = np.stack([middle - curve.low[filled], curve.high[filled] - middle])
        axes.errorbar(
            curve.centres[filled], middle, np.maximum(arms, 0), marker="o", capsize=2, label=name
        )
    axes.set(ylim=(-0.02, 1.02))
    axes.legend(fontsize="small")
    return figure


def plot_distance(
    distances: Mapping[str, tuple[Float[np.ndarray, " rates"], list[Estimate]]], unit: str = "month"
) -> Figure:
    """Sensitive distance (Mpc) against false-alarm rate (per `unit`), by name of the search.

    >>> estimates = [Estimate(900.0, 880.0, 920.0), Estimate(1000.0, 980.0, 1020.0)]
    >>> figure = plot_distance({"network": (np.array([1.0, 10.0]), estimates)})
    >>> figure.axes[0].get_ylabel()
    'sensitive distance / Mpc'
    """
    figure, axes = _figure(
        f"false alarms per {unit}", "sensitive distance / Mpc", "Sensitive distance"
    )
    for name, (rates, estimates) in distances.items():
        value, low, high = np.array(estimates, np.float64).reshape(-1, 3).T
        (line,) = axes.plot(rates, value, marker=".", label=name)
        axes.fill_between(rates, low, high, color=line.get_color(), alpha=0.2, lw=0)
    axes.set(xscale="log")
    axes.legend(fontsize="small")
    return figure


def plot_detection(
    strain: Float[np.ndarray, "samples detectors"],
    sample_rate: float,
    start: float,
    statistic: tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]],
    raster: Float[np.ndarray, "steps neurons"],
    raster_span: tuple[float, float],
    threshold: float | None = None,
    detectors: tuple[str, ...] = ("H1", "L1"),
) -> Figure:
    """Whitened strain, the network's statistic over time, and the spikes of one window.

    Args:
        strain: whitened strain of the stretch that is shown.
        sample_rate: Hz.
        start: GPS time of its first sample.
        statistic: (GPS times, values).
        raster: spikes, not 0 where a neuron fires.
        raster_span: GPS times of the window's start and end.
        threshold: a line in the statistic's panel: the loudest of all time slides.
        detectors: names of the columns of `strain`.

    >>> time = np.linspace(100, 102, 9)
    >>> figure = plot_detection(np.zeros((64, 2)), 32.0, 100.0, (time, time), np.eye(5), (100, 101))
    >>> len(figure.axes)
    3
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 7), layout="constrained")
    FigureCanvasAgg(figure)
    top, middle, bottom = figure.subplots(3, 1, sharex=True)
    origin = np.floor(start)
    time = start + np.arange(len(strain)) / sample_rate - origin
    for name, column in zip(detectors, strain.T, strict=True):
        top.plot(time, column, lw=0.5, label=name, alpha=0.8)
    top.set(ylabel="whitened strain", title="Detection")
    top.legend(loc="upper left", fontsize="small")
    middle.plot(statistic[0] - origin, statistic[1], marker=".", ms=3, lw=0.8)
    middle.set(ylabel="network's statistic")
    if threshold is not None:
        middle.axhline(threshold, ls="--", lw=0.8, color="k", label="loudest of all time slides")
        middle.legend(loc="upper left", fontsize="small")
    step, neuron = np.nonzero(raster)
    at = raster_span[0] - origin + (step + 0.5) / len(raster) * (raster_span[1] - raster_span[0])
    bottom.scatter(at, neuron, s=1, color="k", marker="|")
    bottom.set(ylabel="neuron", xlabel=f"seconds after GPS {origin:.0f}")
    bottom.set(ylim=(-0.5, raster.shape[1] - 0.5), xlim=(time[0], time[-1]))
    return figure


def _figure(xlabel: str, ylabel: str, title: str) -> tuple[Figure, Any]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.set(xlabel=xlabel, ylabel=ylabel, title=title)
    axes.grid(alpha=0.3)
    return figure, axes
