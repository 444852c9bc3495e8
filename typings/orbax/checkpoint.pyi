# Read by one module, which hands out its own types.
from typing import Any

def __getattr__(name: str) -> Any: ...
