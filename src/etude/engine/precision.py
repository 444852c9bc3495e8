"""Computing in half precision with master weights in single precision.

Micikevicius et al., "Mixed precision training" (2018): parameters stay float32, the forward and
backward pass run in half precision, and under float16 the loss is scaled so that small
gradients do not vanish. A step whose scaled gradients overflow is skipped and the scale halved;
after enough good steps in a row it is doubled.
"""

from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Inexact, Int, PyTree

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
    """The float32 arrays of `tree` in the precision of the computation; others as they are."""
    if precision == "float32":
        return tree
    dtype = jnp.dtype(precision)
    return jax.tree.map(
        lambda x: x.astype(dtype) if getattr(x, "dtype", None) == jnp.float32 else x, tree
    )


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
