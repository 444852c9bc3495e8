"""Learning rules: how updates are computed is a value that one passes in.

A rule is any callable `rule(trainable, rest, batch, context) -> Proposal`. Back-propagation is
`Gradient(loss)`; a perceptron rule is a few lines:

>>> import jax, jax.numpy as jnp
>>> from etude.engine.rule import Context, Proposal
>>> def perceptron(trainable, rest, batch, context):
...     x, y = batch                                        # y is -1 or +1
...     wrong = jnp.where(y * (x @ trainable) <= 0, y, 0)
...     return Proposal(-x.T @ wrong / len(y), {"mistakes": jnp.mean(jnp.abs(wrong))})
>>> context = Context.at(jax.random.key(0))
>>> batch = jnp.ones((4, 2)), -jnp.ones(4)
>>> perceptron(jnp.zeros(2), None, batch, context).updates
Array([1., 1.], dtype=float32)
"""

from collections.abc import Callable, Mapping
from typing import Any, Protocol, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key, PyTree

from etude.engine.hyper import numbers
from etude.engine.leaf_roles import is_array
from etude.engine.precision import widened
from etude.errors import RuleError
from etude.kinds import is_a, is_mapping


class Context(eqx.Module):
    """What a rule or a loss may know besides the batch; all of it traced."""

    #: a fresh key for this learner and step
    key: Key[Array, ""]
    #: steps done in this phase
    step: Int[Array | np.ndarray, ""]
    #: the share of the phase that is done: 0 at the first step of N, (N-1)/N at the last, and 1
    #: in a validation at the end
    progress: Float[Array | np.ndarray, ""]
    #: the numbers of the phase, `Phase(hyper=...)`, as arrays
    hyper: PyTree = eqx.field(default_factory=dict)
    #: factor of the loss under float16, or None; `Gradient` applies it and takes it out again
    loss_scale: Float[Array, ""] | None = None

    @classmethod
    def at(
        cls, key: Key[Array, ""], step: int = 0, progress: float = 0.0, hyper: PyTree = None
    ) -> "Context":
        """A context made by hand, for calling a loss or a rule outside a trainer.

        >>> int(Context.at(jax.random.key(0), step=3).step)
        3
        """
        place = jax.device_put((np.asarray(step, np.int32), np.asarray(progress, np.float32)))
        return cls(key, place[0], place[1], numbers({} if hyper is None else hyper))


class Proposal(eqx.Module):
    """What a rule proposes.

    `updates` have the shape of `trainable` and are what optax takes as gradients (optax
    subtracts them). `metrics` are scalars (means over the batch) or objects with `merge` and
    `compute`. `model`, if given, supplies new values for leaves that are not trained (`Carry`,
    statistics, counters) and, for a learner without an optimizer, for its part itself. `weight`
    is what this batch counts where updates and metrics of several micro-batches are averaged;
    its number of samples, if None.
    """

    updates: PyTree = None
    metrics: Mapping[str, Any] = eqx.field(default_factory=dict)
    model: PyTree = None
    weight: Array | float | None = None

    def __check_init__(self):
        if not is_mapping(self.metrics):
            got = type(self.metrics).__name__
            raise RuleError(f"The metrics of a Proposal are a dict; got {got}. {_PROPOSAL}")
        for name, value in self.metrics.items():
            if not is_a(name, str) or isinstance(value, _NO_METRIC):
                raise RuleError(
                    f"A metric of a Proposal is a scalar with a name; got {name!r}: {value!r}. "
                    + _PROPOSAL
                )
        for leaf in jax.tree.leaves(self.updates):
            if isinstance(leaf, _NO_METRIC):
                raise RuleError(f"The updates of a Proposal are arrays; got {leaf!r}. {_PROPOSAL}")


_PROPOSAL = 'Return `Proposal(updates, {"loss": value})`.'
_NO_METRIC = (str, bytes, list, tuple, Mapping, type(None))


@runtime_checkable
class Rule(Protocol):
    """Computes updates for the part of a model that learns."""

    def __call__(
        self, trainable: PyTree, rest: PyTree, batch: PyTree, context: Context
    ) -> Proposal: ...


