"""Norms of the updates that rules propose, and alerts where they vanish or explode."""

import warnings
from collections.abc import Mapping
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from etude.callbacks.base import Callback, Event, Request, StepMetrics
from etude.callbacks.members import base
from etude.engine.numbers import is_count, is_real
from etude.engine.precision import float_dtype
from etude.errors import ConfigurationError

GLOBAL = "gradient_norm"


class GradientMonitor(Callback):
    """Reports the norm of the updates of a learner, of all and of each module, at every step.

    They are computed inside the compiled step, before any clipping, and are in the history as
    `train/gradient_norm` and `train/gradient_norm/layers/0`. A norm out of bounds is an alert:
    a warning that names module and step, the first time for each phase and module, and an entry
    of `alerts`. Norms that are not finite are left to the trainer's `nonfinite`. A learner without
    an optimizer has no updates, and no norms.

    Args:
        every: steps between two looks for alerts.
        alert_high: norm above which a gradient counts as exploding.
        alert_low: norm below which a gradient counts as vanishing.

    Raises `ConfigurationError` for values outside their range.

    >>> GradientMonitor(alert_high=100.0).alerts
    []
    """

    def __init__(self, every: int = 1, alert_high: float = 10.0, alert_low: float = 1e-7):
        if not is_count(every):
            raise ConfigurationError(
                f"GradientMonitor: every is a whole number from 1; got {every!r}."
            )
        if not (is_real(alert_low) and is_real(alert_high) and 0 <= alert_low < alert_high):
            raise ConfigurationError(
                "GradientMonitor: numbers 0 <= alert_low < alert_high are needed; "
                f"got alert_low={alert_low!r}, alert_high={alert_high!r}."
            )
        # Python's: the step of an alert is stored as JSON.
        self.every, self.alert_high, self.alert_low = int(every), alert_high, alert_low
        #: phase, metric, kind ("vanishes" or "explodes"), step in the phase, and norm
        self.alerts: list[dict[str, Any]] = []

    def probe(self, updates: PyTree, trainable: PyTree) -> Mapping[str, Array]:
        return norms(updates)

    def on_steps_end(self, event: Event, metrics: StepMetrics) -> Request:
        skip = -metrics.first % self.every
        for name in metrics.names:
            own = base(name) if event.members else name
            if GLOBAL not in own.split("/"):
                continue
            values = metrics.column(name)[skip :: self.every]
            high = np.isfinite(values) & (values > self.alert_high)
            for kind, bad in (("explodes", high), ("vanishes", values < self.alert_low)):
                if bad.any():
                    index = int(bad.argmax())
                    step = metrics.first + skip + index * self.every
                    self._alert(event, name, kind, step, float(values[index]))
        return None

    def with_members(self) -> Literal["all"]:
        return "all"

    def _alert(self, event: Event, metric: str, kind: str, step: int, norm: float) -> None:
        what = {"phase": event.phase, "metric": metric, "kind": kind}
        if any(what.items() <= alert.items() for alert in self.alerts):
            return
        self.alerts.append(what | {"step": step, "norm": norm})
        cure = (
            "Clip it (Learner(clip_norm=1.0)) or lower the learning rate."
            if kind == "explodes"
            else "Does the loss depend on it? Saturated activations or a mask stop gradients too."
        )
        warnings.warn(
            f"Phase {event.phase!r}, step {step}: {metric} {kind}: {norm:.3g} is outside "
            f"{self.alert_low:g} to {self.alert_high:g}. {cure}",
            stacklevel=2,
        )

    def state(self) -> dict[str, Any]:
        return {"alerts": self.alerts}

    def restore(self, state: dict[str, Any]) -> None:
        self.alerts = list(state["alerts"])


def norms(updates: PyTree) -> dict[str, Float[Array, ""]]:
    """The Euclidean norm of all updates, and of those of each module that has parameters.

    >>> found = norms({"head": {"weight": jnp.array([3.0, 4.0]), "bias": None}})
    >>> {name: float(norm) for name, norm in found.items()}
    {'gradient_norm': 5.0, 'gradient_norm/head': 5.0}
    """
    squares: dict[str, Array] = {}
    total = jnp.zeros((), float_dtype())
    for path, leaf in jax.tree_util.tree_leaves_with_path(updates):
        square = jnp.sum(jnp.square(jnp.abs(leaf).astype(float_dtype())))
        total += square
        module = _module(path)
        if module:
            squares[module] = squares[module] + square if module in squares else square
    parts = {f"{GLOBAL}/{name}": jnp.sqrt(square) for name, square in squares.items()}
    return {GLOBAL: jnp.sqrt(total), **parts}


def _module(path: Any) -> str:
    """`layers/0` of `.layers[0].weight`; a Flax variable has its array in a `value`."""
    name = jax.tree_util.keystr(path, simple=True, separator="/").removesuffix("/value")
    return name.rpartition("/")[0]
