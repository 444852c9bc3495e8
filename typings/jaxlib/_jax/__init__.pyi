# What the compiled module of jaxlib leaves unsaid and the signatures of jax's functions name.
from typing import Any

from jaxlib._jax import pytree as pytree

class Device:
    id: int
    platform: str
    device_kind: str
    compute_capability: str
    def memory_stats(self) -> dict[str, int] | None: ...

def __getattr__(name: str) -> Any: ...
