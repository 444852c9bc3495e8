"""Arrays as they come: NumPy's or JAX's, of any width, concrete or traced."""

from types import ModuleType
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float, Inexact, Shaped

from etude.errors import DataError
from etude.kinds import is_a

#: An array of NumPy or JAX; its shape and dtype are checked when it is used.
Values: TypeAlias = Shaped[Array | np.ndarray, "..."]


def refusal(owner: str, got: str, expected: str, cure: str) -> DataError:
    """The error for an input that is refused."""
    return DataError(f"{owner}: got {got}, expected {expected}. {cure}")


def described(name: str, values: Values) -> str:
    """An array in an error message.

    >>> described("targets", np.zeros((3, 1), np.int8))
    'targets of int8 and shape (3, 1)'
    """
    return f"{name} of {values.dtype} and shape {values.shape}"


def read(owner: str, name: str, values: Any) -> Values:
    """Real numbers or booleans as an array; DataError for what is none."""
    found: Values = values if is_a(values, jax.Array | np.ndarray) else np.asarray(values)
    if is_complex(found):
        cure = "Give the real and the imaginary part, or the absolute value."
        raise refusal(owner, described(name, found), "real numbers", cure)
    if not (is_float(found) or is_count(found)):
        raise refusal(owner, described(name, found), "real numbers", "Encode them as numbers.")
    return found


def column(values: Values) -> Values:
    """`(batch, 1)` as `(batch,)`; other shapes as they are.

    >>> column(np.zeros((3, 1))).shape, column(np.zeros((3, 2))).shape
    ((3,), (3, 2))
    """
    return values[:, 0] if values.ndim == 2 and values.shape[1] == 1 else values


def concrete(values: Any) -> np.ndarray | None:
    """The values on the host, or None while they are traced and cannot be seen."""
    return None if isinstance(values, Tracer) else np.asarray(jax.device_get(values))


def namespace(values: Values) -> ModuleType:
    """`numpy` for its arrays, so that their float64 is not cut to float32, or `jax.numpy`."""
    return np if isinstance(values, np.ndarray) else jnp


def is_float(values: Values) -> bool:
    """Whether these are real floating-point numbers of any width."""
    return jnp.issubdtype(values.dtype, jnp.floating)


def is_complex(values: Values) -> bool:
    """Whether these are complex numbers."""
    return jnp.issubdtype(values.dtype, jnp.complexfloating)


def is_count(values: Values) -> bool:
    """Whether these are integers or booleans."""
    return values.dtype == bool or jnp.issubdtype(values.dtype, jnp.integer)


def widest_float() -> Any:
    """float64 if JAX has it (`jax_enable_x64`), else float32.

    >>> widest_float()
    dtype('float32')
    """
    return jax.dtypes.canonicalize_dtype(np.float64)


def widened(values: Array) -> Float[Array, "..."]:
    """Real numbers in float32, or as they are if wider."""
    wide = is_float(values) and values.dtype.itemsize >= 4
    return values if wide else values.astype(jnp.float32)


def real_floats(owner: str, name: str, values: Any) -> Float[Array, "..."]:
    """Real floating-point numbers in float32 or wider; DataError for other dtypes.

    >>> real_floats("loss", "logits", jnp.ones(2, jnp.float16)).dtype
    dtype('float32')
    """
    found = read(owner, name, values)
    if not is_float(found):
        raise refusal(
            owner,
            described(name, found),
            "floating-point numbers",
            "Check the order of the arguments, or convert with astype(float).",
        )
    return widened(jnp.asarray(found))


def floating(values: Any) -> Inexact[Array, "..."]:
    """Integers and booleans as float32; floating-point and complex numbers as they are.

    >>> floating(np.array([7, 255], np.uint8)).tolist()
    [7.0, 255.0]
    """
    found = values if is_a(values, jax.Array | np.ndarray) else np.asarray(values)
    if jnp.issubdtype(found.dtype, jnp.inexact):
        return jnp.asarray(found)
    return jnp.asarray(found.astype(np.float32))  # before JAX cuts int64 to int32


def as_floats(values: Values) -> Float[Array, "..."]:
    """Real numbers in the widest float that JAX has, as `widest_float` says.

    Integers of 64 bits are converted where they are: JAX would cut them to 32 bits first.

    >>> as_floats(np.array([2**40])).tolist() == [2.0**40]
    True
    """
    return jnp.asarray(values.astype(widest_float()))


def check_same_shape(owner: str, **arrays: Array) -> None:
    """Raises DataError unless two arrays have one shape: no broadcasting of samples."""
    (first, a), (second, b) = arrays.items()
    if a.shape != b.shape:
        raise refusal(
            owner,
            f"{first} of shape {a.shape} and {second} of shape {b.shape}",
            "equal shapes",
            "Give one row of each for every sample.",
        )


def check_lengths(owner: str, **arrays: Any) -> None:
    """Raises DataError unless all arrays have a first axis, of the same length."""
    for name, a in arrays.items():
        if a.ndim == 0:
            raise refusal(owner, described(name, a), "an axis of samples", "Add it: values[None].")
    lengths = {name: len(a) for name, a in arrays.items()}
    if len(set(lengths.values())) > 1:
        raise refusal(
            owner,
            " and ".join(f"{length} {name}" for name, length in lengths.items()),
            "as many of each",
            "Give one of each for every sample.",
        )
