"""Every field of every configuration changes something: nothing is accepted and ignored.

Of each field some other valid value is found by its type, and what is made of the configuration is
looked at: trainers (settings and losses), machines, data, samples, attacks, measurements. A field
that nothing reads changes none of it.
"""

import importlib
import pkgutil
from collections.abc import Iterator
from functools import cache
from itertools import combinations
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

import numpy as np
import pytest
from born_observed import MACHINE, OBSERVED, of_data, of_recipe
from pydantic import ValidationError

import etude.systems.born_machine as package
from etude.config import Config as Typed
from etude.systems.born_machine import DatasetConfig
from etude.systems.born_machine.recipes import capacity, digits_recipe, pictures, plane
from etude.systems.born_machine.recipes.verbs import DrawOptions

GIBBS = {"method": "gibbs", "num_steps": 20, "num_bins": 8}
#: of a field that counts only with other values than these
WITH: dict[str, dict[str, Any]] = {
    # Batches are no larger than the data, which are 60 samples.
    "AdversarialConfig.batch_size": {"batch_size": 20},
    "Capacity.adam_batch": {"adam_batch": 10},
    "ClassificationConfig.batch_size": {"batch_size": 20},
    "DiscriminationConfig.batch_size": {"batch_size": 10},
    "GameSamplingConfig.method": {"num_bins": 200},
    "GenerativeConfig.batch_size": {"batch_size": 20},
    "AdversarialConfig.trades_beta": {"method": "trades"},
    "AdversarialConfig.curriculum_start": {"curriculum": True},
    "AdversarialConfig.curriculum_end_epoch": {"curriculum": True},
    "CriticConfig.lamb": {"criterion": "wgan-gp"},
    "CriterionConfig.kwargs": {"name": "mixed-nll", "kwargs": {"alpha": 0.5}},
    "DatasetConfig.circ_factor": {"name": "circles_small"},
    "DatasetConfig.scaler": {"name": "digits"},
    "DatasetConfig.threshold": {"name": "digits", "scaler": "binary"},
    "OptimizerSpec.kwargs": {"kwargs": {"lr": 0.01}},
    "PurificationConfig.method": {"num_steps": 20},
    "PurificationConfig.sweeps": GIBBS,
    "PurificationConfig.num_bins": GIBBS,
    "Plane.data": {"data": ("moons_small", "circles_small")},
    "Capacity.sweeps": {"methods": ("sweep",)},
    "PictureConfig.sweeps": {"methods": ("sweep",)},
    "PictureConfig.alpha": {"methods": ("mixed",)},
    **{
        f"Plane.{name}": {"methods": (method,)}
        for method, names in {
            "classifier": ("epochs", "rate"),
            "generative": ("generative_epochs", "generative_rate"),
            "GAN-style": ("gan_epochs", "gan_rate", "critic_rate", "critic_steps"),
            "adversarial": ("attack_epochs", "attack_rate", "strength"),
            "TRADES": ("trades_beta",),
        }.items()
        for name in names
    },
}
#: values that no type tells
VALUES: dict[str, list[Any]] = {
    "name": ["circles_small", "moons_hard"],
    "betas": [(0.5, 0.9)],
    "split": [(0.5, 0.25, 0.25)],
    "methods": [("classifier", "generative"), ("sweep",), ("mixed",)],
    "hidden_multipliers": [(3.0,)],
}
#: fields of a file, which have a test of their own
FILES = (
    "DatasetConfig.root",
    "DrawOptions.out",
    "DrawOptions.overwrite",
    *(f"{k}.{n}" for k in ("Capacity", "FashionConfig", "PictureConfig") for n in ("data", "root")),
)


@cache
def classes() -> dict[str, type[Typed]]:
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        importlib.import_module(module.name)
    todo, found = [Typed], dict[str, type[Typed]]()
    while todo:
        kinds = todo.pop().__subclasses__()
        todo += kinds
        found |= {k.__name__: k for k in kinds if k.__module__.startswith(package.__name__)}
    return {name: kind for name, kind in sorted(found.items()) if name[0] != "_"}


def values(kind: type[Typed], field: str, value: Any) -> Iterator[Any]:
    """Other values of a field, some of which may be refused."""
    yield from VALUES.get(field, [])
    yield from others(kind.model_fields[field].annotation, value)


