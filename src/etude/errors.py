"""What goes wrong by the user's doing, each with a sentence that says the cure."""

import difflib
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager


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


class OutOfMemoryError(EtudeError, MemoryError):
    """What was asked for does not fit into the memory of the device or of the computer."""


@contextmanager
def memory_explained() -> Iterator[None]:
    """Within, an error of XLA or NumPy for lack of memory becomes an OutOfMemoryError.

    >>> try:
    ...     with memory_explained():
    ...         raise MemoryError("Unable to allocate 8589934592 bytes")
    ... except OutOfMemoryError as error:
    ...     print(str(error)[:50])
    Out of memory: 8.0 GiB were asked for at once. Mak
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, OutOfMemoryError) or not (
            isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error)
        ):
            raise
        told = OutOfMemoryError(
            f"Out of memory: {_size(str(error))} asked for at once. Make the model or the batch "
            "smaller, or compute the batch in parts: Learner(accumulate=...)."
        )
        for note in getattr(error, "__notes__", []):
            told.add_note(note)
        raise told from error


def _size(text: str) -> str:
    """The size that the message of an allocator names."""
    found = re.search(r"(\d+) ?(?:bytes|B)\b", text)
    if found:
        return f"{int(found[1]) / 2**30:,.1f} GiB were"
    found = re.search(r"[\d.]+ ?[KMGTPE]i?B", text)
    return f"{found[0]} were" if found else "more than there is was"


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
