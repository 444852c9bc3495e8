"""Command lines: `input ... --name value ... --field.sub=value`, and nothing else.

>>> line = parse(["digits", "--seeds", "0", "1", "--fast"], {"seeds": Takes.MANY})
>>> line.inputs, line.options
(['digits'], {'seeds': ['0', '1'], 'fast': []})
"""

import enum
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

_OPTION = re.compile(r"--(?P<name>[A-Za-z][^=]*)(=.*)?", re.DOTALL)
_TRUTH = {"true", "false", "yes", "no", "on", "off", "none", "null"}


class Takes(enum.Enum):
    """Which of the words after it are values of an option."""

    #: none, or one that is a truth value
    FLAG = enum.auto()
    ONE = enum.auto()
    #: all up to the next option
    MANY = enum.auto()

    def another(self, values: Sequence[str], word: str) -> bool:
        """Whether an option that has these values takes one more."""
        if self is Takes.MANY:
            return True
        return not values and (self is Takes.ONE or word.lower() in _TRUTH)


@dataclass
class Line:
    """What a command line says.

    Attributes:
        inputs: the words that belong to no option.
        options: values by name of the option.
        problems: sentences about options that are given twice.
        strays: inputs that stand behind an option which takes no more, by name of the option.
    """

    inputs: list[str] = field(default_factory=list)
    options: dict[str, list[str]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    strays: dict[str, list[str]] = field(default_factory=dict)


def parse(arguments: Sequence[str], known: Mapping[str, Takes]) -> Line:
    """The inputs, and the values by option; inputs and options may come in any order.

    `known` says which words are values; an option that it lacks takes all up to the next one. A
    value that itself begins with `--` is given as `--name=--value`. All that follows a bare `--`
    is an input. Hyphens in names are underscores.

    >>> parse(["--run", "runs/a", "digits", "--", "--odd.npy"], {"run": Takes.ONE}).inputs
    ['digits', '--odd.npy']
    """
    line = Line()
    name: str | None = None
    for number, argument in enumerate(arguments):
        if argument == "--":
            line.inputs += arguments[number + 1 :]
            break
        option = name_of(argument)
        if option is not None:
            name = option
            if name in line.options:
                line.problems.append(f"--{name} is given twice.")
            _, joined, value = argument.partition("=")
            line.options[name] = [value] if joined else []
        elif name is None:
            line.inputs.append(argument)
        elif known.get(name, Takes.MANY).another(line.options[name], argument):
            line.options[name].append(argument)
        else:
            line.inputs.append(argument)
            line.strays.setdefault(name, []).append(argument)
    return line


def leading(arguments: Sequence[str], known: Mapping[str, Takes]) -> Sequence[str]:
    """The arguments before the first option that is not known.

    >>> leading(["--run", "a", "digits", "--steps", "4"], {"run": Takes.ONE})
    ['--run', 'a', 'digits']
    """
    for number, argument in enumerate(arguments):
        if argument == "--":
            break
        name = name_of(argument)
        if name is not None and name not in known:
            return arguments[:number]
    return arguments


def words(inputs: Sequence[str], options: Mapping[str, Sequence[str]]) -> list[str]:
    """The arguments that `parse` reads as these.

    >>> words(["runs/a"], {"note": ["--x"], "widths": ["4", "8"], "fast": []})
    ['runs/a', '--note=--x', '--widths', '4', '8', '--fast']
    """
    found = list(inputs)
    for name, values in options.items():
        if values and _OPTION.fullmatch(values[0]):
            found += [f"--{name}={values[0]}", *values[1:]]
        else:
            found += [f"--{name}", *values]
    return found


def name_of(argument: str) -> str | None:
    """The name of the option that an argument is or begins; None of any other argument.

    >>> name_of("--over-write=yes"), name_of("-1e-3")
    ('over_write', None)
    """
    match = _OPTION.fullmatch(argument)
    return None if match is None else match["name"].replace("-", "_")


def asks_for_help(arguments: Sequence[str]) -> bool:
    """Whether `-h` or `--help` is among them; what follows a bare `--` is an input.

    >>> asks_for_help(["run", "-h"]), asks_for_help(["run", "--", "-h"])
    (True, False)
    """
    before = arguments[: arguments.index("--")] if "--" in arguments else arguments
    return "-h" in before or "--help" in before
