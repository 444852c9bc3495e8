"""Which outputs of a traced function are its inputs, handed through unchanged.

Tracers say it by their identity, except where a transformation returns new ones:
`stop_gradient`, custom derivatives, a `while` loop, a compiled function called eagerly. There
the jaxpr says it: an output variable that is an input variable is unchanged, whatever the values.

>>> import jax, jax.numpy as jnp
>>> def function(x, y):
...     return jax.lax.stop_gradient(x), y + 1
>>> copies(jax.make_jaxpr(function)(1.0, 2.0).jaxpr)
[0, None]
"""

from collections.abc import Callable
from typing import Any

import jax
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal
from jaxtyping import Array

#: The input that an output is a copy of, by its number, or None.
Source = int | None

# Primitives that return their operands as they are.
_IDENTITIES = {"copy", "copy_p", "stop_gradient", "optimization_barrier", "name", "device_put",
               "sharding_constraint"}  # fmt: skip
# Primitives that call a function of the same inputs and outputs, and the parameter that has it.
_CALLS = {
    "jit": "jaxpr",
    "pjit": "jaxpr",
    "closed_call": "call_jaxpr",
    "core_call": "call_jaxpr",
    "remat2": "jaxpr",
    "checkpoint": "jaxpr",
    "custom_jvp_call": "call_jaxpr",
    "custom_vjp_call": "call_jaxpr",
}


def forwarded(function: Callable[[list[Array]], list[Array]], arrays: list[Array]) -> list[bool]:
    """For each output of `function`, whether it is the input of the same position. Traces it."""
    # Loops would run on tracers if they were not compiled.
    with jax.disable_jit(False):
        found = copies(jax.make_jaxpr(function)(arrays).jaxpr)
    return [source == index for index, source in enumerate(found)]


def copies(jaxpr: Jaxpr | ClosedJaxpr) -> list[Source]:
    """Of every output of a jaxpr, the number of the input that it is a copy of, or None."""
    inner = jaxpr.jaxpr if isinstance(jaxpr, ClosedJaxpr) else jaxpr
    origin: dict[Any, Any] = {var: var for var in inner.invars}
    for equation in inner.eqns:
        operands = [None if isinstance(x, Literal) else origin.get(x, x) for x in equation.invars]
        for out, source in zip(equation.outvars, _sources(equation), strict=True):
            origin[out] = out if source is None else operands[source]
    number = {var: index for index, var in enumerate(inner.invars)}
    return [
        None if isinstance(out, Literal) else number.get(origin.get(out, out))
        for out in inner.outvars
    ]


def _sources(equation: Any) -> list[Source]:
    """Of every output of an equation, the operand that it is a copy of."""
    name, params = equation.primitive.name, equation.params
    outputs = len(equation.outvars)
    if name in _IDENTITIES and outputs == len(equation.invars):
        return list(range(outputs))
    if name in _CALLS and _CALLS[name] in params:
        return copies(params[_CALLS[name]])
    if name == "cond":
        return _agreed([copies(branch) for branch in params["branches"]])
    if name == "scan":
        return _of_scan(params)
    if name == "while":
        return _of_while(params)
    return [None] * outputs


def _agreed(branches: list[list[Source]]) -> list[Source]:
    same = [found[0] if len(set(found)) == 1 else None for found in zip(*branches, strict=True)]
    # The first operand of a cond is the index of its branch.
    return [None if source is None else source + 1 for source in same]


def _of_scan(params: dict[str, Any]) -> list[Source]:
    consts, carried = params["num_consts"], params["num_carry"]
    inputs = consts + carried
    found: list[Source] = []
    for index, source in enumerate(copies(params["jaxpr"])):
        if index < carried:
            found.append(source if source == consts + index else None)
        else:  # stacked again as it was sliced
            found.append(source if source is not None and source >= inputs else None)
    return found


def _of_while(params: dict[str, Any]) -> list[Source]:
    consts, outside = params["body_nconsts"], params["cond_nconsts"]
    return [
        outside + source if source == consts + index else None
        for index, source in enumerate(copies(params["body_jaxpr"]))
    ]
