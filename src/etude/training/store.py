"""The visits of a training to a checkpoint, and back."""

import itertools
from collections.abc import Callable, Mapping
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jaxtyping import PyTree

from etude.engine.leaf_roles import is_array
from etude.engine.named_arrays import expected, from_host
from etude.engine.phase import Phase
from etude.errors import ResumeError, suggest
from etude.run import Restored, Run, compare_leaves
from etude.training.visit import Visit

#: Makes a fresh visit: `begin(phase name, position) -> Visit`.
Begin = Callable[[str, Mapping[str, Any]], Visit]
#: The leaves of a fresh visit's state that replace those of the checkpoint, by name.
Renewed = Callable[[Visit], Mapping[str, np.ndarray]]


def save_visits(run: Run, name: str, root: Visit, session: Mapping[str, Any]) -> None:
    """Hands a checkpoint to the writer.

    `session` is what belongs to the training as a whole, as JSON.
    """
    visits = [root]
    while (child := visits[-1].child) is not None:
        visits.append(child)
    arrays: dict[str, Any] = {}
    for depth, visit in enumerate(visits):
        arrays |= visit.arrays(f"{depth}/")
    meta = {"visits": [visit.position() for visit in visits], **session}
    run.history.sync()  # a power cut must not leave a checkpoint of lines that are gone
    meta["history"] = run.history.mark()
    run.checkpoints.save(name, arrays, meta)


def restore_visits(run: Run, restored: Restored, begin: Begin, renewed: Renewed) -> Visit:
    """The root visit of a checkpoint, with its children.

    Raises `ResumeError` if the checkpoint is of another model, phase or optimizer, with the leaves
    that differ.
    """
    meta, visits = restored.meta, []
    for depth, position in enumerate(meta["visits"]):
        visit = begin(position["phase"], position)
        prefix = f"{depth}/state"
        arrays = restored.arrays | {prefix + name: leaf for name, leaf in renewed(visit).items()}
        found = {k: v for k, v in arrays.items() if k.startswith(prefix)}
        if depth + 1 < len(meta["visits"]):
            visit.state = without_model(visit.state)
        wanted = {prefix + name: leaf for name, leaf in expected(visit.state).items()}
        difference = compare_leaves(wanted, found)
        if difference is not None:
            raise ResumeError(
                f"Checkpoint {restored.name} of {run.path} is of another model or another "
                f"optimizer:\n{difference}\nResume with the model, phases and optimizers that "
                "began the run."
            )
        visit.take_back(position, arrays, f"{depth}/")
        visits.append(visit)
    for outer, inner in itertools.pairwise(visits):
        outer.child = inner
    return visits[0]


def restore_model(run: Run, like: PyTree) -> PyTree:
    """The model that a run leaves, or has so far: `like`, with the arrays of the newest checkpoint.

    Neither phases nor data are needed, and of `like` only shapes and dtypes: its arrays may be
    `jax.ShapeDtypeStruct`, as `equinox.filter_eval_shape` gives them. Raises `ResumeError` if the
    arrays have other names, shapes or dtypes, `CheckpointError` if there is no checkpoint yet.
    """
    restored = run.checkpoints.restore()
    visits = restored.meta["visits"]
    found: dict[str, Any] = {}
    averaged: set[str] = set()
    # Checkpoints older than "kept" cannot tell; most phases keep the last.
    for place in visits[-1].get("kept", ["state.model"]):
        prefix = f"{len(visits) - 1}/{place}"
        for name, value in restored.arrays.items():
            if name.startswith(prefix):
                leaf = name.removeprefix(prefix)
                found[leaf] = value
                averaged |= {leaf} if place.endswith(".ema") else set()
    arrays, static = eqx.partition(like, _has_shape)
    wanted = expected(arrays)
    for name in averaged & wanted.keys():  # kept in at least float32, whatever the model is in
        found[name] = found[name].astype(wanted[name].dtype)
    difference = compare_leaves(wanted, found)
    if difference is not None:
        raise ResumeError(
            f"Checkpoint {restored.name} of {run.path} is of another model:\n{difference}\n"
            "Load it with the model that was trained."
        )
    return eqx.combine(from_host(arrays, found), static)


def _has_shape(leaf: Any) -> bool:
    return is_array(leaf) or isinstance(leaf, jax.ShapeDtypeStruct)


def without_model(state: Any) -> Any:
    """The state of a phase while its rescue has the model."""
    return eqx.tree_at(lambda s: s.model, state, None, is_leaf=lambda x: x is None)


def with_model(state: Any, arrays: Any) -> Any:
    """The state of a phase that gets its model back."""
    return eqx.tree_at(lambda s: s.model, state, arrays, is_leaf=lambda x: x is None)


def known_phase(name: str, phases: Mapping[str, Phase], run: Run) -> Phase:
    """The phase of that name; `ResumeError` if there is none."""
    if name not in phases:
        raise ResumeError(
            f"The run in {run.path} stands in phase {name!r}, which this trainer does not have. "
            f"{suggest(name, phases)}"
        )
    return phases[name]
