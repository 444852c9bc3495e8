"""Curves of the metrics in a notebook, while it trains."""

import importlib.util
import sys
import time
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Int

from etude.callbacks.base import Callback, Event, Reason, Request, StepMetrics
from etude.callbacks.unfailing import Unfailing
from etude.callbacks.watching import Reported, reports, suggestion
from etude.engine.numbers import is_real
from etude.errors import ConfigurationError
from etude.kinds import is_a

#: Points of a curve, at most twice as many; and the share of the time that drawing may take.
POINTS, SHARE = 500, 0.05


Numbers = Int[np.ndarray, " n"]
Values = Float[np.ndarray, " n"]


class LivePlot(Callback):
    """Draws metrics over the global step in one notebook cell: a panel each, `loss` on a log axis.

    Training and validation of a metric share a panel. Without IPython it says so once and draws
    nothing.

    Args:
        metrics: names of what is drawn, without `train/` and `valid/`. None: all that
            validations report; without validations, all that training reports.
        interval: shortest time between drawings, in seconds.

    Raises `ConfigurationError` if `interval` is not positive, or `metrics` are no names.

    >>> LivePlot(metrics=["loss"]).interval
    2.0
    """

    def __init__(self, metrics: list[str] | None = None, interval: float = 2.0):
        if not (is_real(interval) and interval > 0):
            raise ConfigurationError(f"LivePlot: interval is a positive number; got {interval!r}.")
        if metrics is not None and not (
            is_a(metrics, list | tuple) and metrics and all(is_a(name, str) for name in metrics)
        ):
            raise ConfigurationError(
                f"LivePlot: metrics lists names, ['loss'], or is None; got {metrics!r}."
            )
        self.metrics, self.interval = metrics, interval
        self.curves: dict[str, Curve] = {}
        self._display: Any = None
        self._next = 0.0

    def on_train_begin(self, event: Event) -> Request:
        self.curves, self._next = {}, 0.0
        if "IPython" not in sys.modules and importlib.util.find_spec("IPython") is None:
            Unfailing(sys.stderr).line(
                "LivePlot draws in notebooks; IPython is not installed here."
            )
            return None
        from IPython.display import display  # pyright: ignore[reportMissingModuleSource]

        self._display = display(display_id=True)
        return None

    def on_steps_end(self, event: Event, metrics: StepMetrics) -> Request:
        steps = np.arange(len(metrics.rows)) + event.global_step - len(metrics.rows) + 1
        for name in metrics.names:
            self._add(f"train/{name}", steps, metrics.column(name))
        self._draw()
        return None

    def on_validation_end(self, event: Event, metrics: Mapping[str, Any]) -> Request:
        for name, value in metrics.items():
            if np.ndim(value) == 0:
                self._add(name, np.array([event.global_step]), np.array([float(value)]))
        self._draw()
        return None

    def on_phase_end(self, event: Event, reason: Reason) -> Request:
        self._next = 0.0
        self._draw()
        return None

    def problems(self, phases: Mapping[str, Reported]) -> list[str]:
        names: set[str] = set()
        for found in phases.values():
            names |= found.steps | {_short(name) for name in found.validations}
        return [
            f"LivePlot draws {name!r}, which nothing reports. {suggestion(name, names)}"
            for name in self.metrics or ()
            if not reports(names, name)
        ]

    def _add(
        self, name: str, steps: Int[np.ndarray, " n"], values: Float[np.ndarray, " n"]
    ) -> None:
        if self._display is not None:
            self.curves.setdefault(name, Curve()).add(steps, values)

    def _draw(self) -> None:
        began = time.monotonic()
        if self._display is None or not self.curves or began < self._next:
            return
        self._display.update(self.figure())
        now = time.monotonic()
        self._next = now + max(self.interval, (now - began) / SHARE)

    def with_members(self) -> Literal["all"]:
        raise ConfigurationError(
            "LivePlot draws one training, and a population has a curve for each member. Plot "
            "result.history['valid/loss.3'] afterwards, or log to TensorBoardLogger."
        )

    def panels(self) -> list[str]:
        """The metrics that have a panel."""
        if self.metrics is not None:
            return list(self.metrics)
        valid = [_short(name) for name in self.curves if not name.startswith("train/")]
        return list(dict.fromkeys(valid or map(_short, self.curves)))

    def figure(self) -> Any:
        """The figure, of matplotlib, as it is now."""
        from matplotlib.figure import Figure

        panels = self.panels()
        figure = Figure(figsize=(4.5 * len(panels), 3.2), layout="constrained")
        row = figure.subplots(1, len(panels), squeeze=False)[0]
        for axes, panel in zip(row, panels, strict=True):
            for name, curve in self.curves.items():
                if _short(name) == panel:
                    axes.plot(curve.steps, curve.values, label=name)
            positive = all(np.all(line.get_ydata() > 0) for line in axes.lines)
            if panel == "loss" and positive:
                axes.set_yscale("log")
            axes.set_title(panel, parse_math=False)
            axes.set_xlabel("global step")
            if axes.lines:  # the first validation may be far away
                for text in axes.legend().get_texts():
                    text.set_parse_math(False)
        return figure


class Curve:
    """Points of a metric, thinned by half whenever there are too many.

    >>> curve = Curve()
    >>> curve.add(np.arange(3000), np.zeros(3000))
    >>> len(curve.steps) <= 2 * POINTS
    True
    """

    def __init__(self) -> None:
        self.steps: Numbers = np.empty(0, np.int64)
        self.values: Values = np.empty(0)
        self._every = 1

    def add(self, steps: Numbers, values: Values) -> None:
        """Adds points to the right, in place of those that a roll-back makes again."""
        before = self.steps < steps[0] if len(steps) else slice(None)
        self.steps, self.values = self.steps[before], self.values[before]
        kept = steps % self._every == 0 if len(steps) > 1 else np.array([True])
        self.steps = np.append(self.steps, steps[kept])
        self.values = np.append(self.values, values[kept])
        while len(self.steps) > 2 * POINTS:
            self._every *= 2
            self.steps, self.values = self.steps[::2], self.values[::2]


def _short(name: str) -> str:
    return name.partition("/")[2] or name