class Gradient(eqx.Module):
    """Back-propagation of `loss(model, batch, context)`.

    The loss returns a scalar, or `(scalar, metrics)`, or `(scalar, metrics, model)`; the last
    carries what the forward pass changes: arrays in `Carry`, an Equinox `State`, counters. A
    Flax NNX module, which changes in place, need not be returned.

    Attributes:
        loss: the function that is differentiated.
        weight: `weight(batch)`, what a micro-batch counts in the mean under `accumulate`, and a
            batch in that of a validation. A loss that is a mean over tokens counts tokens:
            `lambda batch: batch["mask"].sum()`. None: samples.

    Raises `RuleError` if the loss returns anything else, and for a changed leaf that may not move.

    >>> import jax, jax.numpy as jnp
    >>> rule = Gradient(lambda w, batch, context: jnp.sum((w - batch) ** 2))
    >>> rule(jnp.ones(2), None, jnp.zeros(2), Context.at(jax.random.key(0))).updates
    Array([2., 2.], dtype=float32)
    """

    loss: Callable[[Any, Any, Context], Any]
    weight: Callable[[Any], Array | float] | None = None

    def __call__(
        self, trainable: PyTree, rest: PyTree, batch: PyTree, context: Context
    ) -> Proposal:
        scale = context.loss_scale

        def objective(trainable: PyTree) -> tuple[Array, PyTree]:
            model = eqx.combine(trainable, rest)
            value, metrics, model = read_loss(self.loss(model, batch, context), model)
            scaled = value if scale is None else _scaled(value, scale)
            return scaled, (value, metrics, eqx.filter(model, is_array))

        grads, (value, metrics, arrays) = jax.grad(objective, has_aux=True)(trainable)
        if scale is not None:
            grads = jax.tree.map(lambda g: _scaled(g, 1 / scale), grads)
        # JAX's gradient by a complex number is the conjugate of the direction of steepest ascent.
        grads = jax.tree.map(lambda g: g.conj() if jnp.iscomplexobj(g) else g, grads)
        weight = None if self.weight is None else self.weight(batch)
        return Proposal(grads, {"loss": value, **metrics}, arrays, weight)


def _scaled(x: Array, factor: Array) -> Array:
    x = widened(x)
    return x * factor.astype(x.dtype)


def read_loss(returned: Any, model: PyTree) -> tuple[Array, dict[str, Any], PyTree]:
    """`(loss, metrics, model)` from whatever of these a loss has returned."""
    parts: tuple[Any, ...] = returned if is_a(returned, tuple) else (returned,)
    if not 1 <= len(parts) <= 3:
        raise _bad_loss(f"a tuple of {len(parts)}")
    value = parts[0]
    metrics: Any = parts[1] if len(parts) > 1 else {}
    if len(parts) > 2:
        refuse_constants(model, parts[2])
        model = parts[2]
    if not is_array(value) or jnp.shape(value) != ():
        # An array is a tracer here, whose name would mean nothing to the reader.
        is_one = is_array(value)
        raise _bad_loss(f"an array of shape {value.shape}" if is_one else type(value).__name__)
    if not is_mapping(metrics):
        raise RuleError(
            f"The metrics of a loss must be a dict of scalars; got {type(metrics).__name__}. "
            'Return `loss, {"name": value}`.'
        )
    if jnp.iscomplexobj(value):
        raise RuleError(
            "A loss must be real; got a complex number. Return its modulus, jnp.abs(value), or "
            "its real part."
        )
    return jnp.asarray(value), dict(metrics), model


def refuse_constants(handed: PyTree, returned: PyTree) -> None:
    """Raises `RuleError` if a plain number or text of a model comes back with another value."""
    constants = bool | int | float | complex | str
    found = dict(jax.tree_util.tree_leaves_with_path(returned))
    for path, old in jax.tree_util.tree_leaves_with_path(handed):
        new = found.get(path, old)
        if isinstance(old, constants) and new is not old and (is_array(new) or new != old):
            raise RuleError(
                f"The returned model has another value at {jax.tree_util.keystr(path)}, where the "
                f"model holds the constant {old!r} of Python, which cannot move. Begin with an "
                "array: et.Carry(0.0) or, for a counter, jnp.int32(0)."
            )


def _bad_loss(got: str) -> RuleError:
    return RuleError(
        "A loss must return a scalar, (scalar, metrics) or (scalar, metrics, model); got "
        f"{got}. Reduce values of every sample to their mean: `jnp.mean(values)`."
    )
