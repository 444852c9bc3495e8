"""What decides the bits of a training, as a flat mapping that two sittings can compare.

It holds settings, never code, devices or paths: lengths, learners, the constants of optimizers,
sizes and order of the data, validations, callbacks that change the training, seed and numerics.

>>> before = {"seed": 0, "phases.fit.length": 100}
>>> compare(before, before | {"phases.fit.length": 200})
{'phases.fit.length': (100, 200)}
"""

import dataclasses
import enum
import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import optax
from jaxtyping import PyTree

from etude.engine.layout import Layout
from etude.engine.leaf_roles import is_array
from etude.engine.learner import Learner
from etude.engine.mesh import said
from etude.engine.part import Part
from etude.engine.phase import Phase, Validation
from etude.engine.source import Fingerprinted
from etude.training.binding import Bound
from etude.training.constants import constants, made_with
from etude.training.settings import Settings

#: Stands for a setting that only the other side has.
ABSENT = "(absent)"

#: The settings whose change changes a training by rounding only.
DEVICES = "devices"

#: Options of JAX that change numbers.
NUMERICS = (
    "jax_enable_x64",
    "jax_default_prng_impl",
    "jax_threefry_partitionable",
    "jax_default_matmul_precision",
)

Changes = dict[str, tuple[Any, Any]]


def fingerprint(settings: Settings) -> dict[str, Any]:
    """The settings of a training by name, `phases.fit.learner.clip_norm`; values are JSON."""
    found: dict[str, Any] = {
        "seed": settings.seed,
        "nonfinite": settings.nonfinite.policy,
        **{name.removeprefix("jax_"): getattr(jax.config, name) for name in NUMERICS},
        "phases": ", ".join(phase.name for phase in settings.phases),
    }
    if settings.layout is not None:
        found |= _flat(_devices(settings.layout), DEVICES)
    for name, bound in settings.bound.items():
        found |= _flat(_phase(bound), f"phases.{name}")
    for name, callback in named(settings.hooks.callbacks).items():
        found |= _flat(described(callback.fingerprint()), f"callbacks.{name}")
    return found


def named(callbacks: Sequence[Any]) -> dict[str, Any]:
    """Callbacks by the name of their class; a second one of a class is `EarlyStopping[1]`."""
    found: dict[str, Any] = {}
    for callback in callbacks:
        kind = type(callback).__name__
        before = sum(type(one).__name__ == kind for one in found.values())
        found[f"{kind}[{before}]" if before else kind] = callback
    return found


def compare(before: Mapping[str, Any], after: Mapping[str, Any]) -> Changes:
    """What differs: `{name: (before, after)}`."""
    names = dict.fromkeys([*before, *after])
    pairs = {name: (before.get(name, ABSENT), after.get(name, ABSENT)) for name in names}
    return {name: (old, new) for name, (old, new) in pairs.items() if old != new}


def described(value: Any, depth: int = 0) -> Any:
    """A setting as JSON: numbers and names as they are, containers and dataclasses by their parts.

    Functions and other objects are named by their kind: that there is one counts, its code does
    not; what a `functools.partial` or an augmentation of ours was made with does. Arrays are named
    by dtype and shape, single numbers by their value.
    """
    if is_array(value) and value.ndim == 0 and value.dtype.kind in "biufc":
        value = value.item()  # a number of Python, as JSON and YAML have it
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, enum.Enum):
        return value.name
    if isinstance(value, Phase):
        return value.name  # it has entries of its own
    if isinstance(value, optax.GradientTransformation):
        return constants(value)
    if depth <= 20 and (made := made_with(value)) is not None:
        return described(made, depth + 1)
    if is_array(value):
        return f"{value.dtype}{list(value.shape)}"
    if depth > 20:
        return type(value).__name__
    if isinstance(value, Mapping):
        return {str(key): described(inner, depth + 1) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return {str(place): described(inner, depth + 1) for place, inner in enumerate(value)}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {"type": type(value).__name__} | _fields(value, depth=depth + 1)
    return type(value).__name__


def _fields(value: Any, *leave_out: str, depth: int = 0) -> dict[str, Any]:
    return {
        field.name: described(getattr(value, field.name), depth)
        for field in dataclasses.fields(value)
        if field.name not in leave_out
    }


def _phase(bound: Bound) -> dict[str, Any]:
    phase = bound.plan.phase
    found = _fields(phase, "name", "learners", "data", "length", "validation", "limit")
    found["length"], found["goal"] = phase.total_steps, described(phase.goals)
    found["limit"] = None if phase.limit is None else phase.limit.count
    found["data"] = _source(phase.source)
    turns = list(zip(phase.turns, bound.plan.parts, strict=True))
    if len(turns) == 1:
        found["learner"] = _learner(*turns[0], phase.hyper)
    else:
        found["learners"] = {one.name: _learner(one, part, phase.hyper) for one, part in turns}
        found["turns"] = ", ".join(one.name for one, _ in turns)
    validations = [_validation(phase, one) for one in phase.validations]
    return found | dict(zip(_numbered("validation", validations), validations, strict=True))


def _learner(learner: Learner, part: Part, hyper: PyTree) -> dict[str, Any]:
    found = _fields(learner, "where", "optimizer", "compiled")
    found["optimizer"] = described(learner.optimizer_of(hyper))
    return found | {"trains": _trained(part)}


def _trained(part: Part) -> str:
    """Which leaves a learner trains; long lists are told apart by a digest."""
    flags = jax.tree_util.tree_leaves_with_path(part.trained)
    names = [jax.tree_util.keystr(path) or "(the model)" for path, flag in flags if flag]
    return _digested(names)


def _digested(names: list[str]) -> str:
    text = ", ".join(names)
    if len(text) <= 120:
        return text
    return f"{len(names)} leaves ({hashlib.sha256(text.encode()).hexdigest()[:8]})"


def _devices(layout: Layout) -> dict[str, Any]:
    """What decides the rounding of a training on several devices."""
    spread = [f"{name} {tuple(spec)}" for name, spec in layout.spread.items()]
    return {"mesh": said(layout.mesh)} | ({"sharding": _digested(spread)} if spread else {})


def _validation(phase: Phase, validation: Validation) -> dict[str, Any]:
    found = _fields(validation, "data", "every")
    return found | {"every": phase.in_steps(validation.every), "data": _source(validation.data)}


def _source(source: Any) -> dict[str, Any]:
    common = {"type": type(source).__name__, "steps_per_epoch": source.steps_per_epoch}
    return common | (described(source.fingerprint()) if isinstance(source, Fingerprinted) else {})


def _numbered(name: str, items: list[Any]) -> list[str]:
    return [name] if len(items) == 1 else [f"{name}.{place}" for place in range(len(items))]


def _flat(value: Any, prefix: str) -> dict[str, Any]:
    return dict(_entries(value, prefix))


def _entries(value: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    if not isinstance(value, Mapping):
        yield prefix, value
        return
    for key, inner in value.items():
        yield from _entries(inner, f"{prefix}.{key}")
