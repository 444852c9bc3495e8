"""Whether a function depends on one of its arguments, also where it hands it on whole.

>>> import jax.numpy as jnp
>>> def rate_alone(hyper):
...     return jax.jit(lambda h: jnp.sin(h["rate"]))(hyper)
>>> [reads(rate_alone, f"[0][{name!r}]", {"rate": 1.0, "decay": 1.0}) for name in ("rate", "decay")]
[True, False]
"""

from collections.abc import Callable, Iterable
from typing import Any

import jax
from jax.extend.core import Jaxpr, Literal, Var


def reads(function: Callable[..., Any], path: str, *arguments: Any) -> bool:
    """Whether what a function returns, or an operation in it, takes the leaf at `path`.

    The function is traced on these arguments, and the path counts from their tuple,
    `[0].hyper['rate']`. To hand the leaf on to a function within that does nothing with it does
    not count.
    """
    leaves = jax.tree_util.tree_leaves_with_path(arguments)
    place = [jax.tree_util.keystr(one) for one, _ in leaves].index(path)
    traced = jax.make_jaxpr(function)(*arguments).jaxpr
    used, passed = _followed(traced, [place])
    return used or any(passed)


def _followed(jaxpr: Jaxpr, places: Iterable[int]) -> tuple[bool, list[bool]]:
    """Whether an operation takes one of these inputs, and which outputs are one of them."""
    wanted: set[Var] = {jaxpr.invars[place] for place in places}
    for equation in jaxpr.eqns:
        taken = [
            place
            for place, one in enumerate(equation.invars)
            if not isinstance(one, Literal) and one in wanted
        ]
        if not taken:
            continue
        inner, before = _called(equation.params)
        own = len(equation.invars) - before
        if min(taken) < before or not inner or any(len(one.invars) != own for one in inner):
            return True, []
        # What a loop carries may be at another place the next time: it is taken to be read.
        constants, carried = (equation.params.get(name, 0) for name in ("num_consts", "num_carry"))
        if any(constants <= place < constants + carried for place in taken):
            return True, []
        for called in inner:
            used, passed = _followed(called, [place - before for place in taken])
            if used:
                return True, []
            wanted |= {one for one, same in zip(equation.outvars, passed, strict=True) if same}
    return False, [not isinstance(one, Literal) and one in wanted for one in jaxpr.outvars]


def _called(params: dict[str, Any]) -> tuple[list[Jaxpr], int]:
    """The functions that an operation calls with its own inputs, and how many inputs come before.

    There is none of another operation. A choice between branches has its number before.
    """
    if "branches" in params:
        return [one.jaxpr for one in params["branches"]], 1
    found = [params[name] for name in ("jaxpr", "call_jaxpr") if name in params]
    return [getattr(one, "jaxpr", one) for one in found], 0
