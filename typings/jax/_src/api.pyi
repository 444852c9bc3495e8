# jax's transformations, whose own signatures take and return functions without a type
# (`Callable`, not `Callable[..., Any]`).
from collections.abc import Callable, Hashable, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Literal, Protocol, TypeVar, overload

from jax import Device
from jax.extend.core import ClosedJaxpr
from jax.sharding import Sharding
from jax.stages import Lowered, Traced

Function = TypeVar("Function", bound=Callable[..., Any])
Value = TypeVar("Value")
Aux = TypeVar("Aux")

class Jitted(Protocol):
    def __call__(self, *args: Any, **kwargs: Any) -> Any: ...
    def trace(self, *args: Any, **kwargs: Any) -> Traced: ...
    def lower(self, *args: Any, **kwargs: Any) -> Lowered: ...

@overload
def jit(
    fun: Callable[..., Any],
    /,
    *,
    out_shardings: Any = ...,
    static_argnums: int | Sequence[int] | None = ...,
    static_argnames: str | Iterable[str] | None = ...,
    donate_argnums: int | Sequence[int] | None = ...,
    keep_unused: bool = ...,
    inline: bool = ...,
    compiler_options: dict[str, Any] | None = ...,
) -> Jitted: ...
@overload
def jit(
    *,
    out_shardings: Any = ...,
    static_argnums: int | Sequence[int] | None = ...,
    static_argnames: str | Iterable[str] | None = ...,
    donate_argnums: int | Sequence[int] | None = ...,
    keep_unused: bool = ...,
    inline: bool = ...,
    compiler_options: dict[str, Any] | None = ...,
) -> Callable[[Callable[..., Any]], Jitted]: ...
def grad(
    fun: Callable[..., Any],
    argnums: int | Sequence[int] = 0,
    has_aux: bool = False,
    holomorphic: bool = False,
    allow_int: bool = False,
) -> Callable[..., Any]: ...
def value_and_grad(
    fun: Callable[..., Any],
    argnums: int | Sequence[int] = 0,
    has_aux: bool = False,
    holomorphic: bool = False,
    allow_int: bool = False,
) -> Callable[..., tuple[Any, Any]]: ...
def vmap(
    fun: Function,
    in_axes: int | Sequence[Any] | None = 0,
    out_axes: Any = 0,
    axis_name: Hashable | None = None,
    axis_size: int | None = None,
) -> Function: ...
def jvp(
    fun: Callable[..., Any], primals: Any, tangents: Any, has_aux: bool = False
) -> tuple[Any, ...]: ...
@overload
def vjp(
    fun: Callable[..., Value], *primals: Any, has_aux: Literal[False] = False
) -> tuple[Value, Callable[..., Any]]: ...
@overload
def vjp(
    fun: Callable[..., tuple[Value, Aux]], *primals: Any, has_aux: Literal[True]
) -> tuple[Value, Callable[..., Any], Aux]: ...
def linearize(fun: Callable[..., Any], *primals: Any) -> tuple[Any, Callable[..., Any]]: ...
def linear_transpose(fun: Callable[..., Any], *primals: Any) -> Callable[..., Any]: ...
def make_jaxpr(fun: Callable[..., Any]) -> Callable[..., ClosedJaxpr]: ...
@overload
def eval_shape(fun: Callable[[Any, Any], Any], one: Any, other: Any, /) -> Any: ...
@overload
def eval_shape(fun: Callable[..., Any], *args: Any, **kwargs: Any) -> Any: ...
def device_put(
    x: Any,
    device: Device | Sharding | Any | None = None,
    *,
    donate: bool | Any = False,
    may_alias: bool | Any | None = None,
) -> Any: ...
def device_get(x: Any) -> Any: ...
def disable_jit(disable: bool = True) -> AbstractContextManager[None]: ...
def clear_caches() -> None: ...
def __getattr__(name: str) -> Any: ...
