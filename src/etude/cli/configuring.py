"""A typed configuration from its defaults, a YAML file and the command line, in this order.

tyro reads options into types as well, but it stops at the first kind of problem, checks a file
and a command line apart, and so cannot say everything that is wrong in one message; pydantic can,
once it is given both together.

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

import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import PydanticUndefined

from etude.errors import UsageError, suggest
from etude.yaml_reader import YamlError, read_yaml

M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True)
class Leaf:
    """A field that holds a value rather than further fields."""

    name: str
    kind: str
    default: Any
    description: str
    #: takes several values
    many: bool
    flag: bool
    #: is made of numbers alone, which pydantic would take from booleans as 0 and 1
    numbers: bool


def leaves(model: type[BaseModel], prefix: str = "") -> Iterator[Leaf]:
    """All fields of a model, nested ones with dotted names."""
    for name, field in model.model_fields.items():
        parts = list(_parts(field.annotation))
        nested = [part for part in parts if isinstance(part, type) and issubclass(part, BaseModel)]
        for part in nested:
            yield from leaves(part, f"{prefix}{name}.")
        many = any(typing.get_origin(part) in (list, tuple, set, frozenset) for part in parts)
        if not nested:
            members = set(_members(field.annotation))
            default = field.get_default(call_default_factory=not _needs_data(field))
            yield Leaf(
                f"{prefix}{name}",
                _kind(field.annotation),
                None if default is PydanticUndefined else default,
                field.description or "",
                many,
                bool in parts,
                not members.isdisjoint({int, float}) and bool not in members,
            )


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
    model: type[M],
    file: Mapping[Any, Any],
    options: Mapping[str, Sequence[str]],
    problems: Sequence[str] = (),
    hint: str = "",
    also: Sequence[str] = (),
) -> M:
    """The configuration from a file and the options of the command line, which override it.

    Raises `UsageError` with all problems, `problems` first and `hint` last; `also` are names of
    other options, which a misspelt one may have meant.
    """
    problems = list(problems)
    known = {leaf.name: leaf for leaf in leaves(model)}
    content = _copy(file)
    for name, values in options.items():
        if name not in known:
            problems.append(f"There is no field --{name}. {suggest(name, {*known, *also})}")
            continue
        value = _value(known[name], values, problems)
        _put(content, name.split("."), value)
    problems += [
        f"{'--' if leaf.name in options else ''}{leaf.name} takes {leaf.kind}; got a boolean. "
        "Write a number."
        for leaf in known.values()
        if leaf.numbers and _has_boolean(_get(content, leaf.name.split(".")))
    ]
    try:
        configured = model.model_validate(content)
    except ValidationError as error:
        problems += [_sentence(item, known, options) for item in error.errors(include_url=False)]
        configured = None
    if problems or configured is None:
        raise UsageError(problems, hint)
    return configured


def describe(model: type[BaseModel]) -> list[tuple[str, str]]:
    """(option, what it means and its default) for each field."""
    return [
        (f"--{leaf.name} {leaf.kind}", f"{leaf.description} (default: {_shown(leaf.default)})")
        for leaf in leaves(model)
    ]


def _value(leaf: Leaf, values: Sequence[str], problems: list[str]) -> Any:
    if leaf.flag and not values:
        return True
    if leaf.many and (len(values) != 1 or not values[0].startswith(("[", "{"))):
        return [_scalar(leaf, value, problems) for value in values]
    if len(values) != 1:
        got = " ".join(values) or "none"
        problems.append(f"--{leaf.name} takes one value, {leaf.kind}; got {got}.")
        return leaf.default
    return _scalar(leaf, values[0], problems)


def _scalar(leaf: Leaf, text: str, problems: list[str]) -> Any:
    """A text, which pydantic reads by the type of its field; null, lists and mappings by YAML."""
    if text.lower() in ("none", "null"):
        return None
    if text.startswith(("[", "{")):
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


def _has_boolean(value: Any) -> bool:
    inner = value.values() if isinstance(value, Mapping) else value
    if isinstance(inner, list | tuple) or isinstance(value, Mapping):
        return any(map(_has_boolean, inner))
    return isinstance(value, bool)


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


def _parts(annotation: Any) -> Iterator[Any]:
    """The members of a union, or the annotation itself."""
    origin = typing.get_origin(annotation)
    if origin in (typing.Union, types.UnionType):
        for part in typing.get_args(annotation):
            yield from _parts(part)
    elif origin is typing.Annotated:
        yield from _parts(typing.get_args(annotation)[0])
    else:
        yield annotation


def _members(annotation: Any) -> Iterator[Any]:
    """The plain types of an annotation, those inside containers included."""
    for part in _parts(annotation):
        if isinstance(part, type) and not typing.get_origin(part):
            yield part
        else:
            for argument in typing.get_args(part):
                yield from _members(argument)


def _kind(annotation: Any) -> str:
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Literal:
        return "|".join(map(str, arguments))
    if origin in (typing.Union, types.UnionType):
        return "|".join(_kind(part) for part in arguments)
    if origin is typing.Annotated:
        return _kind(arguments[0])
    if origin in (list, tuple, set, frozenset):
        return f"{_kind(arguments[0])}..." if arguments else "VALUE..."
    if annotation is type(None):
        return "none"
    return getattr(annotation, "__name__", "VALUE").upper()


def _needs_data(field: Any) -> bool:
    return field.default_factory_takes_validated_data or False


def _shown(default: Any) -> str:
    if default is None:
        return "none"
    if isinstance(default, list | tuple):
        return " ".join(map(str, default))
    return str(default)
