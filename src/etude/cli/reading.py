"""From the words of a command line to a command that runs.

Most commands are an `etude.verbs.Command`: their options are known. Of `Opening` ones the first
input, a recipe or a run, decides which options there are. Either way all that is wrong is said in
one message.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

from etude.cli.configuring import check, is_none
from etude.cli.fields import Leaf, arity, leaves
from etude.cli.options import Line, Takes, leading, parse
from etude.config import Config
from etude.errors import EtudeError, UsageError
from etude.verbs import Command

#: What the first input of a command is, by how its usage begins.
FIRST = {"RUN": "The folder of a run", "RECIPE": "The name of a recipe"}


@dataclass(frozen=True)
class Opened:
    """What the first input of a command line decides.

    Attributes:
        name: that input.
        options: the options that it brings.
        run: `run(line, options of the command, these options)`.
        summary: one line about what the command does with it.
        example: what follows the input in a line that runs; None if that depends on more inputs.
        inputs: what comes after the first input, as a usage line shows it.
        record: values that the command line overrides, as those of a file.
        problems: sentences about that file.
        hint: where to look when something is wrong.
        about: (title, text) of what else its help says.
    """

    name: str
    options: type[BaseModel]
    run: Callable[[Line, Any, Any], None]
    summary: str
    example: str | None = None
    inputs: str = ""
    record: Mapping[Any, Any] = field(default_factory=dict)
    problems: Sequence[str] = ()
    hint: str = ""
    about: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True)
class Opening:
    """A command whose first input decides its options.

    Attributes:
        summary: one line about it.
        inputs: what it takes, as a usage line shows it; begins with `RUN` or `RECIPE`.
        options: the options that it has in any case.
        open: `open(first input, values of these options)`; raises an `EtudeError` if it cannot.
        example: what follows `etude NAME` in a line that runs.
    """

    summary: str
    inputs: str
    options: type[Config]
    open: Callable[[str, Mapping[str, Sequence[str]]], Opened]
    example: str


def run(command: Command | Opening, arguments: Sequence[str]) -> None:
    """Runs a command.

    Raises `UsageError` with all that is wrong with the command line, and what the command raises.
    """
    if isinstance(command, Opening):
        _run_opening(command, arguments)
        return
    known = leaves(command.options)
    line = parse(arguments, arity(known))
    options, problems = check(command.options, {}, line.options)
    problems = [*line.problems, *problems]
    if command.inputs in ("", *FIRST):  # of others, how many there may be is the command's matter
        problems += _wrong_inputs(line, known, command.inputs, "")
    if options is None or problems:
        raise UsageError(problems)
    table = command.run(line.inputs, options)
    if table is not None:
        print(table)


def opened(command: Opening, arguments: Sequence[str]) -> Opened | None:
    """What the first input opens; None if there is none. Raises what `command.open` raises."""
    own = arity(leaves(command.options))
    inputs = parse(leading(arguments, own), own).inputs
    if not inputs or not inputs[0]:
        return None
    return command.open(inputs[0], parse(arguments, own).options)


def one_value(options: Mapping[str, Sequence[str]], name: str) -> str | None:
    """The value of an option; None if there is none, or if `check` refuses what is given."""
    values = options.get(name, ())
    return values[0] if len(values) == 1 and values[0] and not is_none(values[0]) else None


def _run_opening(command: Opening, arguments: Sequence[str]) -> None:
    own = leaves(command.options)
    line = parse(arguments, arity(own))
    mine = {name: values for name, values in line.options.items() if name in own}
    options, problems = check(command.options, {}, mine)
    try:
        found = opened(command, arguments)
    except EtudeError as error:
        if not problems:
            raise
        raise UsageError([*line.problems, *problems, str(error)]) from None
    if found is None:
        raise UsageError([*line.problems, *problems, _missing(command, arguments)])
    known = leaves(found.options) | own
    line = parse(arguments, arity(known))
    rest = {name: values for name, values in line.options.items() if name not in own}
    config, others = check(found.options, found.record, rest, also=own)
    problems = [*line.problems, *problems, *found.problems, *others]
    problems += _wrong_inputs(line, known, command.inputs.split()[0], found.inputs)
    if options is None or config is None or problems:
        raise UsageError(problems, found.hint)
    found.run(line, options, config)


def _missing(command: Opening, arguments: Sequence[str]) -> str:
    """That there is no first input, and where it belongs."""
    before = leading(arguments, arity(leaves(command.options)))
    where = "" if len(before) == len(arguments) else f" before {arguments[len(before)]}"
    first = command.inputs.split()[0]
    hint = " See `etude list`." if first == "RECIPE" else ""
    return f"{FIRST[first]} comes first; got nothing{where}.{hint}"


def _wrong_inputs(line: Line, known: Mapping[str, Leaf], first: str, rest: str) -> list[str]:
    """What is wrong with the number of inputs; `first` and `rest` are the parts of the usage."""
    inputs, expected = line.inputs, 1 if first else 0
    if len(inputs) > expected if rest else len(inputs) == expected:
        return [f"{FIRST[first]} is empty."] if first and not inputs[0] else []
    got = " ".join(map(repr, inputs[1:] if rest else inputs)) or "nothing"
    if rest:
        takes = arity(known)
        taken = [n for n in line.options if takes.get(n, Takes.MANY) is Takes.MANY]
        cure = f" Give it before --{taken[-1]}, or after a bare --." if taken else ""
        return [f"After the run, {rest} is expected; got {got}.{cure}"]
    if line.strays and inputs:
        return [
            f"--{name} takes {'one' if known[name].takes is Takes.ONE else 'no'} value; "
            f"got {' '.join([*line.options[name], *words])}."
            for name, words in line.strays.items()
        ]
    if not first:
        return [f"This command takes no arguments; got {' '.join(inputs)}."]
    several = " One is taken at a time, and options begin with --." if inputs else ""
    return [f"{FIRST[first]} comes first, and nothing else; got {got}.{several}"]
