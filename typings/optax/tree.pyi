from typing import Any

from jax import Array

def norm(tree: Any) -> Array: ...
