"""Checkpoints of a trainer, by path: the arrays of its state, which are read without unpickling."""

import itertools
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import PyTree

import etude as et
from etude.run import CheckpointStore


def save(path: Path, state: PyTree, meta: Mapping[str, Any], keep: int | None = None) -> None:
    """Writes a state; with `keep`, removes the oldest of the folder beyond that many.

    Raises `CheckpointError` if it cannot be written, `ConfigurationError` for an impossible name.
    """
    store = _store(path)
    try:
        store.save(_name(path), _named(state), meta)
    except (ValueError, TypeError) as error:
        raise et.ConfigurationError(f"save_checkpoint({str(path)!r}): {error}.") from error
    store.wait()
    if keep is not None:
        ours = [name for name in store.names() if name.startswith("checkpoint_")]
        for name in ours[:-keep]:
            store.remove(name)


def load(path: Path, like: PyTree) -> tuple[PyTree, dict[str, Any]]:
    """The state and its meta.

    Raises `CheckpointError` if there is none, or one of another model or optimizer.
    """
    if not path.parent.is_dir():
        raise et.CheckpointError(f"load_checkpoint: there is no folder {str(path.parent)!r}.")
    store = CheckpointStore(path.parent, beside_writer=True)
    # By its name where the folder is there, so that a damaged one says that it is.
    name = _name(path)
    found = store.restore(name if (path.parent / name).is_dir() else store.find(name))
    wanted = {
        name: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for name, leaf in _named(like).items()
    }
    placed = found.placed(wanted)
    leaves, structure = jax.tree_util.tree_flatten_with_path(like)
    values = [_like(placed[jax.tree_util.keystr(place)], leaf) for place, leaf in leaves]
    return jax.tree.unflatten(structure, values), found.meta


def described(model: PyTree) -> str:
    """What no array of a model says: its classes and settings, without addresses of objects."""
    text = eqx.tree_pformat(model, width=100)
    return re.sub(r" at 0x[0-9a-f]+", "", text)


def refuse_other(saved: str, here: str) -> None:
    """Raises `CheckpointError` with the first difference of two models."""
    pairs = itertools.zip_longest(saved.splitlines(), here.splitlines(), fillvalue="")
    for before, now in pairs:
        if before != now:
            raise et.CheckpointError(
                f"load_checkpoint: it is of another model. It has {before.strip()!r}, and this one "
                f"{now.strip()!r}."
            )


def _name(path: Path) -> str:
    """The seed's names end with .pkl, and nothing here is pickled."""
    return path.name.removesuffix(".pkl")


def _store(path: Path) -> CheckpointStore:
    try:
        return CheckpointStore(path.parent)
    except OSError as error:
        raise et.CheckpointError(f"save_checkpoint: {error}.") from error


def _named(state: PyTree) -> dict[str, Any]:
    leaves, _ = jax.tree_util.tree_flatten_with_path(state)
    return {jax.tree_util.keystr(place): _plain(leaf) for place, leaf in leaves}


def _plain(leaf: Any) -> Any:
    is_key = jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    return jax.random.key_data(leaf) if is_key else jnp.asarray(leaf)


def _like(value: Any, leaf: Any) -> Any:
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return jax.random.wrap_key_data(jnp.asarray(value), impl=jax.random.key_impl(leaf))
    return jnp.asarray(value)
