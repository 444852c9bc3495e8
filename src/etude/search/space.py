"""What a search varies: a range, a list of choices or a constant, by the name of each field.

>>> space = Space.of({"rate": Range(1e-4, 1e-1, log=True), "width": [32, 64], "steps": 100})
>>> space.varied["width"], dict(space.constants), space.size
((32, 64), {'steps': 100}, None)
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from etude.config import near_match
from etude.engine.numbers import is_real
from etude.errors import ConfigurationError, RunError
from etude.kinds import is_mapping
from etude.search.ranges import PARTS, Range as Range, wrong_in

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

#: What the results have beside settings and the metric.
COLUMNS = ("trial", "state", "spread", "same_as")
#: So many choices may be listed.
LISTED = 100_000


Choices = tuple[Any, ...]


@dataclass(frozen=True)
class Space:
    """The settings of a search.

    Attributes:
        varied: a range or choices by name.
        constants: values that are the same in every setting.
    """

    varied: Mapping[str, Range | Choices]
    constants: Mapping[str, Any]

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> "Space":
        """The space that a mapping describes.

        A list, an array or a `range` holds choices; a `Range` or a mapping with `low` and `high` is
        a range, any other mapping a group of fields, whose names are joined by dots; everything
        else is a constant.

        Raises `ConfigurationError` with all that is wrong.
        """
        space, problems = read_space(given)
        if problems:
            raise ConfigurationError("\n".join(problems))
        return space

    @property
    def size(self) -> int | None:
        """How many settings there are; None if a range cannot be counted."""
        counts = [one.count if isinstance(one, Range) else len(one) for one in self.varied.values()]
        return math.prod(n for n in counts if n is not None) if None not in counts else None

    def points(self) -> Iterator[dict[str, Any]]:
        """All settings of a space that can be counted; the last name varies fastest."""
        for point in _product(list(self.varied.values())):
            yield dict(zip(self.varied, point, strict=True))

    def distributions(self) -> "dict[str, BaseDistribution]":
        """What Optuna draws from."""
        return {name: _distribution(one) for name, one in self.varied.items()}

    def encoded(self, setting: Mapping[str, Any]) -> dict[str, Any]:
        """A setting as Optuna keeps it: lists and mappings as text."""
        return {
            name: setting[name] if isinstance(one, Range) else _scalar(setting[name])
            for name, one in self.varied.items()
        }

    def decoded(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """The setting that Optuna keeps as `params`.

        Raises `RunError` if it is none of this space.
        """
        if params.keys() != self.varied.keys():
            raise _other(f"varies {', '.join(params)}", ", ".join(self.varied))
        setting: dict[str, Any] = {}
        for name, one in self.varied.items():
            kept = params[name]
            if not isinstance(one, Range):
                found = [choice for choice in one if _scalar(choice) == kept]
                if not found:
                    raise _other(f"has {name} {kept!r}", f"one of {list(one)}")
                setting[name] = found[0]
            elif is_real(kept):
                setting[name] = one.nearest(kept)
            else:
                raise _other(f"has {name} {kept!r}", f"a number from {one.low} to {one.high}")
        return setting

    def record(self) -> dict[str, Any]:
        """The space as a file describes it, which `of` reads."""
        found: dict[str, Any] = {}
        for name, one in self.varied.items():
            if isinstance(one, Range):
                found[name] = {"low": one.low, "high": one.high}
                found[name] |= {"log": True} if one.log else {}
                found[name] |= {} if one.step is None else {"step": one.step}
            else:
                found[name] = list(one)
        return found | dict(self.constants)


def key_of(setting: Mapping[str, Any]) -> str:
    """What two settings have in common if they are the same.

    >>> key_of({"b": 1, "a": [2]})
    '{"a": [2], "b": 1}'
    """
    return json.dumps(dict(setting), sort_keys=True)


def read_space(given: Any) -> tuple[Space, list[str]]:
    """As `Space.of`, with sentences about what is wrong, and without what they are about."""
    varied: dict[str, Range | Choices] = {}
    constants: dict[str, Any] = {}
    problems: list[str] = []
    if not is_mapping(given):
        return Space({}, {}), [f"The space is a mapping of names; got {given!r}."]
    fields = list(_flat(given, problems))
    names = [name for name, _ in fields]
    problems += _overlapping(names)
    for name, one in fields:
        if isinstance(one, Sequence | np.ndarray) and len(cast("Any", one)) > LISTED:
            problems.append(
                f"{name}: at most {LISTED} choices are listed; give a range, {{low: 1, high: 9}}."
            )
            continue
        one = _of_python(one)
        if isinstance(one, list | tuple):
            _choose(name, cast("Sequence[Any]", one), varied, constants, problems)
        elif isinstance(one, Range):
            varied[name] = one
        elif is_mapping(one):
            _measure(name, one, varied, problems)
        elif _is_plain(one):
            constants[name] = one
        else:
            problems.append(f"{name}: expected a range, a list or a plain value; got {one!r}.")
    problems += [
        f"{name}: the results have a column of this name; give it another."
        for name in COLUMNS
        if name in varied
    ]
    if not varied and not problems:
        problems.append(
            "The space varies nothing: give a field a range, {low: 1, high: 9}, or choices, [1, 9]."
        )
    return Space(varied, constants), problems


def _flat(given: Mapping[Any, Any], problems: list[str]) -> Iterator[tuple[str, Any]]:
    for name, one in given.items():
        if not isinstance(name, str) or not name:
            problems.append(f"A field is named by text; got {name!r}.")
        elif is_mapping(one) and one and not {"low", "high"} & set(one):
            yield from _flat({f"{name}.{inner}": value for inner, value in one.items()}, problems)
        else:
            yield name, one


def _overlapping(names: Sequence[str]) -> list[str]:
    """Sentences about names that are given twice, or that are inside another one."""
    found = [
        f"{name} is given twice, as a group and with a dot: leave one out."
        for name in dict.fromkeys(names)
        if names.count(name) > 1
    ]
    for name in names:
        groups = [name[:place] for place, letter in enumerate(name) if letter == "."]
        found += [f"{name}: {group} is given as well." for group in groups if group in names]
    return found


def _product(axes: Sequence[Range | Choices]) -> Iterator[tuple[Any, ...]]:
    """All combinations, none before it is asked for; the last varies fastest."""
    if not axes:
        yield ()
        return
    first, *others = axes
    for value in first.values() if isinstance(first, Range) else first:
        for rest in _product(others):
            yield (value, *rest)


def _choose(
    name: str,
    one: Sequence[Any],
    varied: dict[str, Any],
    constants: dict[str, Any],
    problems: list[str],
) -> None:
    if not one:
        problems.append(f"{name}: the list of choices is empty.")
    elif not all(map(_is_plain, one)):
        problems.append(f"{name}: choices are numbers, texts and lists of them; got {one!r}.")
    elif len(one) == 1:
        constants[name] = one[0]
    else:
        scalars = [_scalar(choice) for choice in one]
        seen = set[Any]()
        twice = next((c for c in scalars if c in seen or seen.add(c)), seen)
        if twice is not seen:
            problems.append(f"{name}: the choice {twice!r} is given twice.")
        varied[name] = tuple(one)


def _measure(
    name: str, one: Mapping[str, Any], varied: dict[str, Any], problems: list[str]
) -> None:
    unknown = [part for part in one if part not in PARTS]
    problems += [
        f"{name}: a range has {', '.join(PARTS)}; got {part!r}"
        + (near_match(str(part), list(PARTS)) or ".")
        for part in unknown
    ]
    missing = [part for part in ("low", "high") if part not in one]
    problems += [f"{name}: the range has no {part}." for part in missing]
    if unknown or missing:
        return
    parts = {
        part: _number(_of_python(value)) if part != "log" else value for part, value in one.items()
    }
    if found := wrong_in(**parts):
        problems.append(f"{name}: {found}.")
    else:
        varied[name] = Range(**parts)


def _other(got: str, expected: str) -> RunError:
    return RunError(f"a trial of the search {got}, expected {expected}. Put back what was there.")


def _number(value: Any) -> Any:
    """A number that YAML takes for text, as 1e-3; anything else as it is."""
    if not isinstance(value, str):
        return value
    try:
        return float(value)
    except ValueError:
        return value


def _of_python(value: Any) -> Any:
    """Arrays and numbers of NumPy, and ranges, as lists and numbers of Python."""
    if isinstance(value, np.ndarray | np.generic):
        return cast("Any", value).tolist()
    if isinstance(value, range | list | tuple):
        return [_of_python(one) for one in cast("Sequence[Any]", value)]
    return value


def _is_plain(value: Any) -> bool:
    try:
        return json.loads(json.dumps(value, allow_nan=False)) is not Ellipsis
    except (TypeError, ValueError):
        return False


def _scalar(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, list | tuple | dict) else value


def _distribution(one: Range | Choices) -> "BaseDistribution":
    from optuna.distributions import (
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )

    if not isinstance(one, Range):
        return CategoricalDistribution([_scalar(choice) for choice in one])
    if one.whole:
        # What the step does not lead to is left out, which Optuna would say as a warning.
        return IntDistribution(int(one.low), int(one.last), log=one.log, step=int(one.step or 1))
    return FloatDistribution(one.low, one.last, log=one.log, step=one.step)
