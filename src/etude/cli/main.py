"""The `etude` command.

Exit codes: 0 done; 1 failed (training, data, files, or a bug); 2 bad use (the command line, a
configuration, a folder that is no run); 3 interrupted and resumable. What the user can mend is
one message without a traceback; an unexpected exception is one line and the path of a file that
holds its traceback.

>>> main(["trian"])
2
"""

import signal
import sys
import tempfile
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from etude.cli import commands, verbs
from etude.entry_points import COMMANDS as OF_SYSTEMS, RECIPES, offered
from etude.errors import (
    ConfigurationError,
    EtudeError,
    RunError,
    UsageError,
    memory_explained,
    suggest,
)
from etude.training.signals import NUMBERS

DONE, FAILED, BAD_USE, INTERRUPTED = 0, 1, 2, 3

#: The exit code of each class of error that the user can mend; the first that fits counts.
CODES: tuple[tuple[type[Exception], int], ...] = (
    (UsageError, BAD_USE),
    (ConfigurationError, BAD_USE),
    (RunError, BAD_USE),
    (EtudeError, FAILED),
    (OSError, FAILED),
)

COMMANDS: dict[str, tuple[Callable[[Sequence[str]], None], str, str]] = {
    "list": (commands.list_recipes, "", "all recipes"),
    "train": (
        commands.train,
        "RECIPE [--run DIR] [--overwrite] [--config FILE] [--FIELD VALUE ...]",
        "run a recipe; `etude train RECIPE --help` lists its fields",
    ),
    "resume": (
        commands.resume,
        "RUN [--checkpoint NAME] [--changes allow] [--recipe NAME] [--FIELD VALUE ...]",
        "go on with a run that was interrupted, or train it longer",
    ),
    "evaluate": (
        commands.evaluate,
        "RUN [--split test] [--recipe NAME]",
        "measure the models of a run",
    ),
    "predict": (
        verbs.predict,
        "RUN INPUT... [--out DIR] [--recipe NAME] [--OPTION VALUE ...]",
        "what the trained model says about inputs; `etude predict RUN --help` lists the options",
    ),
    "sample": (
        verbs.sample,
        "RUN [--count 64] [--out DIR] [--recipe NAME] [--OPTION VALUE ...]",
        "draw from the trained model; `etude sample RUN --help` lists the options",
    ),
    "report": (commands.report, "RUN", "write report.html and figures; prints the path"),
    "history": (
        commands.history,
        "RUN [--csv FILE]",
        "how a training stands, and its metrics; with --csv every step and validation",
    ),
    "info": (commands.info, "", "versions and devices"),
}


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
    asks = any(argument in ("-h", "--help") for argument in arguments)
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_help())
        return DONE if asks else BAD_USE
    if arguments[0] == "--version":
        from importlib.metadata import version

        print(f"etude {version('etude')}")
        return DONE
    name, *rest = arguments
    if name not in COMMANDS:
        return _run_system_command(name, rest, asks)
    command, usage, summary = COMMANDS[name]
    about = next((word for word in rest if not word.startswith("-")), None)
    if not asks:
        command(rest)
    elif name == "train" and about:
        commands.train_help(about)
    elif name in ("predict", "sample") and about:
        verbs.help_on(name, about, rest)
    else:
        print(f"usage: etude {name} {usage}".rstrip() + f"\n\n{summary}")
        if name == "train":
            print("\nRecipes (`etude list` says what they do):\n")
            print("\n".join(f"  {recipe}" for recipe in offered(RECIPES)))
    return DONE


def _run_system_command(name: str, rest: list[str], asks: bool) -> int:
    known = [*COMMANDS, *offered(OF_SYSTEMS)]
    if name not in known:
        raise UsageError([f"There is no command {name!r}. {suggest(name, known)}"])
    # Loaded late: it imports JAX.
    from etude.catalogue import offered_command

    command = offered_command(name)
    if asks:
        verbs.help_of(name, command)
    else:
        verbs.system_command(command, rest)
    return DONE


def _help() -> str:
    width = max(map(len, COMMANDS))
    lines = [
        f"  {name:{width}}  {usage}\n  {'':{width}}    {summary}".replace(
            f"{name}  \n", f"{name}\n"
        )
        for name, (_, usage, summary) in COMMANDS.items()
    ]
    return "\n".join(
        [
            "usage: etude COMMAND ...",
            "",
            "One trainer, on JAX, for models that do not learn like everyone else's.",
            "",
            *lines,
            "",
            f"Of installed systems: {', '.join(offered(OF_SYSTEMS)) or 'none'}; "
            "`etude NAME --help` explains one.",
            "",
            "Exit codes: 0 done, 1 failed, 2 bad use, 3 interrupted and resumable.",
        ]
    )


def _interrupted(error: KeyboardInterrupt) -> int:
    """What can be resumed says so in its message."""
    _say(str(error) or "Interrupted before there was anything to resume.")
    return INTERRUPTED if str(error) else FAILED


def _failed(error: Exception) -> int:
    if isinstance(error, BrokenPipeError):  # the reader of our output has enough, as `head` has
        sys.stderr.close()
        return FAILED
    code = next((code for kind, code in CODES if isinstance(error, kind)), None)
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
