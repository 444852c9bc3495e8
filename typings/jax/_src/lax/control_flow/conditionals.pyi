# As in jax, but a lambda's argument is `Any`, not unknown.
from collections.abc import Callable, Sequence
from typing import Any, overload

@overload
def cond(
    pred: Any, true_fun: Callable[[Any], Any], false_fun: Callable[[Any], Any], operand: Any, /
) -> Any: ...
@overload
def cond(
    pred: Any, true_fun: Callable[..., Any], false_fun: Callable[..., Any], *operands: Any
) -> Any: ...
def switch(index: Any, branches: Sequence[Callable[..., Any]], *operands: Any) -> Any: ...
def __getattr__(name: str) -> Any: ...
