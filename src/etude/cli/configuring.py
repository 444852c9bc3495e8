"""A typed configuration from its defaults, a YAML file and the command line, in this order.

pydantic checks both together, so that one message says everything that is wrong. Why no library
reads the options as well stands in `docs/guide/command_line.md`.

>>> from pydantic import BaseModel, ConfigDict
>>> class Optimizer(BaseModel):
...     model_config = ConfigDict(extra="forbid")
...     lr: float = 0.1
>>> class Example(BaseModel):
...     model_config = ConfigDict(extra="forbid")
...     seeds: tuple[int, ...] = (0,)
...     optimizer: Optimizer = Optimizer()
>>> configure(Example, {"seeds": [3]}, {"optimizer.lr": ["1e-2"]}).model_dump()
{'seeds': (3,), 'optimizer': {'lr': 0.01}}
"""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from etude.cli.fields import Leaf, leaves
from etude.cli.options import Takes
from etude.errors import UsageError, suggest
from etude.yaml_reader import YamlError, read_yaml

M = TypeVar("M", bound=BaseModel)


def read_file(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file. Raises `UsageError` if it is missing or something else."""
    try:
        content = read_yaml(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise UsageError([f"The configuration file {path} cannot be read: {reason}."]) from None
    except YamlError as error:
        raise UsageError([f"The configuration file {path} is not clear YAML: {error}."]) from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise UsageError(
            [f"{path} holds a {type(content).__name__}; write `field: value` lines instead."]
        )
    # A run's config.yaml serves as a configuration file: it holds the recipe's beside its name.
    if "recipe" in content and isinstance(content.get("configuration"), dict):
        return content["configuration"]
    return content


def configure(
    model: type[M], file: Mapping[Any, Any], options: Mapping[str, Sequence[str]], hint: str = ""
) -> M:
    """The configuration from a file and the options of the command line, which override it.

    Raises `UsageError` with all problems, and `hint` last.
    """
    found, problems = check(model, file, options)
    if found is None:
        raise UsageError(problems, hint)
    return found


def check(
    model: type[M],
    file: Mapping[Any, Any],
    options: Mapping[str, Sequence[str]],
    also: Collection[str] = (),
) -> tuple[M | None, list[str]]:
    """As `configure`, but returns the problems; None if there is any.

    `also` are names of other options, which a misspelt one may have meant.
    """
    problems: list[str] = []
    known = leaves(model)
    content = _copy(file)
    for name, values in options.items():
        if name not in known:
            near = suggest(name, {*known, *also}) if known or also else "There are none."
            problems.append(f"There is no option --{name}. {near}")
            continue
        value = _value(known[name], values, problems)
        _put(content, name.split("."), value)
    problems += [
        f"{'--' if leaf.name in options else ''}{leaf.name} takes {leaf.kind}; got a boolean. "
        "Write a number."
        for leaf in known.values()
        if leaf.numbers and _holds(_get(content, leaf.name.split(".")), bool)
    ]
    problems += [
        f"{'--' if leaf.name in options else ''}{leaf.name} takes {leaf.kind}; got a set, whose "
        "order nobody knows. Write a list, [a, b]."
        for leaf in known.values()
        if _holds(_get(content, leaf.name.split(".")), set)
    ]
    try:
        found = model.model_validate(content)
    except ValidationError as error:
        problems += [_sentence(item, known, options) for item in error.errors(include_url=False)]
        found = None
    return None if problems else found, problems


def is_none(text: str) -> bool:
    """Whether a value of the command line says that there is none.

    >>> is_none("None"), is_none("0")
    (True, False)
    """
    return text.lower() in ("none", "null")


def _value(leaf: Leaf, values: Sequence[str], problems: list[str]) -> Any:
    if leaf.takes is Takes.FLAG and not values:
        return True
    if leaf.takes is Takes.MANY and (len(values) != 1 or not values[0].startswith(("[", "{"))):
        return [_scalar(leaf, value, problems) for value in values]
    if len(values) != 1 or (leaf.path and not values[0]):
        got = " ".join(values) or "none"
        problems.append(f"--{leaf.name} takes one value, {leaf.kind}; got {got}.")
        return leaf.default
    return _scalar(leaf, values[0], problems)


def _scalar(leaf: Leaf, text: str, problems: list[str]) -> Any:
    """A text, which pydantic reads by the type of its field; null, lists and mappings by YAML."""
    if is_none(text):
        return None
    if text.startswith(("[", "{")) and not leaf.path:
        try:
            return read_yaml(text)
        except YamlError as error:
            if "STR" in leaf.kind:
                return text
            problems.append(f"--{leaf.name} is not clear YAML: {error}.")
            return leaf.default
    return text


def _copy(content: Any) -> Any:
    if isinstance(content, Mapping):
        return {key: _copy(value) for key, value in content.items()}
    return content


def _put(content: dict[Any, Any], path: Sequence[str], value: Any) -> None:
    *groups, last = path
    for group in groups:
        if not isinstance(content.get(group), dict):
            content[group] = {}
        content = content[group]
    content[last] = value


def _get(content: Any, path: Sequence[str]) -> Any:
    for name in path:
        content = content.get(name) if isinstance(content, Mapping) else None
    return content


def _holds(value: Any, kind: type) -> bool:
    """Whether it is of a kind, or has a part that is."""
    inner = list(value.values()) if isinstance(value, Mapping) else value
    if isinstance(inner, list | tuple):
        return any(_holds(one, kind) for one in inner)
    return isinstance(value, kind)


def _sentence(item: Any, known: Mapping[str, Leaf], options: Mapping[str, Any]) -> str:
    location = [str(part) for part in item["loc"]]
    name = ".".join(location)
    # An option set this field if it names the field or a group around it; otherwise the file did.
    given = any(name == option or name.startswith(f"{option}.") for option in options)
    shown = f"--{name}" if given else name or "The configuration"
    if item["type"] in ("extra_forbidden", "unknown_field"):
        groups = {known_name.rpartition(".")[0] for known_name in known} - {""}
        return f"There is no field {shown}. {suggest(name, {*known, *groups})}"
    message = item["msg"].removeprefix("Input ").removeprefix("Value error, ")
    got = repr(item["input"])
    got = got if len(got) < 80 else got[:77] + "..."
    return f"{shown}: {message}{' Got' if message.endswith('?') else '; got'} {got}."
