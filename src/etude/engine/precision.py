"""Computing in half precision with master weights in single precision.

Micikevicius et al., "Mixed precision training" (2018): parameters stay as they are stored, copies
of them and the inputs of the batch are cast to half precision for the forward and backward pass,
and under float16 the loss is scaled so that small gradients do not vanish. Targets are never cast:
near 1000 the numbers of bfloat16 are 4 apart. A step whose scaled gradients overflow is skipped
and the scale halved; after enough good steps in a row it is doubled.
"""

from collections.abc import Callable
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Inexact, Int, PyTree

from etude.engine.leaf_roles import is_array
from etude.engine.selection import indices
from etude.kinds import is_a

Precision = Literal["float32", "bfloat16", "float16"]

GROWTH_INTERVAL = 2000
FIRST_SCALE = 2.0**15
LARGEST_SCALE = 2.0**24


class LossScale(eqx.Module):
    """The factor of the loss under float16, and the good steps since it last changed."""

    factor: Float[Array, ""]
    good_steps: Int[Array, ""]

    @classmethod
    def first(cls) -> "LossScale":
        """The scale to begin with."""
        return cls(jnp.float32(FIRST_SCALE), jnp.int32(0))

    def after(self, finite: Bool[Array, ""]) -> "LossScale":
        """The scale after a step whose gradients were `finite` or not."""
        due = finite & (self.good_steps + 1 >= GROWTH_INTERVAL)
        grown = jnp.where(due, jnp.minimum(self.factor * 2, LARGEST_SCALE), self.factor)
        factor = jnp.where(finite, grown, jnp.maximum(self.factor / 2, 1.0))
        return LossScale(factor, jnp.where(finite & ~due, self.good_steps + 1, 0))


def cast(tree: PyTree, precision: Precision) -> PyTree:
    """The real floating-point arrays of `tree` in half precision, if that is asked for.

    Integers, complex numbers (which have no half precision) and keys stay as they are.

    >>> weight, count = cast((jnp.ones(2), jnp.arange(2)), "float16")
    >>> weight.dtype.name, count.dtype.name
    ('float16', 'int32')
    """
    if precision == "float32":
        return tree
    dtype = jnp.dtype(precision)
    return jax.tree.map(lambda x: x.astype(dtype) if _is_real(x) else x, tree)


def cast_inputs(batch: PyTree, precision: Precision, inputs: Callable[[Any], Any] | None) -> PyTree:
    """A batch whose inputs are in half precision, if that is asked for; the rest is as it came.

    `inputs` selects them; None: the first of a tuple or list, and nothing of any other batch.
    Raises `SelectionError`.

    >>> x, y = cast_inputs((jnp.ones(2), jnp.ones(2)), "bfloat16", None)
    >>> x.dtype.name, y.dtype.name
    ('bfloat16', 'float32')
    """
    if inputs is None:
        if not is_a(batch, tuple | list) or not batch:
            return batch
        chosen = set(range(len(jax.tree.leaves(batch[0]))))
    else:
        chosen = set(jax.tree.leaves(indices(batch, inputs)))
    leaves, treedef = jax.tree.flatten(batch)
    return treedef.unflatten(
        [cast(leaf, precision) if i in chosen else leaf for i, leaf in enumerate(leaves)]
    )


def _is_real(leaf: Any) -> bool:
    return is_array(leaf) and jnp.issubdtype(leaf.dtype, jnp.floating)


def cast_like(tree: PyTree, like: PyTree) -> PyTree:
    """`tree` with the dtypes of `like`, so that what a rule returns fits what is stored."""
    return jax.tree.map(lambda x, y: x.astype(y.dtype) if x.dtype != y.dtype else x, tree, like)


def widened(value: Any) -> Inexact[Array, "..."]:
    """A number or an array in at least float32; float64 and complex numbers stay as they are.

    Integers and booleans become the default float (float64 under `jax_enable_x64`). Sums and
    means are computed on what this returns.

    >>> widened(jnp.ones(2, jnp.bfloat16)).dtype, widened(jnp.complex64(1j)).dtype
    (dtype('float32'), dtype('complex64'))
    """
    array = jnp.asarray(value)
    if not jnp.issubdtype(array.dtype, jnp.inexact):
        return array.astype(float_dtype())
    return array.astype(jnp.float32) if array.dtype.itemsize < 4 else array


def float_dtype() -> jnp.dtype:
    """The type of all reported metrics: float32, or float64 under `jax_enable_x64`."""
    return jax.dtypes.canonicalize_dtype(float)
