"""Computing in half precision with master weights in single precision.

Micikevicius et al., "Mixed precision training" (2018): parameters stay float32, the forward and
backward pass run in half precision, and under float16 the loss is scaled so that small
gradients do not vanish. A step whose scaled gradients overflow is skipped and the scale halved;
after enough good steps in a row it is doubled.
"""

from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PyTree

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


def at_least_float32(x: Array) -> Array:
    """Half precision and integers as float32; others, complex numbers among them, as they are.

    >>> at_least_float32(jnp.ones(1, jnp.bfloat16)).dtype, at_least_float32(jnp.array(1j)).dtype
    (dtype('float32'), dtype('complex64'))
    """
    small = not jnp.issubdtype(x.dtype, jnp.inexact) or x.dtype.itemsize < 4
    return x.astype(jnp.float32) if small else x


def cast_like(tree: PyTree, like: PyTree) -> PyTree:
    """`tree` with the dtypes of `like`, so that what a rule returns fits what is stored."""
    return jax.tree.map(lambda x, y: x.astype(y.dtype) if x.dtype != y.dtype else x, tree, like)
