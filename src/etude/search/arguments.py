"""The names of a space against the arguments of a function, before it is called."""

import inspect
from collections.abc import Callable, Collection, Sequence
from typing import Any

from etude.errors import suggest

#: What can be given by name.
NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


def wrong_arguments(
    function: Callable[..., Any], names: Sequence[str], given: Collection[str], seeds: int
) -> list[str]:
    """Sentences about names that a function does not take, and about those that it lacks.

    Args:
        function: what is called, with every name of the space as an argument.
        names: those of the space.
        given: more that are not missed, as a name whose range is wrong.
        seeds: how often each setting is tried; with several, the function has an argument `seed`.

    >>> wrong_arguments(lambda rate: rate, ["rat"], [], 1)
    ["The function takes no 'rat'. Did you mean 'rate'?", "The space gives no 'rate'."]
    """
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # of some that are written in C nothing is known
        return []
    known = [one.name for one in parameters if one.kind in NAMED]
    takes_all = any(one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters)
    problems: list[str] = []
    if not takes_all:
        problems += [
            f"The function takes no {name!r}. "
            + (suggest(name, known) if known else "It takes no argument by name.")
            for name in names
            if name not in known
        ]
        if seeds > 1 and "seed" not in known:
            problems.append(
                f"seeds={seeds} gives the function an argument seed, which it does not take."
            )
    if seeds > 1 and "seed" in names:
        problems.append(f"seed: it is in the space, and seeds={seeds} gives it as well.")
    problems += [
        f"The space gives no {one.name!r}."
        for one in parameters
        if one.default is one.empty
        and one.kind in (*NAMED, inspect.Parameter.POSITIONAL_ONLY)
        and one.name not in (*names, *given, *(["seed"] if seeds > 1 else []))
    ]
    return problems
