"""A space against the fields of a recipe: names, types and bounds, before anything runs.

>>> from pydantic import Field
>>> from etude.config import Config
>>> class Line(Config):
...     rate: float = Field(0.1, gt=0)
...     steps: int = 10
>>> fitted(Space.of({"rate": Range(0, 1), "stesp": [1, 2]}), Line)[1]
['rate: should be greater than 0; got 0.0.', "stesp: unknown field; did you mean 'steps'?"]
"""

import typing
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from etude.kinds import is_mapping, parts_of
from etude.search.ranges import wrong_in
from etude.search.space import Choices, Range, Space


def fitted(space: Space, model: type[BaseModel]) -> tuple[Space, list[str]]:
    """The space with values of the types of the fields, and sentences about what does not fit.

    Ends of ranges and choices are each checked alone, the others at their defaults; what only two
    fields together forbid is refused when a trial has them.
    """
    problems: list[str] = []
    varied: dict[str, Range | Choices] = {}
    for name, one in space.varied.items():
        if isinstance(one, Range):
            kinds = set(_kinds(_annotation(model, name.split("."))))
            varied[name] = _fit_range(name, one, kinds, model, problems)
        else:
            varied[name] = tuple(_read(name, choice, model, problems) for choice in one)
    constants = {
        name: _read(name, value, model, problems) for name, value in space.constants.items()
    }
    return Space(varied, constants), list(dict.fromkeys(problems))


def nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Values by dotted names as groups within groups; a group that was None is one then.

    >>> nested({"optimizer.lr": 0.1, "seed": 1})
    {'optimizer': {'lr': 0.1}, 'seed': 1}
    >>> nested({"optimizer": None, "optimizer.lr": 0.1})
    {'optimizer': {'lr': 0.1}}
    """
    content: dict[str, Any] = {}
    for name, value in flat.items():
        *groups, last = name.split(".")
        place = content
        for group in groups:
            if place.get(group) is None:
                place[group] = {}
            place = place[group]
        place[last] = value
    return content


def flat(content: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """The opposite of `nested`.

    >>> flat({"optimizer": {"lr": 0.1}, "seed": 1})
    {'optimizer.lr': 0.1, 'seed': 1}
    """
    found: dict[str, Any] = {}
    for name, value in content.items():
        if is_mapping(value) and value:
            found |= flat(value, f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = value
    return found


def _fit_range(
    name: str, one: Range, kinds: set[Any], model: type[BaseModel], problems: list[str]
) -> Range:
    if float in kinds:
        step = None if one.step is None else float(one.step)
        if wrong := wrong_in(float(one.low), float(one.high), one.log, step):
            problems.append(f"{name}: {wrong}.")
            return one
        one = Range(float(one.low), float(one.high), one.log, step)
    elif int in kinds:
        whole = [
            part is None or isinstance(part, int) or float(part).is_integer()
            for part in (one.low, one.high, one.step)
        ]
        if not all(whole):
            problems.append(f"{name} takes whole numbers; got the range {_shown(one)}.")
            return one
        step = None if one.step is None else int(one.step)
        one = Range(int(one.low), int(one.high), one.log, step)
    elif kinds:
        problems.append(f"{name} takes no numbers, so it has no range: give a list of choices.")
        return one
    for end in (one.low, one.high):
        _read(name, end, model, problems)
    return one


def _read(name: str, value: Any, model: type[BaseModel], problems: list[str]) -> Any:
    """The value as the field has it."""
    path = name.split(".")
    kinds = set(_kinds(_annotation(model, path)))
    if isinstance(value, bool) and kinds & {int, float} and bool not in kinds:
        problems.append(f"{name} takes numbers; got {value}.")
        return value
    try:
        found: Any = model.model_validate(nested({name: value})).model_dump(mode="json")
    except ValidationError as error:
        for item in error.errors(include_url=False):
            if _is_about(item, path):
                message = item["msg"].removeprefix("Input ").removeprefix("Value error, ")
                unknown = item["type"] in ("unknown_field", "extra_forbidden")
                got = "" if unknown else f"; got {item['input']!r}"
                problems.append(f"{name}: {message}{got}" + ("" if message[-1] == "?" else "."))
        return value
    for part in path:
        found = found[part]
    return found


def _is_about(item: Any, path: list[str]) -> bool:
    """Whether a problem is that of a field, rather than of what several fields forbid together."""
    place = [str(part) for part in item["loc"]]
    if len(place) < len(path):  # there is no group where the path leads through one
        together = item["type"] in ("value_error", "assertion_error")
        return bool(place) and path[: len(place)] == place and not together
    return place[: len(path)] == path


def _annotation(model: Any, path: list[str]) -> Any:
    """What a field may be; None for an unknown one."""
    for part in parts_of(model):
        if isinstance(part, type) and issubclass(part, BaseModel) and path[0] in part.model_fields:
            inner = part.model_fields[path[0]].annotation
            return inner if len(path) == 1 else _annotation(inner, path[1:])
    return None


def _kinds(annotation: Any) -> Iterator[Any]:
    """The kinds of one value of a field; nothing of an unknown field."""
    if annotation is not None:
        yield from (typing.get_origin(part) or part for part in parts_of(annotation))


def _shown(one: Range) -> str:
    step = "" if one.step is None else f" in steps of {one.step}"
    return f"{one.low} to {one.high}{step}"
