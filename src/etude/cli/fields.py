"""The fields of a configuration as options: names, what they take, what they mean.

>>> from etude.verbs import SampleOptions
>>> describe(SampleOptions)[0]
('--count INT', 'how many samples (default: 64)')
"""

import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from etude.cli.options import Takes
from etude.kinds import parts_of


@dataclass(frozen=True)
class Leaf:
    """A field that holds a value rather than further fields."""

    name: str
    kind: str
    default: Any
    description: str
    takes: Takes
    #: values of a `Literal`, one of which it takes
    choices: tuple[str, ...]
    #: is made of numbers alone, which pydantic would take from booleans as 0 and 1
    numbers: bool
    #: is the name of a file or a folder
    path: bool


def leaves(model: type[BaseModel], prefix: str = "") -> dict[str, Leaf]:
    """All fields of a model by name, nested ones with dotted names."""
    found: dict[str, Leaf] = {}
    for name, field in model.model_fields.items():
        parts = list(parts_of(field.annotation))
        nested = [part for part in parts if isinstance(part, type) and issubclass(part, BaseModel)]
        for part in nested:
            found |= leaves(part, f"{prefix}{name}.")
        if not nested:
            found[f"{prefix}{name}"] = _leaf(f"{prefix}{name}", field, parts)
    return found


def describe(model: type[BaseModel]) -> list[tuple[str, str]]:
    """(option, what it means and its default) for each field."""
    return [
        (
            f"--{leaf.name} {leaf.kind}",
            f"{leaf.description} (default: {_shown(leaf.default)})".lstrip(),
        )
        for leaf in leaves(model).values()
    ]


def arity(known: Mapping[str, Leaf]) -> dict[str, Takes]:
    """What `etude.cli.options.parse` needs to know of options."""
    return {name: leaf.takes for name, leaf in known.items()}


def _leaf(name: str, field: FieldInfo, parts: list[Any]) -> Leaf:
    members = set(_members(field.annotation))
    factory = field.default_factory_takes_validated_data or False
    default = field.get_default(call_default_factory=not factory)
    takes = Takes.ONE
    if any(typing.get_origin(part) in (list, tuple, set, frozenset) for part in parts):
        takes = Takes.MANY
    elif bool in parts:
        takes = Takes.FLAG
    return Leaf(
        name,
        _kind(field.annotation),
        None if default is PydanticUndefined else default,
        field.description or "",
        takes,
        tuple(_choices(field.annotation)),
        not members.isdisjoint({int, float}) and bool not in members,
        Path in members,
    )


def _members(annotation: Any) -> Iterator[Any]:
    """The plain types of an annotation, those inside containers included."""
    for part in parts_of(annotation):
        if isinstance(part, type) and not typing.get_origin(part):
            yield part
        else:
            for argument in typing.get_args(part):
                yield from _members(argument)


def _choices(annotation: Any) -> Iterator[str]:
    """The values of the `Literal`s in an annotation."""
    for part in parts_of(annotation):
        if typing.get_origin(part) is typing.Literal:
            yield from map(str, typing.get_args(part))
        elif typing.get_origin(part) in (list, tuple, set, frozenset):
            for argument in typing.get_args(part):
                yield from _choices(argument)


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


def _shown(default: Any) -> str:
    if default is None:
        return "none"
    if isinstance(default, list | tuple):
        return " ".join(map(str, default))
    return str(default)
