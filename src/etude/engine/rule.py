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
from jaxtyping import Array, Float, Int, Key, PyTree

from etude.engine.errors import RuleError
from etude.engine.roles import is_array


class Context(eqx.Module):
    """What a rule or a loss may know besides the batch; all of it traced."""

    #: a fresh key for this learner and step
    key: Key[Array, ""]
    #: steps done in this phase
    step: Int[Array, ""]
    #: how much of the phase is over, 0 to 1
    progress: Float[Array, ""]
    #: factor of the loss under float16, or None; `Gradient` applies it and takes it out again
    loss_scale: Float[Array, ""] | None = None

    @classmethod
    def at(cls, key: Key[Array, ""], step: int = 0, progress: float = 0.0) -> "Context":
        """A context made by hand, for calling a loss or a rule outside a trainer.

        >>> int(Context.at(jax.random.key(0), step=3).step)
        3
        """
        return cls(key, jnp.asarray(step, jnp.int32), jnp.asarray(progress, jnp.float32))


class Proposal(eqx.Module):
    """What a rule proposes.

    `updates` have the shape of `trainable` and are what optax takes as gradients (optax
    subtracts them). `model`, if given, supplies new values for leaves that are not trained
    (statistics, counters) and, for a learner without an optimizer, for its part itself.
    """

    updates: PyTree = None
    metrics: Mapping[str, Array] = eqx.field(default_factory=dict)
    model: PyTree = None


@runtime_checkable
class Rule(Protocol):
    """Computes updates for the part of a model that learns."""

    def __call__(
        self, trainable: PyTree, rest: PyTree, batch: PyTree, context: Context
    ) -> Proposal: ...


class Gradient(eqx.Module):
    """Back-propagation of `loss(model, batch, context)`.

    The loss returns a scalar, or `(scalar, metrics)`, or `(scalar, metrics, model)`; the last
    carries what the forward pass changes, such as an Equinox `State`. A Flax NNX module, which
    changes in place, need not be returned.

    Raises `RuleError` if the loss returns anything else.

    >>> import jax, jax.numpy as jnp
    >>> rule = Gradient(lambda w, batch, context: jnp.sum((w - batch) ** 2))
    >>> rule(jnp.ones(2), None, jnp.zeros(2), Context.at(jax.random.key(0))).updates
    Array([2., 2.], dtype=float32)
    """

    loss: Callable[[Any, Any, Context], Any]

    def __call__(
        self, trainable: PyTree, rest: PyTree, batch: PyTree, context: Context
    ) -> Proposal:
        scale = context.loss_scale

        def objective(trainable):
            model = eqx.combine(trainable, rest)
            value, metrics, model = read_loss(self.loss(model, batch, context), model)
            scaled = value if scale is None else value.astype(jnp.float32) * scale
            return scaled, (value, metrics, eqx.filter(model, is_array))

        grads, (value, metrics, arrays) = jax.grad(objective, has_aux=True)(trainable)
        if scale is not None:
            grads = jax.tree.map(lambda g: g.astype(jnp.float32) / scale, grads)
        # JAX's gradient by a complex number is the conjugate of the direction of steepest ascent.
        grads = jax.tree.map(lambda g: g.conj() if jnp.iscomplexobj(g) else g, grads)
        return Proposal(grads, {"loss": value, **metrics}, arrays)


def read_loss(returned: Any, model: PyTree) -> tuple[Array, dict[str, Array], PyTree]:
    """`(loss, metrics, model)` from whatever of these a loss has returned."""
    parts = returned if isinstance(returned, tuple) else (returned,)
    if not 1 <= len(parts) <= 3:
        raise _bad_loss(f"a tuple of {len(parts)}")
    value = parts[0]
    metrics = parts[1] if len(parts) > 1 else {}
    model = parts[2] if len(parts) > 2 else model
    if not is_array(value) or jnp.shape(value) != ():
        # An array is a tracer here, whose name would mean nothing to the reader.
        shape = f"an array of shape {jnp.shape(value)}"
        raise _bad_loss(shape if is_array(value) else type(value).__name__)
    if not isinstance(metrics, Mapping):
        raise RuleError(
            f"The metrics of a loss must be a dict of scalars; got {type(metrics).__name__}. "
            'Return `loss, {"name": value}`.'
        )
    return jnp.asarray(value), dict(metrics), model


def _bad_loss(got: str) -> RuleError:
    return RuleError(
        "A loss must return a scalar, (scalar, metrics) or (scalar, metrics, model); got "
        f"{got}. Reduce values of every sample to their mean: `jnp.mean(values)`."
    )
