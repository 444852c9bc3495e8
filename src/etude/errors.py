"""What goes wrong and can be mended, each with a sentence that says the cure: one tree.

Every error that Étude raises on purpose is an `EtudeError`, and a built-in error of its kind as
well, so that either can be caught.

>>> issubclass(CheckpointError, EtudeError), issubclass(CheckpointError, RuntimeError)
(True, True)
"""

import difflib
import re
from collections.abc import Generator, Iterable, Sequence
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


class UsageError(EtudeError, ValueError):
    """The command line or a configuration is wrong; all problems in one message."""

    def __init__(self, problems: Sequence[str], hint: str = ""):
        lines = list(dict.fromkeys(problems))
        listed = lines[0] if len(lines) == 1 else "\n".join(f"  - {line}" for line in lines)
        head = "" if len(lines) == 1 else f"{len(lines)} problems:\n"
        super().__init__(f"{head}{listed}" + (f"\n{hint}" if hint else ""))


class RunError(EtudeError, ValueError):
    """A folder that cannot be made a run, or is none; the message says the cure."""


class LockedError(EtudeError, RuntimeError):
    """Another training writes this run."""


class RunLostError(EtudeError, RuntimeError):
    """The folder of a run was deleted, moved or replaced while it was being written."""


class ProcessLostError(EtudeError, RuntimeError):
    """Another process of a training is gone, and without it nothing can go on."""


class CheckpointError(EtudeError, RuntimeError):
    """A checkpoint could not be written, or none can be restored; the message says why."""


class ResumeError(EtudeError):
    """A run that cannot be resumed by this trainer."""


class OtherSettingsError(ResumeError):
    """A run that was made with other settings: `told` lists them, `way` goes on with the new ones.

    >>> print(OtherSettingsError("rate: got 0.02, expected 0.01", "trainer.resume()"))
    rate: got 0.02, expected 0.01
    Resume it with the settings that it has, or go on with the new ones: trainer.resume()
    """

    def __init__(self, told: str, way: str):
        super().__init__(told, way)
        self.told, self.way = told, way

    def __str__(self) -> str:
        return (
            f"{self.told}\nResume it with the settings that it has, or go on with the new ones: "
            f"{self.way}"
        )


class ColumnError(EtudeError, KeyError):
    """A metric that a history does not have; the message names near ones."""

    def __str__(self) -> str:
        return Exception.__str__(self)  # a KeyError would show its message in quotes


@contextmanager
def memory_explained() -> Generator[None, None, None]:
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
