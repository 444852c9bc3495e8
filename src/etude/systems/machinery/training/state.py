"""What a training has come to, in the words of the seed.

>>> state = TrainingState(epoch=2, global_step=6, history={"val_loss": [0.7, 0.5]})
>>> state.best_val_loss
0.5
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

import etude as et

_TERMS = ("freq", "sommerfeld", "temporal")


@dataclass(frozen=True)
class TrainingState:
    """Where a training stands; the state that evolves and is saved is `etude.engine.state.State`.

    Attributes:
        epoch: epochs done, in all phases together.
        global_step: steps done.
        history: `train_loss`, `train_accuracy` and so on, a mean for each epoch; `val_loss` and so
            on, a value for each validation.
        early_stopped: whether it ended because a metric stopped improving.
    """

    epoch: int = 0
    global_step: int = 0
    history: Mapping[str, Sequence[float]] = field(default_factory=dict)
    early_stopped: bool = False

    @property
    def best_val_loss(self) -> float:
        """The smallest loss of a validation; infinite if there was none."""
        losses = [value for value in self.history.get("val_loss", ()) if value == value]
        return min(losses, default=float("inf"))

    @classmethod
    def of(cls, result: et.Result) -> "TrainingState":
        """The state that a training has ended in."""
        return cls(*_read(result))


@dataclass(frozen=True)
class PINNTrainingState(TrainingState):
    """A `TrainingState` with what became of the physics.

    Attributes:
        lambda_history: term -> its weight, a mean for each epoch.
        loss_components: "data" and each term -> its value without the weight, a mean for each
            epoch.
    """

    lambda_history: Mapping[str, Sequence[float]] = field(default_factory=dict)
    loss_components: Mapping[str, Sequence[float]] = field(default_factory=dict)

    @classmethod
    def of(cls, result: et.Result) -> "PINNTrainingState":
        """The state that a training of a `PINNTrainer` has ended in."""
        epoch, step, history, stopped = _read(result)
        lambdas = {
            name: history[f"train_lambda_{name}"]
            for name in _TERMS
            if f"train_lambda_{name}" in history
        }
        terms = {name: history[f"train_{name}"] for name in lambdas}
        if "train_data_loss" in history:
            terms = {"data": history["train_data_loss"], **terms}
        return cls(epoch, step, history, stopped, lambdas, terms)


def _read(result: et.Result) -> tuple[int, int, dict[str, list[float]], bool]:
    """Epochs, steps, means by epoch, and whether patience ended it."""
    history: dict[str, list[float]] = {}
    sums: dict[str, dict[tuple[str, int, int], list[float]]] = {}
    step = 0
    for record in result.history:
        if "event" in record:
            continue
        step = max(step, int(record["global_step"]))
        for name, value in record.items():
            prefix, _, metric = name.partition("/")
            if prefix == "train":
                place = (record["phase"], record["visit"], record["epoch"])
                sums.setdefault(f"train_{metric}", {}).setdefault(place, []).append(float(value))
            elif metric and prefix == "valid" and isinstance(value, int | float):
                history.setdefault(f"val_{metric}", []).append(float(value))
    means = {
        name: [float(np.mean(values)) for values in places.values()]
        for name, places in sums.items()
    }
    epochs = len(sums.get("train_loss", {}))
    stopped = any(reason is et.Reason.PATIENCE for _, reason in result.reasons)
    return epochs, step, {**means, **history}, stopped
