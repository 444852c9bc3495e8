"""Checkpoints that are whole or absent.

A checkpoint is a folder: `arrays-<sequence>.bin`, written in a background thread, and
`manifest.json`, written after it. Without a manifest there is no checkpoint; with one, every
array has a digest that restoring verifies.

>>> import tempfile
>>> import numpy as np
>>> store = CheckpointStore(Path(tempfile.mkdtemp()))
>>> store.save("step-10", {"model.weight": np.ones(2)}, {"step": 10})
>>> store.wait()
>>> restored = store.restore()
>>> restored.name, restored.arrays["model.weight"], restored.meta["step"]
('step-10', array([1., 1.]), 10)
"""

import contextlib
import difflib
import hashlib
import json
import re
import shutil
import warnings
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from etude.errors import CheckpointError
from etude.kinds import is_a
from etude.run.checkpoints.background import Background, Job
from etude.run.checkpoints.buffers import Buffers
from etude.run.checkpoints.folder import (
    SHARED,
    ReplacedError,
    checkpoint_folders,
    last_sequence,
    read_whole,
    remove_folder,
    remove_unfinished,
    remove_unshared,
    sequence_of,
    write_folder,
    write_shared,
)
from etude.run.checkpoints.host_array import ArrayLike, HostArray, Take
from etude.run.checkpoints.manifest import FILE_NAME, Manifest, ManifestError
from etude.run.checkpoints.restored import Restored
from etude.run.checkpoints.shared import Shared

#: How often a reader begins again because the training went on.
ATTEMPTS = 20


def _warn(sentence: str) -> None:
    warnings.warn(sentence, stacklevel=4)


