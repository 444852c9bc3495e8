# A tree's structure, without its leaves.
from collections.abc import Iterable
from typing import Any

class PyTreeDef:
    num_leaves: int
    def unflatten(self, leaves: Iterable[Any], /) -> Any: ...
    def flatten_up_to(self, tree: Any, /) -> list[Any]: ...

class PyTreeRegistry:
    def flatten_one_level_with_keys(
        self, tree: Any, /
    ) -> tuple[Iterable[tuple[Any, Any]], Any] | None: ...

def __getattr__(name: str) -> Any: ...
