# As jaxtyping itself has it for type checkers, but `PyTree`: there an unknown type, here `Any`.
from typing import (
    Annotated as Bool,
    Annotated as Complex,
    Annotated as Complex64,
    Annotated as Complex128,
    Annotated as Float,
    Annotated as Float32,
    Annotated as Float64,
    Annotated as Inexact,
    Annotated as Int,
    Annotated as Int32,
    Annotated as Integer,
    Annotated as Key,
    Annotated as Num,
    Annotated as Real,
    Annotated as Shaped,
    Annotated as UInt8,
    Annotated as UInt32,
    Any,
    TypeAlias,
)

from jax import Array
from jax.typing import ArrayLike

PRNGKeyArray: TypeAlias = Array
PyTree: TypeAlias = Any

__all__ = [
    "Array",
    "ArrayLike",
    "Bool",
    "Complex",
    "Complex64",
    "Complex128",
    "Float",
    "Float32",
    "Float64",
    "Inexact",
    "Int",
    "Int32",
    "Integer",
    "Key",
    "Num",
    "PRNGKeyArray",
    "PyTree",
    "Real",
    "Shaped",
    "UInt8",
    "UInt32",
]
