"""What a trainer is told beside its phases, refused where it would mean something else.

>>> checked_seed(3)
3
"""

from typing import Any, get_args

from etude.engine.numbers import is_count
from etude.engine.program import Executor
from etude.errors import ConfigurationError, suggest
from etude.kinds import is_a
from etude.training.nonfinite import NonFinite


def checked_seed(seed: Any) -> int:
    """A seed. Raises `ConfigurationError` for what is no whole number of 64 bits."""
    # Cut to a number, 0.5 would be the seed 0, and "7" the seed 7.
    if not (is_count(seed, -(2**63)) and seed < 2**63):
        raise ConfigurationError(f"seed is a whole number below 2**63; got {seed!r}.")
    return int(seed)


def checked_nonfinite(nonfinite: Any) -> NonFinite:
    """What to do about NaN. Raises `ConfigurationError` for no policy."""
    if is_a(nonfinite, NonFinite):
        return nonfinite
    return NonFinite(nonfinite)


def check_options(*, executor: Any, on_full_disk: Any, **flags: Any) -> None:
    """Raises `ConfigurationError`, with all problems, for what none of them may be."""
    problems = [
        f"{name} is {' or '.join(map(repr, known))}{also}; got {given!r}. "
        f"{suggest(str(given), known)}"
        for name, given, known, also in (
            ("executor", executor, get_args(Executor), " or None"),
            ("on_full_disk", on_full_disk, ("stop", "continue"), ""),
        )
        if not (given in known or (also and given is None))
    ]
    # A text, such as "no", would count as true.
    problems += [
        f"{name} is True or False; got {flag!r}."
        for name, flag in flags.items()
        if not is_a(flag, bool)
    ]
    if problems:
        raise ConfigurationError("\n".join(problems))
