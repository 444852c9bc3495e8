"""The constants of an optimizer, read from the closures of its functions.

Optax keeps them nowhere else: a transformation is a pair of functions, and what
`adam(1e-3, b1=0.8)` was called with stands in their closures, as it does for schedules.

>>> found = constants(optax.adam(1e-3, b1=0.8))
>>> found["0"], found["0.b1"], found["1.step_size"]
('scale_by_adam', 0.8, -0.001)
"""

import functools
import hashlib
import math
import types
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
import optax

#: Names of what only passes other transformations on; they say nothing to a reader.
PLUMBING = {"init", "update", "init_fns", "update_fns", "tx", "inner", "_opt", "inner_factory"}

SILENT = {"chain", "with_extra_args_support", "init_empty_state", "identity", "stateless"}

#: Whose functions are named, and whose objects are read.
KNOWN = ("optax", "etude")


def constants(optimizer: optax.GradientTransformation) -> dict[str, Any]:
    """The numbers in the closures of an optimizer, and the names of optax's parts, by their path.

    What cannot be read (constants in the code of a user's own function) is left out.
    """
    found: dict[str, Any] = {}
    for path, value in _walk(optimizer, (), frozenset()):
        name = ".".join(part for part in path if part not in PLUMBING) or "type"
        # The same constant stands in `init` and in `update`; another one of its name is kept too.
        while name in found and found[name] != value:
            name += "'"
        found[name] = value
    return found


def made_with(function: Any) -> dict[str, Any] | None:
    """What a function was made with: by `functools.partial`, or by a maker of optax or of ours.

    None for any other: that there is one counts, its code and what it closes over do not.

    >>> made_with(functools.partial(np.clip, a_max=2.0))
    {'type': 'clip', 'a_max': 2.0}
    """
    if isinstance(function, functools.partial):
        name = getattr(function.func, "__name__", type(function.func).__name__)
        args = {str(place): value for place, value in enumerate(function.args)}
        inner = made_with(function.func) or {}
        return {**inner, "type": name, **args, **function.keywords}
    if isinstance(function, types.FunctionType) and _known(function) and function.__closure__:
        held = {name: value for name, value in _closure(function) if not isinstance(value, str)}
        return {"type": function.__qualname__.split(".<locals>")[0], **held}
    return None


def _walk(
    value: Any, path: tuple[str, ...], seen: frozenset[int]
) -> Iterator[tuple[tuple[str, ...], Any]]:
    if isinstance(value, bool | int):
        yield path, value
        return
    if isinstance(value, float):
        yield path, float(value) if math.isfinite(value) else str(value)
        return
    if isinstance(value, str):
        yield path, value
        return
    if isinstance(value, np.ndarray | np.generic | jax.Array):
        yield from _array(value, path)
        return
    if id(value) in seen or len(seen) > 30:
        return
    name = _name(value)
    if name:
        yield path, name
    for key, inner in _parts(value):
        yield from _walk(inner, (*path, key) if key else path, seen | {id(value)})


def _array(value: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    try:
        host = np.asarray(value)
    except TypeError:  # a random key, or a tracer that has leaked
        return
    if host.ndim == 0 and host.dtype.kind in "biuf":
        yield path, host.item() if np.isfinite(host) else str(host)
    elif host.dtype.kind != "O":
        digest = hashlib.sha256(host.tobytes()).hexdigest()[:8]
        yield path, f"{host.dtype}{list(host.shape)} {digest}"


def _parts(value: Any) -> list[tuple[str, Any]]:
    """What a value is made of, by name."""
    match value:
        case functools.partial():
            return [("", value.func), ("args", value.args), ("", value.keywords)]
        case types.MethodType():
            return list(vars(value.__self__).items()) if _known(type(value.__self__)) else []
        case types.FunctionType():
            return _closure(value)
        case dict():
            return [(str(key), inner) for key, inner in value.items()]
        case tuple() if isinstance(fields := getattr(value, "_fields", None), tuple):
            return list(zip(fields, value, strict=True))  # a named tuple
        case list() | tuple():
            return [(str(place), inner) for place, inner in enumerate(value)]
        case type() | types.ModuleType():
            return []
        case _ if _known(type(value)):
            return list(getattr(value, "__dict__", {}).items())
    wrapped = getattr(value, "__wrapped__", None)  # of a function under jax.jit
    return [] if wrapped is None else [("", wrapped)]


def _closure(function: types.FunctionType) -> list[tuple[str, Any]]:
    """What a function closes over, and the defaults of a user's, `lambda step, rate=0.1: rate`."""
    known, found = _known(function), []
    if not known:
        defaults = function.__defaults__ or ()
        arguments = function.__code__.co_varnames[: function.__code__.co_argcount]
        found += zip(arguments[len(arguments) - len(defaults) :], defaults, strict=True)
        found += (function.__kwdefaults__ or {}).items()
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            found.append((name, cell.cell_contents))
        except ValueError:  # a name that was not assigned yet
            continue
    # A text in a user's function may be anything, such as the folder of a run; one of optax's is
    # a label or a mode.
    return found if known else [(name, one) for name, one in found if not isinstance(one, str)]


def _name(value: Any) -> str | None:
    """Which of optax's or our own makers a function comes from."""
    if not isinstance(value, types.FunctionType) or not _known(value):
        return None
    maker = value.__qualname__.split(".<locals>")[0]
    return None if maker in SILENT else maker


def _known(value: Any) -> bool:
    return (value.__module__ or "").split(".")[0] in KNOWN
