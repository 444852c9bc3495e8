"""Physical quantities: numbers or arrays, of NumPy or JAX, refused by name where they cannot be.

>>> try:
...     check_positive("shaft", speed=0.0)
... except et.DataError as error:
...     print(str(error)[:56])
shaft: got speed=0.0, expected a finite number above 0.
"""

from typing import Any, TypeAlias

import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

import etude as et

#: A quantity in the unit that its docstring says: one number, or one for each recording.
Quantity: TypeAlias = float | Float[np.ndarray, "..."] | Float[Array, "..."]


def check_positive(owner: str, **quantities: Any) -> None:
    """Raises DataError for a quantity that is not above zero, or not finite.

    What is traced by JAX has no value yet, and passes.
    """
    for name, value in quantities.items():
        if isinstance(value, Tracer):
            continue
        values = np.asarray(value)
        bad = values[~(np.isfinite(values) & (values > 0))]
        if bad.size:
            raise et.DataError(
                f"{owner}: got {name}={bad.flat[0]}, expected a finite number above 0. Check its "
                "unit, and that it was read from the right place."
            )
