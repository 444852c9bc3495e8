"""What goes wrong by the user's doing, each with a sentence that says the cure."""

import difflib
from collections.abc import Iterable


class EtudeError(Exception):
    """Something that the user can mend; the command line shows it without a traceback."""


class ConfigurationError(EtudeError, ValueError):
    """Phases, learners or options that cannot work together."""


class ModelError(EtudeError, ValueError):
    """A model, or a part of one, that cannot be trained as asked."""


class RuleError(EtudeError, TypeError):
    """A rule, loss or measure that returns something else than it must."""


class DataError(EtudeError, ValueError):
    """Data that cannot be trained on: what is wrong, where, and the cure."""


class NonFiniteError(EtudeError, ArithmeticError):
    """A loss or an update became NaN or infinite."""


def suggest(name: str, known: Iterable[str]) -> str:
    """A sentence that names the nearest of the known names, or all of them.

    >>> suggest("adma", ["adam", "sgd"])
    "Did you mean 'adam'?"
    >>> suggest("x", ["adam", "sgd"])
    "Known: 'adam', 'sgd'."
    """
    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=3)
    if near:
        return f"Did you mean {' or '.join(map(repr, near))}?"
    return f"Known: {', '.join(map(repr, known))}."
