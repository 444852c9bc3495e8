"""Command lines: `positional ... --name value ... --field.sub=value`, and nothing else.

>>> parse(["digits", "--run", "runs/a", "--seeds", "0", "1", "--model.width=64"])
(['digits'], {'run': ['runs/a'], 'seeds': ['0', '1'], 'model.width': ['64']}, [])
"""

import re
from collections.abc import Mapping, Sequence

from etude.errors import suggest

_OPTION = re.compile(r"--(?P<name>[A-Za-z][^=]*)(=(?P<value>.*))?", re.DOTALL)


def parse(arguments: Sequence[str]) -> tuple[list[str], dict[str, list[str]], list[str]]:
    """(positional arguments, values by option, problems).

    An option takes all values up to the next option; a value that itself begins with `--` is
    given as `--name=--value`. All that follows a bare `--` is positional. Hyphens in names are
    underscores.

    >>> parse(["digits", "--run", "runs/a", "--", "--odd.npy"])[0]
    ['digits', '--odd.npy']
    """
    positional: list[str] = []
    options: dict[str, list[str]] = {}
    problems: list[str] = []
    target = positional
    for number, argument in enumerate(arguments):
        if argument == "--":
            positional += arguments[number + 1 :]
            break
        match = _OPTION.fullmatch(argument)
        if match is None:
            target.append(argument)
            continue
        name = match["name"].replace("-", "_")
        if name in options:
            problems.append(f"--{name} is given twice.")
        target = options[name] = [] if match["value"] is None else [match["value"]]
    return positional, options, problems


def words(positional: Sequence[str], options: Mapping[str, Sequence[str]]) -> list[str]:
    """The arguments that `parse` reads as these.

    >>> words(["runs/a"], {"note": ["--x"], "widths": ["4", "8"], "fast": []})
    ['runs/a', '--note=--x', '--widths', '4', '8', '--fast']
    """
    found = list(positional)
    for name, values in options.items():
        if values and _OPTION.fullmatch(values[0]):
            found += [f"--{name}={values[0]}", *values[1:]]
        else:
            found += [f"--{name}", *values]
    return found


def take_flag(options: dict[str, list[str]], name: str, problems: list[str]) -> bool:
    """Takes an option without a value from `options`."""
    values = options.pop(name, None)
    if values:
        problems.append(f"--{name} takes no value; got {values[0]!r}.")
    return values is not None


def take_value(options: dict[str, list[str]], name: str, problems: list[str]) -> str | None:
    """Takes an option with one value from `options`."""
    values = options.pop(name, None)
    if values is None:
        return None
    if len(values) != 1 or not values[0]:
        problems.append(f"--{name} takes one value; got {' '.join(values) or 'none'}.")
        return None
    return values[0]


def take_positional(positional: list[str], what: str, problems: list[str]) -> str:
    """The only positional argument."""
    if len(positional) != 1:
        got = " ".join(map(repr, positional)) or "nothing"
        several = " One is taken at a time, and options begin with --." if positional else ""
        problems.append(f"{what} comes first, and nothing else; got {got}.{several}")
        return ""
    if not positional[0]:
        problems.append(f"{what} is empty.")
    return positional[0]


def unknown(options: Mapping[str, Sequence[str]], known: Sequence[str]) -> list[str]:
    """A sentence for each option that is not known, with near matches."""
    return [
        f"There is no option --{name}. {suggest(name, known) if known else ''}".rstrip()
        for name in options
        if name not in known
    ]
