"""How the processes of one training begin: with the same settings, and with one run.

>>> import tempfile
>>> folder = Path(tempfile.mkdtemp()) / "run"
>>> opened(lambda: Run.create(folder, {}, seed=0), folder).writes  # this process is alone
True
"""

import hashlib
from collections.abc import Callable, Iterable
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from etude.engine.layout import ByRows
from etude.engine.leaf_roles import is_array
from etude.engine.processes import processes
from etude.engine.source import Resident, Source
from etude.run import Run
from etude.run.environment import versions
from etude.training.binding import Bound
from etude.training.subject import Subject

#: Samples of the data that are compared between processes.
SOME = 64


def agree_on(subject: Subject) -> None:
    """Does nothing if all processes train the same with the same code.

    Raises `ConfigurationError` in each of them, with what differs, if they do not.
    """
    if not processes().alone:
        facts = {f"version of {name}": version for name, version in versions().items()}
        facts |= {
            f"{name} (a digest of some samples)": _digest(_some(_shown(source)))
            for name, source in _sources(subject.settings.bound.values()).items()
        }
        facts["model at the beginning (a digest)"] = _digest(subject.settings.model)
        facts["code of etude"] = _code()
        processes().all_agree({**subject.fingerprint(), **facts})


def opened(open_run: Callable[[], Run], folder: Path) -> Run:
    """The run in a folder: the first process opens it to write, then the others to read.

    Raises in every process what `open_run` raises, or what keeps another from seeing the folder.
    """
    together, made = processes(), list[Run]()
    together.first_says(lambda: made.append(open_run()))
    try:
        return together.all_do(lambda: made[0] if made else Run.open(folder, lock=False))
    except BaseException:
        for run in made:
            run.close()
        raise


def _sources(bound: Iterable[Bound]) -> dict[str, Source]:
    """The data of all phases, rescues included."""
    found: dict[str, Source] = {}
    for phase in (one.plan.phase for one in bound):
        found[f"data of phase {phase.name!r}"] = phase.source
        for validation in phase.validations:
            found[f"data of {validation.name!r} in phase {phase.name!r}"] = validation.data
    return found


def _shown(source: Source) -> PyTree:
    """What tells data from others: all, or a batch; nothing of a stream, which that uses up."""
    if isinstance(source, Resident):
        return source.arrays
    if not source.seeks:
        return None
    with closing(cast(Any, source.sequential())) as batches:  # which may have begun to read ahead
        return next(batches)[0]


def _some(data: PyTree) -> PyTree:
    """About `SOME` samples of all; those that are stored by rows are counted by the second axis."""

    def one(leaf: Any) -> Any:
        if isinstance(leaf, ByRows):
            return jax.tree.map(lambda x: x[:, :: max(1, x.shape[0] * x.shape[1] // SOME)], leaf)
        return leaf[:: max(1, len(leaf) // SOME)] if is_array(leaf) and leaf.ndim else leaf

    return jax.tree.map(one, data, is_leaf=lambda leaf: isinstance(leaf, ByRows))


def _digest(tree: PyTree) -> str:
    """A digest of arrays that this process has.

    Arrays that all processes have made together cannot differ.
    """
    digest = hashlib.sha256()
    for leaf in jax.tree.leaves(tree):
        if not is_array(leaf) or (isinstance(leaf, jax.Array) and not leaf.is_fully_addressable):
            continue
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            leaf = jax.random.key_data(leaf)
        digest.update(np.ascontiguousarray(leaf).view(np.uint8).data)
    return digest.hexdigest()[:12]


@cache
def _code() -> str:
    """A digest of the package: another version of it may count steps or draw orders otherwise."""
    root, digest = Path(__file__).parents[1], hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(path.relative_to(root).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()[:12]