def others(annotation: Any, value: Any) -> Iterator[Any]:
    """Other values of a type."""
    if isinstance(value, Typed):
        for name in type(value).model_fields:
            for other in values(type(value), name, getattr(value, name)):
                yield {**value.model_dump(exclude_unset=True), name: other}
    elif get_origin(annotation) is Literal:
        yield from (word for word in get_args(annotation) if word != value)
    elif isinstance(value, bool):
        yield not value
    elif isinstance(value, int):
        yield from (value + 1, 2 * value, value - 1)
    elif isinstance(value, float):
        yield from (value * 1.5, value / 2, value + 0.1)
    elif isinstance(value, tuple):
        inner = get_args(annotation)[0]
        yield from ((other,) for other in others(inner, value[0]))
    elif value is None:
        yield from (1, 3, 0.3)
    elif get_origin(annotation) in (Union, UnionType):
        for part in get_args(annotation):
            yield from others(part, value)


def same(a: Any, b: Any) -> bool:
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    if hasattr(a, "shape") and hasattr(b, "shape"):
        return np.array_equal(a, b)
    return bool(a == b)


class Parts:
    """The parts of what is made of a configuration, made as far as they are looked at."""

    def __init__(self, parts: Iterator[Any]):
        self.parts, self.seen = parts, list[Any]()

    def __getitem__(self, place: int) -> Any:
        while len(self.seen) <= place:
            self.seen.append(next(self.parts))
        return self.seen[place]


@cache
def base(kind: str, field: str) -> tuple[Any, Any]:
    observe, given = OBSERVED[kind]
    config = classes()[kind].model_validate({**given, **WITH.get(f"{kind}.{field}", {})})
    return config, Parts(iter(observe(config)))


def fields() -> Iterator[tuple[str, str]]:
    """Every field, where it is declared; one that a configuration inherits counts there."""
    for kind, config in classes().items():
        above = [base for base in config.__bases__ if base.__name__ in classes()]
        inherited = {field for base in above for field in base.model_fields}
        for field in config.model_fields:
            if field in config.__annotations__ or field not in inherited:
                yield kind, field


FIELDS = [(kind, field) for kind, field in fields() if f"{kind}.{field}" not in FILES]

#: Of each configuration, the field that `make test` looks at; `make test-slow` looks at all.
FIRST = dict(reversed(FIELDS))


@pytest.mark.parametrize(
    ("kind", "field"),
    [
        pytest.param(kind, field, marks=() if field == FIRST[kind] else pytest.mark.slow)
        for kind, field in FIELDS
    ],
)
def test_a_changed_field_changes_what_is_made_of_it(kind, field):
    config, before = base(kind, field if f"{kind}.{field}" in WITH else "")
    tried = list[Any]()
    for other in values(type(config), field, getattr(config, field)):
        given = config.model_dump(exclude_unset=True) | {field: other}
        try:
            changed = type(config).model_validate(given)
        except ValidationError:
            continue
        tried.append(other)
        if changed == config:
            continue
        for place, part in enumerate(OBSERVED[kind][0](changed)):
            if not same(before[place], part):
                return
    raise AssertionError(f"{kind}.{field} changes nothing: tried {tried}")


def test_files_are_those_of_the_name_in_the_root(tmp_path):
    """The fields that name files: in a configuration of data, and in those of recipes."""
    rng, seen = np.random.default_rng(0), list[Any]()
    for root in (tmp_path / "one", tmp_path / "two"):
        root.mkdir()
        for name in ("a.npz", "b.npz"):
            x, y = rng.random((100, 3, 3), np.float32), np.arange(100) % 2
            np.savez(root / name, x=x, y=y)
            fields = {"data": name, "root": str(root)}
            small = capacity.Capacity.model_validate({"pictures": 10, **fields})
            seen.append(
                [
                    of_data(DatasetConfig(name=name, root=str(root))),
                    list(of_recipe(digits_recipe)(pictures.PictureConfig.model_validate(fields))),
                    capacity.pictures(*capacity.source_of(small)),
                ]
            )
    for one, other in combinations(seen, 2):
        assert not any(map(same, one, other))


def test_samples_are_written_where_they_shall_be(tmp_path):
    plane.draw_points(MACHINE, plane.Plane(data=("moons_small",)), [], DrawOptions(out=tmp_path))
    assert (tmp_path / "samples.npy").exists()