class CheckpointStore:
    """The checkpoints of one run, in one folder; one thread of one process writes it.

    Others may read meanwhile, with `beside_writer=True`: they pass over what is being written
    without a word. A save runs in the background: its failure is raised by the next `wait`, `poll`
    or `save`, once, and the store can be used again. Saves take turns with the same memory.

    >>> import tempfile
    >>> store = CheckpointStore(Path(tempfile.mkdtemp()))
    >>> store.save("first", {}, {})
    >>> store.save("second", {}, {})
    >>> store.wait()
    >>> store.names()
    ['first', 'second']
    """

    def __init__(
        self,
        folder: Path,
        *,
        ledger: Path | None = None,
        beside_writer: bool = False,
        on_warning: Callable[[str], None] = _warn,
    ) -> None:
        self._folder = Path(folder)
        if not beside_writer:  # here and not at a save: a run that is deleted later stays deleted
            self._folder.mkdir(parents=True, exist_ok=True)
        #: gets the name of each checkpoint once it is whole; outlives the checkpoints
        self._ledger = ledger
        self._beside_writer, self._on_warning = beside_writer, on_warning
        self._background, self._buffers = Background(), Buffers()
        self._failure: CheckpointError | None = None
        #: names of checkpoints that gave way to newer ones, and how many the ledger has of them
        self.left_out: list[str] = []
        self._told = 0

    def save(
        self,
        name: str,
        arrays: Mapping[str, ArrayLike],
        meta: Mapping[str, Any],
        shared: Mapping[str, Shared] | None = None,
        *,
        optional: bool = False,
        settle: Callable[[], None] | None = None,
        superfluous: Callable[[list[str]], Iterable[str]] | None = None,
    ) -> None:
        """Start to save `arrays` (leaf path -> array) and `meta` (JSON) under `name`.

        JAX arrays are copied before this returns, shard by shard, so that they may be donated
        then; NumPy arrays may not change before `wait` returns. Of `shared`, the leaves are called
        by their key and their own path; what is on the disk already is not written again.

        An older checkpoint of that name stays whole until the new one is. Waits for the save
        before, unless this one is `optional`: then it waits itself, without holding the caller up,
        in the place of an optional one that waits already and is left out (`left_out`).

        In the background, `settle` is called before the checkpoint counts, and `superfluous` after
        it: of the names of all checkpoints, oldest first, it gives those to remove.

        Raises CheckpointError if a save before has failed, ValueError or TypeError for a name, an
        array or meta that cannot be stored.
        """
        _check_name(name)
        try:
            copied = json.loads(json.dumps(dict(meta)))  # the caller may change its own
        except (TypeError, ValueError) as error:
            raise TypeError(f"checkpoint {name!r}: meta must be JSON, but {error}") from None
        self._background.withdraw()  # before there is another copy of everything
        if not optional:
            self._background.join()
        self._raise_failure()
        taken: list[UInt8[np.ndarray, " _"]] = []

        def take(size: int) -> UInt8[np.ndarray, " _"]:
            taken.append(self._buffers.take(size))
            return taken[-1]

        host = {path: _on_host(path, array, take) for path, array in arrays.items()}

        def write() -> None:
            self._write(name, host, copied, shared or {}, settle, superfluous)
            self._buffers.give_back(taken)

        def withdraw() -> None:
            self.left_out.append(name)
            self._buffers.give_back(taken)

        self._background.start(Job(write, withdraw))

    def wait(self) -> None:
        """Return when all saves are on the disk; raise CheckpointError if one failed."""
        self._background.join()
        self._raise_failure()

    def poll(self) -> None:
        """Raise CheckpointError if a save has failed; return at once otherwise."""
        self._raise_failure()

    def close(self) -> None:
        """The same as `wait`: nothing is written after it."""
        self.wait()

    def names(self) -> list[str]:
        """Names of the checkpoints that have a manifest, oldest first."""
        self._background.join()
        found: list[tuple[int, str]] = []
        for folder in checkpoint_folders(self._folder):
            try:
                manifest = Manifest.read(folder)
            except ManifestError:
                continue
            found.append((manifest.sequence, folder.name))
        return [name for _, name in sorted(found)]

    def empty(self) -> bool:
        """Whether there is none, not even a damaged one: no folder has a manifest."""
        self._background.join()
        return not any((one / FILE_NAME).exists() for one in checkpoint_folders(self._folder))

    def lost(self) -> bool:
        """Whether there is none although one was written: somebody has removed them all."""
        return self.empty() and self._ledger is not None and self._ledger.exists()

    def find(self, name: str) -> str:
        """The checkpoint of that name; `step-500` is the newest one at step 500 of the run.

        Raises CheckpointError, with near matches, if there is none.
        """
        if not is_a(name, str):
            raise CheckpointError(f"A checkpoint is named by text, as 'step-500'; got {name!r}.")
        known = self.names()
        if name in known:
            return name
        step = re.fullmatch(r"step-0*(\d+)", name)
        at_step = [one for one in known if step and re.match(rf"0*{step[1]}-", one)]
        if at_step:
            return at_step[-1]
        close = difflib.get_close_matches(name, known) or known
        raise CheckpointError(
            f"There is no checkpoint {name!r} in {self._folder}. "
            + (f"There is {', '.join(map(repr, close))}." if close else "There is none.")
        )

    def digest(self, name: str) -> str:
        """A digest of the manifest of a checkpoint, which has those of its arrays.

        Raises CheckpointError if there is none of that name.
        """
        path = self._folder / name / FILE_NAME
        try:
            return hashlib.sha256(path.read_bytes()).hexdigest()[:16]
        except OSError as error:
            raise CheckpointError(f"{path} cannot be read here: {error.strerror}.") from None

    def restore(self, name: str | None = None) -> Restored:
        """Read and verify the checkpoint `name`, or the newest one that is whole.

        Each damaged one that was passed over is told to `on_warning` and listed in `skipped`.
        Raises CheckpointError if `name` is absent or damaged, or if none is whole.
        """
        self._background.join()
        replaced: ReplacedError | None = None
        for _ in range(ATTEMPTS):
            try:
                return self._restore(name)
            except ReplacedError as error:  # there is a newer one
                replaced = error
        raise CheckpointError(
            f"Checkpoints in {self._folder} are replaced faster than they can be read: {replaced}. "
            "Save less often, or read when the training has ended."
        )

    def _restore(self, name: str | None) -> Restored:
        folders = list(checkpoint_folders(self._folder))
        # By its name and never by a path, which could be of another run.
        if name is not None and name not in [folder.name for folder in folders]:
            name = self.find(name)
        skipped: list[str] = []
        newest_first = sorted(folders, key=sequence_of, reverse=True)
        for folder in newest_first if name is None else [self._folder / name]:
            if self._beside_writer and name is None and not (folder / FILE_NAME).exists():
                continue  # being written, or removed
            try:
                manifest, leaves = read_whole(folder)
            except ManifestError as error:
                skipped.append(f"Checkpoint {folder.name!r} cannot be used: {error}.")
                continue
            for sentence in skipped:
                self._on_warning(f"{sentence} An older one is used: {folder.name!r}.")
            return Restored(folder.name, leaves, dict(manifest.meta), skipped, manifest.format)
        raise CheckpointError(
            "\n".join([f"No whole checkpoint in {self._folder}.", *skipped])
            if name is None
            else skipped[0]
        )

    def remove(self, name: str) -> None:
        """Remove the checkpoint `name`, and what only it refers to.

        Raises CheckpointError if there is none.
        """
        self._background.join()
        if name not in [known.name for known in checkpoint_folders(self._folder)]:
            raise CheckpointError(f"There is no checkpoint {name!r} in {self._folder} to remove.")
        remove_folder(self._folder / name)
        remove_unshared(self._folder)

    def remove_after(self, name: str) -> None:
        """Remove all checkpoints that are newer than `name`, the newest first."""
        names = self.names()
        for later in reversed(names[names.index(name) + 1 :]):
            self.remove(later)

    def _raise_failure(self) -> None:
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    def _write(
        self,
        name: str,
        arrays: Mapping[str, HostArray],
        meta: dict[str, Any],
        shared: Mapping[str, Shared],
        settle: Callable[[], None] | None,
        superfluous: Callable[[list[str]], Iterable[str]] | None,
    ) -> None:
        """The whole save, in the background; leaves its failure behind for `wait`."""
        folder = self._folder / name
        try:
            known = list(checkpoint_folders(self._folder))
            sequence = 1 + max(map(last_sequence, known), default=0)
            for one in known:
                remove_unfinished(one)  # what killed saves have left
            for one in shared.values():
                write_shared(
                    self._folder, Manifest(one.digest, sequence, one.entries, {}, {}), one.leaves
                )
            folder.mkdir(exist_ok=True)
            digests = {prefix: one.digest for prefix, one in shared.items()}
            write_folder(folder, Manifest(name, sequence, {}, meta, digests), arrays, settle)
            self._write_down(name)
            remove_unfinished(folder)  # the arrays of an older checkpoint of this name
            if superfluous is not None:
                self._remove_all(superfluous(self._names_in_order()))
        except Exception as error:
            size = sum(one.nbytes for one in (*arrays.values(), *shared.values()))
            self._failure = self._failure or self._explain(name, size, error)
            remove_unfinished(folder)
        remove_unshared(self._folder)

    def _remove_all(self, names: Iterable[str]) -> None:
        """Remove checkpoints; one that resists is left to the next time."""
        for name in names:
            with contextlib.suppress(OSError):
                remove_folder(self._folder / name)

    def _names_in_order(self) -> list[str]:
        """As `names`, from the names of files alone."""
        whole = [one for one in checkpoint_folders(self._folder) if (one / FILE_NAME).exists()]
        return [one.name for one in sorted(whole, key=last_sequence)]

    def _write_down(self, name: str) -> None:
        new, self._told = self.left_out[self._told :], len(self.left_out)
        lines = [name, *(f"{one} (left out: saves came faster than the disk)" for one in new)]
        if self._ledger is not None:
            with contextlib.suppress(OSError), self._ledger.open("a", encoding="utf-8") as file:
                file.write("".join(f"{line}\n" for line in lines))  # it is whole also without it

    def _explain(self, name: str, size: int, error: Exception) -> CheckpointError:
        reason = " ".join(str(error).split())
        full = [
            text
            for text in ("No space left on device", "Disk quota exceeded", "File too large")
            if text in reason
        ]
        disk = next(path for path in (self._folder, *self._folder.parents) if path.is_dir())
        free = shutil.disk_usage(disk).free
        failure = CheckpointError(
            f"Checkpoint {name!r} could not be written to {self._folder}: "
            f"{full[0] if full else f'{type(error).__name__}: {reason[:300]}'}. "
            f"It needs about {size / 2**20:.1f} MiB, {free / 2**20:.1f} MiB are free there. "
            "Older checkpoints are intact."
            + (" Free some space, or keep fewer checkpoints." if full else "")
        )
        failure.__cause__ = error
        return failure


def _check_name(name: str) -> None:
    if not re.fullmatch(r"\w[\w.=+-]*", name) or len(name.encode()) > 250 or name == SHARED:
        raise ValueError(
            f"checkpoint name {name!r}: expected letters, digits and any of _ . = + -, "
            f"not starting with a sign, up to 250 bytes, and not {SHARED!r}; for example "
            "'step-000100'"
        )


def _on_host(path: str, array: ArrayLike, take: Take) -> HostArray:
    try:
        return HostArray.of(array, take)
    except TypeError as error:
        raise TypeError(f"leaf {path!r} {error}") from None
