"""Metrics of a batch: means, and objects that merge, so that sums and counts come out right.

>>> import jax.numpy as jnp
>>> from etude.metrics import Sum
>>> parts = [{"tokens": Sum.of(jnp.ones(3))}, {"tokens": Sum.of(jnp.ones(2))}]
>>> totals(merged(parts))["tokens"]
Array(5., dtype=float32)
"""

from collections.abc import Mapping, Sequence
from functools import reduce
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array

from etude.engine.leaf_roles import is_array
from etude.engine.precision import float_dtype, widened
from etude.errors import RuleError
from etude.kinds import is_a, is_mapping


@runtime_checkable
class Metric(Protocol):
    """A pytree that sums up a batch, merges with others of its kind, and yields a value."""

    def merge(self, other: Any) -> Any:
        """Both together."""
        ...

    def compute(self) -> Any:
        """A scalar, an array, or a dict of these.

        Called on the host for a measure, traced for what a loss or a rule returns.
        """
        ...


def checked_metrics(owner: str, found: Any) -> dict[str, Any]:
    """The metrics of a batch: scalars as floating-point arrays, and metric objects.

    Raises `RuleError`, which begins with `owner`, for anything else.
    """
    if not is_mapping(found):
        raise RuleError(
            f"{owner} must be a dict of metrics; got {type(found).__name__}. Return "
            '`{"name": value}`.'
        )
    for name in found:
        # A lone surrogate is a string that no file can hold.
        if not is_a(name, str) or not name or not name.isprintable():
            raise RuleError(
                f"{owner}: {name!r} is no name of a metric; names are strings that can be printed."
            )
    return {name: _checked(owner, name, value) for name, value in found.items()}


def _checked(owner: str, name: str, value: Any) -> Any:
    if isinstance(value, Metric):
        if not all(map(is_array, jax.tree.leaves(value))):
            raise RuleError(
                f"{owner}: {name!r} is a {type(value).__name__} with merge and compute, but no "
                "pytree of arrays. Make it an equinox.Module or a registered dataclass."
            )
        return value
    if not is_array(value) and not isinstance(value, float | int):
        raise RuleError(
            f"{owner}: {name!r} is a {type(value).__name__}; return scalars (means over the "
            "batch) or metrics with merge and compute."
        )
    return _scalar(owner, name, value)


def _scalar(owner: str, name: str, value: Any) -> Array:
    if jnp.shape(value) != ():
        raise RuleError(
            f"{owner}: {name!r} has shape {jnp.shape(value)}; metrics are scalars. Reduce it to "
            "its mean over the batch, or measure it in the validation."
        )
    value = jnp.asarray(value)
    if not (value.dtype == bool or jnp.issubdtype(value.dtype, jnp.number)):
        raise RuleError(f"{owner}: {name!r} is of type {value.dtype}; metrics are numbers.")
    if jnp.iscomplexobj(value):
        raise RuleError(
            f"{owner}: {name!r} is complex; metrics are real. Report jnp.abs(value), or its real "
            "and imaginary parts."
        )
    return value.astype(float_dtype())


def checked_weight(owner: str, weight: Any) -> Array | None:
    """What a batch counts in a mean, in at least float32; None where nothing is said."""
    if weight is None:
        return None
    if jnp.shape(weight) != () or jnp.iscomplexobj(weight):
        raise RuleError(
            f"{owner} must be a real scalar, what the batch counts in a mean; got shape "
            f"{jnp.shape(weight)}. Return the sum of its weights, `weights.sum()`."
        )
    return widened(weight)


def merged(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Metric objects of several batches, merged by name."""
    return {
        name: reduce(lambda a, b: a.merge(b), [part[name] for part in parts]) for name in parts[0]
    }


def unstacked(stack: Mapping[str, Any], count: int) -> list[dict[str, Any]]:
    """Metric objects that a scan has stacked, one dict for each of its turns."""
    return [jax.tree.map(lambda x, i=i: x[i], dict(stack)) for i in range(count)]


def split(found: Mapping[str, Any]) -> tuple[dict[str, Array], dict[str, Any]]:
    """`(scalars, metric objects)`."""
    objects = {name: value for name, value in found.items() if isinstance(value, Metric)}
    return {name: value for name, value in found.items() if name not in objects}, objects


def totals(found: Mapping[str, Any]) -> dict[str, Array]:
    """Metrics as scalars: objects are computed, `name/part` where they yield a dict.

    Raises `RuleError` for a metric that cannot be computed in a compiled step, or whose value is
    no scalar.
    """
    scalars, objects = split(found)
    for name, metric in objects.items():
        owner = f"The {type(metric).__name__} that a loss or rule returns"
        try:
            value = metric.compute()
        except jax.errors.JAXTypeError as error:
            raise RuleError(
                f"{owner}: {name!r} computes its value on the host, which a compiled step cannot "
                "do. Measure it in a validation: Validation(data, measure)."
            ) from error
        parts = (
            {f"{name}/{part}": v for part, v in value.items()}
            if is_mapping(value)
            else {name: value}
        )
        scalars |= {part: _scalar(owner, part, v) for part, v in parts.items()}
    return scalars
