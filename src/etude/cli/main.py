"""The `etude` command.

Exit codes: 0 done; 1 failed (training, data, files, or a bug); 2 bad use (the command line, a
configuration, a folder that holds no run, or another); 3 interrupted and resumable. What the user
can mend is one message without a traceback; an unexpected exception is one line and the path of a
file that holds its traceback.

>>> main(["trian"])
2
"""

import signal
import sys
import tempfile
import threading
import traceback
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from etude.cli.joining import speaks
from etude.cli.options import asks_for_help
from etude.cli.reading import run
from etude.cli.table import find_command, help_of, help_of_all
from etude.errors import (
    ConfigurationError,
    EtudeError,
    ResumeError,
    RunError,
    UsageError,
    memory_explained,
)
from etude.training.signals import NUMBERS

DONE, FAILED, BAD_USE, INTERRUPTED = 0, 1, 2, 3

#: The exit code of each class of error that the user can mend; the first that fits counts.
CODES: tuple[tuple[type[Exception], int], ...] = (
    (UsageError, BAD_USE),
    (ConfigurationError, BAD_USE),
    (RunError, BAD_USE),
    (ResumeError, BAD_USE),
    (EtudeError, FAILED),
    (OSError, FAILED),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command; returns the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        with _terminable(), _plain_warnings(), memory_explained():
            return _run(arguments)
    except KeyboardInterrupt as error:
        return _interrupted(error)
    except Exception as error:
        return _failed(error)


def _run(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help"):
        print(help_of_all())
        return DONE if arguments else BAD_USE
    if arguments[0] == "--version":
        from importlib.metadata import version

        print(f"etude {version('etude')}")
        return DONE
    name, *rest = arguments
    command = find_command(name)
    if asks_for_help(rest):
        print(help_of(name, command, rest))
    else:
        run(command, rest)
    return DONE


def _interrupted(error: KeyboardInterrupt) -> int:
    """What can be resumed says so in its message."""
    if speaks():
        _say(str(error) or "Interrupted before there was anything to resume.")
    return INTERRUPTED if str(error) else FAILED


def _failed(error: Exception) -> int:
    if isinstance(error, BrokenPipeError):  # the reader of our output has enough, as `head` has
        sys.stderr.close()
        return FAILED
    code = next((code for kind, code in CODES if isinstance(error, kind)), None)
    if code is not None and not speaks():
        return code  # the first process has the same error, and says it
    if code is not None:
        _say("\n".join([f"etude: {error}", *getattr(error, "__notes__", [])]))
        return code
    with tempfile.NamedTemporaryFile(
        "w", prefix="etude-", suffix=".log", delete=False, encoding="utf-8"
    ) as file:
        file.write("".join(traceback.format_exception(error)))
    summary = str(error).splitlines()[0][:200] if str(error) else "no message"
    _say(f"etude: unexpected {type(error).__name__}: {summary}\nThe traceback is in {file.name}")
    return FAILED


def _say(text: str) -> None:
    """To standard error; a terminal that was closed changes nothing about the exit code."""
    with suppress(OSError):
        sys.stdout.flush()
    # Names of files may hold what no encoding can show.
    with suppress(OSError):
        print(text.encode(errors="backslashreplace").decode(), file=sys.stderr)


@contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM and SIGHUP interrupt as Ctrl-C does, also outside training (a trainer handles all
    three itself). One that is ignored, as under nohup, stays so."""

    def interrupt(number: int, frame: Any) -> None:
        raise KeyboardInterrupt

    before = {}
    if threading.current_thread() is threading.main_thread():
        for number in NUMBERS:
            if number != signal.SIGINT and signal.getsignal(number) is not signal.SIG_IGN:
                before[number] = signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


@contextmanager
def _plain_warnings() -> Iterator[None]:
    """Warnings, such as of a damaged checkpoint passed over, are one line without source code."""

    def plain(message: Warning | str, *_: Any, **__: Any) -> str:
        return f"etude: {message}\n"

    before, warnings.formatwarning = warnings.formatwarning, plain
    try:
        yield
    finally:
        warnings.formatwarning = before


if __name__ == "__main__":
    sys.exit(main())
