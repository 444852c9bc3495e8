"""The physics terms together, and together with a loss on the labels.

>>> from etude.systems.machinery.losses import SommerfeldConsistencyLoss
>>> physics = PhysicalConstraintLoss(
...     lambda_freq=0.0, lambda_temporal=0.0, sommerfeld=SommerfeldConsistencyLoss([1, 2])
... )
>>> logits, metadata = jnp.zeros((1, 3)), {"sommerfeld": jnp.array([0.01])}
>>> total, terms = physics(logits, jnp.zeros((1, 8)), metadata)
>>> {name: round(float(term), 3) for name, term in terms.items()}, round(float(total), 3)
({'sommerfeld': 0.333}, 0.167)
"""

from collections.abc import Mapping
from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

import etude as et
from etude.errors import suggest
from etude.losses import CrossEntropyLoss
from etude.systems.machinery.losses.frequency import FrequencyConsistencyLoss
from etude.systems.machinery.losses.operating import SommerfeldConsistencyLoss
from etude.systems.machinery.losses.smoothness import TemporalSmoothnessLoss


class PhysicalConstraintLoss(eqx.Module):
    """The weighted sum of the physics terms.

    Attributes:
        lambda_freq: weight of `frequency`.
        lambda_sommerfeld: weight of `sommerfeld`.
        lambda_temporal: weight of `temporal`.
        frequency: the term of the spectrum; needs `speed` in the metadata, and `orders` where
            recordings are of several bearings.
        sommerfeld: the term of the oil film; needs `sommerfeld`.
        temporal: the term of neighbouring windows; needs `record` and `window`.

    Raises:
        ConfigurationError: a weight above 0 without its term, a term with weight 0, no term at
            all, or a negative weight.
    """

    lambda_freq: float = eqx.field(static=True, default=1.0)
    lambda_sommerfeld: float = eqx.field(static=True, default=0.5)
    lambda_temporal: float = eqx.field(static=True, default=0.1)
    frequency: FrequencyConsistencyLoss | None = None
    sommerfeld: SommerfeldConsistencyLoss | None = None
    temporal: TemporalSmoothnessLoss | None = None

    def __check_init__(self):
        problems = []
        for (name, weight), term in zip(self._weights().items(), self._terms(), strict=True):
            field = {"freq": "frequency"}.get(name, name)
            if not weight >= 0:
                problems.append(f"got lambda_{name}={weight}, expected 0 or more.")
            elif weight > 0 and term is None:
                problems.append(f"lambda_{name}={weight} weighs no term. Pass {field}=..., or 0.")
            elif weight == 0 and term is not None:
                problems.append(f"{field} has the weight lambda_{name}=0. Leave it out.")
        if not problems and all(term is None for term in self._terms()):
            problems.append("there is no term. Pass frequency=, sommerfeld= or temporal=.")
        if problems:
            raise et.ConfigurationError(
                "\n".join(f"PhysicalConstraintLoss: {text}" for text in problems)
            )

    def __call__(
        self,
        logits: Float[Array, "batch classes"],
        signals: Float[Array, "batch samples"],
        metadata: Mapping[str, Any],
    ) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
        """The weighted sum, and the terms without their weights.

        Args:
            logits: of the classes.
            signals: windows.
            metadata: name -> array with one entry for each window, see the attributes.

        Raises:
            ConfigurationError: metadata that a term needs are not there.
        """
        terms: dict[str, Array] = {}
        if self.frequency is not None:
            speed = _of(metadata, "speed", "frequency")
            orders = metadata.get("orders") if self.frequency.expectations.named else None
            terms["freq"] = self.frequency(logits, signals, speed, orders)
        if self.sommerfeld is not None:
            number = _of(metadata, "sommerfeld", "sommerfeld")
            terms["sommerfeld"] = self.sommerfeld(logits, number)
        if self.temporal is not None:
            numbers = (_of(metadata, name, "temporal") for name in ("record", "window"))
            terms["temporal"] = self.temporal(logits, *numbers)
        weights = self._weights()
        parts = [weights[name] * term for name, term in terms.items()]
        return jnp.sum(jnp.stack(parts)), terms

    def _weights(self) -> dict[str, float]:
        return {
            "freq": self.lambda_freq,
            "sommerfeld": self.lambda_sommerfeld,
            "temporal": self.lambda_temporal,
        }

    def _terms(self) -> tuple[Any, Any, Any]:
        return self.frequency, self.sommerfeld, self.temporal


class PhysicsInformedLoss(eqx.Module):
    """A loss on the labels, and what physics says beside it.

    Attributes:
        data_weight: factor of the loss on the labels.
        physics_weight: factor of the physics term.
        criterion: the loss on the labels, a function of logits and targets.

    Raises:
        ConfigurationError: a negative weight, or two of 0.

    >>> loss = PhysicsInformedLoss(data_weight=1.0, physics_weight=0.1)
    >>> round(float(loss(jnp.zeros((1, 2)), jnp.array([0]), physics=jnp.array(2.0))), 4)
    0.8931
    """

    data_weight: float = eqx.field(static=True, default=1.0)
    physics_weight: float = eqx.field(static=True, default=0.1)
    criterion: Any = CrossEntropyLoss()

    def __check_init__(self):
        weights = (self.data_weight, self.physics_weight)
        if not (min(weights) >= 0 and max(weights) > 0):
            raise et.ConfigurationError(
                f"PhysicsInformedLoss: got data_weight={self.data_weight} and physics_weight="
                f"{self.physics_weight}, expected 0 or more, and one above 0."
            )

    def __call__(
        self, logits: Float[Array, "batch classes"], targets: Any, physics: Float[Array, ""]
    ) -> Float[Array, ""]:
        """The weighted sum.

        Args:
            logits: of the classes.
            targets: labels or probabilities, as `criterion` takes them.
            physics: a term that depends on the same logits, as `PhysicalConstraintLoss` gives it.
        """
        return self.data_weight * self.criterion(logits, targets) + self.physics_weight * physics


def _of(metadata: Mapping[str, Any], name: str, term: str) -> Any:
    if name not in metadata:
        raise et.ConfigurationError(
            f"PhysicalConstraintLoss: the term {term!r} needs {name!r} in the metadata. "
            f"{suggest(name, metadata) if metadata else 'There are none.'}"
        )
    return metadata[name]
