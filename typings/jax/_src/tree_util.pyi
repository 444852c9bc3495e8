# Key paths: jax's own signatures name a key by a type variable that nothing binds.
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

from jaxlib._jax.pytree import PyTreeDef as PyTreeDef, PyTreeRegistry

KeyPath: TypeAlias = tuple[Any, ...]

default_registry: PyTreeRegistry

def keystr(keys: KeyPath, *, simple: bool = False, separator: str = "") -> str: ...
def tree_leaves_with_path(
    tree: Any, is_leaf: Callable[[Any], bool] | None = None
) -> list[tuple[KeyPath, Any]]: ...
def tree_flatten_with_path(
    tree: Any, is_leaf: Callable[[Any], bool] | None = None
) -> tuple[list[tuple[KeyPath, Any]], PyTreeDef]: ...
def tree_map_with_path(
    f: Callable[..., Any], tree: Any, *rest: Any, is_leaf: Callable[[Any], bool] | None = None
) -> Any: ...
def treedef_tuple(treedefs: Iterable[PyTreeDef]) -> PyTreeDef: ...
def __getattr__(name: str) -> Any: ...
