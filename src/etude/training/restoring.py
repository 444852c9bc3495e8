"""What a checkpoint gives back: the visits of a training, or the model alone."""

import itertools
from collections.abc import Callable, Mapping
from typing import Any

import equinox as eqx
import jax
from jaxtyping import PyTree

from etude.engine.leaf_roles import is_array
from etude.engine.named_arrays import expected, from_named
from etude.engine.phase import Phase
from etude.errors import ResumeError, suggest
from etude.run import Run, compare_leaves
from etude.run.checkpoints import HostArray, Restored, Shared, placed
from etude.training.phase_visit import Visit, without_model

#: Makes a fresh visit: `begin(phase name, position) -> Visit`.
Begin = Callable[[str, Mapping[str, Any]], Visit]
#: The leaves of a fresh visit's state that replace those of the checkpoint, by name.
Renewed = Callable[[Visit], Mapping[str, jax.Array]]


def restore_visits(run: Run, restored: Restored, begin: Begin, renewed: Renewed) -> Visit:
    """The root visit of a checkpoint, with its children.

    Raises `ResumeError` if the checkpoint is of another model, phase or optimizer, with the leaves
    that differ.
    """
    visits: list[Visit] = []
    for depth, position in enumerate(restored.meta["visits"]):
        visit = begin(position["phase"], position)
        if depth + 1 < len(restored.meta["visits"]):
            visit.state = without_model(visit.state)
        found: dict[str, Any] = below(f"{depth}/state", restored.leaves)
        new = dict(renewed(visit))
        if ".active" not in found:  # written before a member of several could be stopped
            new[".active"] = visit.state.active
        wanted = expected(visit.state)
        difference = compare_leaves(
            {f"{depth}/state{name}": leaf for name, leaf in wanted.items()},
            {f"{depth}/state{name}": leaf for name, leaf in (found | new).items()},
        )
        if difference is not None:
            raise ResumeError(
                f"Checkpoint {restored.name} of {run.path} is of another model or another "
                f"optimizer:\n{difference}\nResume with the model, phases and optimizers that "
                "began the run."
            )
        kept = {name: leaf for name, leaf in wanted.items() if name not in new}
        best = below(f"{depth}/best", restored.leaves)
        visit.take_back(position, placed(found, kept) | new, Shared(best) if best else None)
        visits.append(visit)
    for outer, inner in itertools.pairwise(visits):
        outer.child = inner
    return visits[0]


def restore_model(run: Run, like: PyTree, checkpoint: str | None = None) -> PyTree:
    """The model that a run leaves, or has so far: `like`, with the arrays of a checkpoint.

    Neither phases nor data are needed, and of `like` only shapes and dtypes: its arrays may be
    `jax.ShapeDtypeStruct`, as `equinox.filter_eval_shape` gives them. `checkpoint` is the newest
    by default. Raises `ResumeError` if the arrays have other names, shapes or dtypes,
    `CheckpointError` if there is no such checkpoint, or none yet.
    """
    restored = run.checkpoints.restore(checkpoint)
    if "teams" in restored.meta:
        raise ResumeError(
            f"The run in {run.path} trained a population, which has a model for each member. Load "
            "them by the trainer that made it, Trainer(phases=..., population=...).load()."
        )
    visits = restored.meta["visits"]
    found: dict[str, Any] = {}
    arrays, static = eqx.partition(like, _has_shape)
    wanted = expected(arrays)
    # Checkpoints older than "kept" cannot tell; most phases keep the last.
    for place in visits[-1].get("kept", ["state.model"]):
        leaves = below(f"{len(visits) - 1}/{place}", restored.leaves)
        if place.endswith(".ema"):  # kept in at least float32, whatever the model is in
            leaves = {
                name: leaf.astype(wanted[name].dtype) if name in wanted else leaf
                for name, leaf in leaves.items()
            }
        found |= leaves
    difference = compare_leaves(wanted, found)
    if difference is not None:
        raise ResumeError(
            f"Checkpoint {restored.name} of {run.path} is of another model:\n{difference}\n"
            "Load it with the model that was trained."
        )
    return eqx.combine(from_named(arrays, placed(found, wanted)), static)


def below(prefix: str, leaves: Mapping[str, HostArray]) -> dict[str, HostArray]:
    """The leaves whose path begins so, by the rest of it."""
    return {
        path.removeprefix(prefix): leaf for path, leaf in leaves.items() if path.startswith(prefix)
    }


def refuse_first_version(run: Run, restored: Restored) -> None:
    """Raises `ResumeError` for a checkpoint of format 1, whose states have other leaves."""
    if restored.format == 1:
        versions = run.environment.get("versions", {})
        raise ResumeError(
            f"The run in {run.path} was written by etude {versions.get('etude', '(unknown)')} with "
            "checkpoints of format 1, from which this version cannot go on; its model still loads "
            "(trainer.load, et.load_run), and a new run can train on from it."
        )


def _has_shape(leaf: Any) -> bool:
    return is_array(leaf) or isinstance(leaf, jax.ShapeDtypeStruct)


def known_phase(name: str, phases: Mapping[str, Phase], run: Run) -> Phase:
    """The phase of that name; `ResumeError` if there is none."""
    if name not in phases:
        raise ResumeError(
            f"The run in {run.path} stands in phase {name!r}, which this trainer does not have. "
            f"{suggest(name, phases)}"
        )
    return phases[name]
