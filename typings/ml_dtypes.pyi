# jax.numpy.finfo and iinfo are these.
from typing import Any

class finfo:
    def __init__(self, dtype: Any) -> None: ...
    bits: int
    dtype: Any
    eps: Any
    max: Any
    min: Any
    tiny: Any
    smallest_normal: Any
    maxexp: int
    minexp: int
    nmant: int

class iinfo:
    def __init__(self, dtype: Any) -> None: ...
    bits: int
    dtype: Any
    kind: str
    max: int
    min: int

def __getattr__(name: str) -> Any: ...
