"""Kinds of values that come from a user, a file or a library without types.

`isinstance` says the same, but a type checker calls it needless where an annotation promises the
kind, which is what a refusal looks after, and forgets what a container holds.
"""

from collections.abc import Iterator, Mapping
from types import UnionType
from typing import Annotated, Any, TypeGuard, Union, get_args, get_origin


def is_a(value: object, kind: type | UnionType) -> bool:
    """Whether `value` is what its annotation says."""
    return isinstance(value, kind)


def is_mapping(value: object) -> TypeGuard[Mapping[str, Any]]:
    """Whether `value` is a mapping; its keys are taken to be text."""
    return isinstance(value, Mapping)


def is_dict(value: object) -> TypeGuard[dict[str, Any]]:
    """Whether `value` is a dict; its keys are taken to be text."""
    return isinstance(value, dict)


def is_list(value: object) -> TypeGuard[list[Any]]:
    """Whether `value` is a list."""
    return isinstance(value, list)


def parts_of(annotation: Any) -> Iterator[Any]:
    """The members of a union of types, or the annotation itself.

    >>> list(parts_of(int | None))
    [<class 'int'>, <class 'NoneType'>]
    """
    origin = get_origin(annotation)
    if origin in (Union, UnionType):
        for part in get_args(annotation):
            yield from parts_of(part)
    elif origin is Annotated:
        yield from parts_of(get_args(annotation)[0])
    else:
        yield annotation
