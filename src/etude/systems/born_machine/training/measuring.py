"""The metrics of a `PerformanceEvaluator` as validations of a phase, each at its own frequency."""

from collections.abc import Callable, Iterable
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

import etude as et
from etude.systems.born_machine.evaluator import DISTANCES, LIKELIHOODS, PerformanceEvaluator

#: Takes the model that is trained to the Born machine in it.
MachineOf = Callable[[Any], Any]


def itself(model: Any) -> Any:
    """The model is the machine."""
    return model


def validations(
    evaluator: PerformanceEvaluator, machine_of: MachineOf = itself, split: str = "valid"
) -> list[et.Validation]:
    """One validation for each kind of metric and frequency; all report as `valid/...`.

    Likelihoods come from one contraction of the split, robustness from an attack on each of its
    samples, distances from samples that the machine draws.
    """
    each = evaluator.indexed(split)
    once = et.ArrayData(np.zeros(1, np.float32), 1, shuffle=False)
    found = []
    for every, names in _by_frequency(evaluator, LIKELIHOODS):
        found.append(et.Validation(each, _likelihoods(evaluator, machine_of, names), every))
    for every, _ in _by_frequency(evaluator, ("rob",)):
        found.append(et.Validation(each, _robustness(evaluator, machine_of, split), every))
    for every, names in _by_frequency(evaluator, DISTANCES):
        found.append(et.Validation(once, _distances(evaluator, machine_of, names, split), every))
    return found


class Distance(eqx.Module):
    """Samples of one validation, and what is made of them on the host."""

    samples: Float[Array, "classes n sites"]
    distance: Callable[[Array], float] = eqx.field(static=True)

    def merge(self, other: "Distance") -> "Distance":
        """There is one batch."""
        return self

    def compute(self) -> float:
        """The distance of the samples to the data."""
        return self.distance(self.samples)


def _by_frequency(
    evaluator: PerformanceEvaluator, among: Iterable[str]
) -> Iterable[tuple[et.Epochs, list[str]]]:
    groups: dict[int, list[str]] = {}
    for name in evaluator.metrics.names:
        if name in among:
            groups.setdefault(getattr(evaluator.metrics, name), []).append(name)
    return [(et.Epochs(every), names) for every, names in groups.items()]


def _likelihoods(evaluator: PerformanceEvaluator, machine_of: MachineOf, names: list[str]) -> Any:
    def measure(model: Any, batch: Any, context: et.Context) -> dict[str, Array]:
        found = evaluator.likelihoods(machine_of(model), *batch)
        return {name: jnp.mean(found[name]) for name in names}

    return measure


def _robustness(evaluator: PerformanceEvaluator, machine_of: MachineOf, split: str) -> Any:
    def measure(model: Any, batch: Any, context: et.Context) -> dict[str, Array]:
        found = evaluator.resisted(split, machine_of(model), *batch)
        return {name: jnp.mean(values) for name, values in found.items()}

    return measure


def _distances(
    evaluator: PerformanceEvaluator, machine_of: MachineOf, names: list[str], split: str
) -> Any:
    distances = {name: evaluator.distance(name, split) for name in names}

    def measure(model: Any, batch: Any, context: et.Context) -> dict[str, Distance]:
        samples = evaluator.samples(machine_of(model), split)
        return {name: Distance(samples, distance) for name, distance in distances.items()}

    return measure
