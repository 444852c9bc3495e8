"""What a checkpoint holds of a training, when it is handed over, and what if the disk is full."""

import contextlib
import time
from collections.abc import Callable
from typing import Any

import jax

from etude.callbacks.base import Event
from etude.callbacks.checkpointing import ModelCheckpoint
from etude.engine.place import gathered
from etude.errors import CheckpointError, NonFiniteError, RunLostError
from etude.run import Run, Status, way_on
from etude.run.checkpoints import HostArray, Shared
from etude.training.hooks import Hooks
from etude.training.journal import Journal
from etude.training.phase_visit import Visit

#: What belongs to the training as a whole, as JSON; asked for when the callbacks are ready.
SessionJson = Callable[[], dict[str, Any]]


class Saving:
    """The checkpoints of a training; without a run there are none.

    Of several processes the first writes them, and all put together what each has a part of.
    Where one cannot be written, the journal raises `CheckpointError` or `OSError`, or warns.
    """

    def __init__(self, run: Run | None, hooks: Hooks, journal: Journal):
        self.run = run if run is not None and run.writes else None
        #: that another process writes
        self._elsewhere = run if self.run is None else None
        self.hooks, self.journal = hooks, journal
        #: why the last phase ended, as the newest checkpoint has it
        self._reason = ""

    def save(
        self, root: Visit, event: Event, session: SessionJson, *, optional: bool = False
    ) -> None:
        """Hands a checkpoint of everything to the writer.

        An `optional` one does not hold the training up: where the one before is still being
        written, it waits, and is left out if another one comes meanwhile.
        """
        arrays = self._put_together(root)
        if self.run is None:
            return
        try:
            self.run.checkpoints.poll() if optional else self.run.checkpoints.wait()
        except CheckpointError as error:
            self._failed(self.run, error)
        try:
            self._hand_over(self.run, root, arrays, event, session, optional=optional)
        except (CheckpointError, OSError) as error:
            self._failed(self.run, error)

    def wait(self) -> None:
        """Returns when the last checkpoint is on the disk, and those nobody needs are gone."""
        if self.run is None:
            return
        try:
            self.run.checkpoints.wait()
        except CheckpointError as error:
            self._failed(self.run, error)

    def for_later(self, root: Visit, event: Event, session: SessionJson) -> str:
        """Saves the state at an interruption; says what came of it."""
        run, arrays = self.run, self._put_together(root)
        if self._elsewhere is not None:
            path = self._elsewhere.path
            return f"Process 0 saves the state in {path}; go on with: {way_on(path)}"
        if run is None:
            return "Nothing is saved, because there is no run folder; pass run='runs/name'."
        with contextlib.suppress(CheckpointError):  # of an earlier one: this one may be whole
            run.checkpoints.wait()
        try:
            self._hand_over(run, root, arrays, event, session)
            run.checkpoints.wait()
        except (CheckpointError, OSError) as failure:
            return f"{failure} Go on from the last checkpoint of {run.path}: {way_on(run.path)}"
        return f"The state is saved in {run.path}; go on with: {way_on(run.path)}"

    def advice(self, error: Exception) -> str:
        """How to go on after an error that ended a run."""
        run = self.run or self._elsewhere
        assert run is not None
        if isinstance(error, RunLostError):
            return "Nothing was saved since."
        if isinstance(error, NonFiniteError):
            same = "The same settings would end at the same step; with others, go on from the last "
            how = way_on(run.path, " --changes allow --FIELD VALUE", "changes='allow'")
            return f"{same}checkpoint: {how}"
        return (
            f"The run is in {run.path}. Once the cause is mended, go on from its last checkpoint: "
            f"{way_on(run.path)}"
        )

    def close(self, error: BaseException | None = None) -> None:
        """Closes the files of the run; what fails is added to the `error` that ends it."""
        if self.run is None:
            return
        if error is None:
            self.run.ensure_in_place()
        # The end is told when nothing is written any more that says how the training stands.
        for last in (self.run.checkpoints.wait, lambda: self._tell_end(error), self.run.close):
            try:
                last()
            except (CheckpointError, RunLostError, OSError) as failure:
                if error is None:
                    self.journal.failed(failure)
                elif not isinstance(error, RunLostError):
                    error.add_note(str(failure))

    def _tell_end(self, error: BaseException | None) -> None:
        """Writes in the status how the training ended; not if it was refused before it began."""
        if error is None:
            self.journal.stands("finished", self._reason)
        elif self.journal.begun:
            first = next(iter(str(error).splitlines()), "")[:200]
            if isinstance(error, KeyboardInterrupt):
                self.journal.stands("interrupted", first)
            else:
                self.journal.stands("failed", f"{type(error).__name__}: {first}")

    @property
    def _keepers(self) -> list[ModelCheckpoint]:
        return [c for c in self.hooks.callbacks if isinstance(c, ModelCheckpoint)]

    def _failed(self, run: Run, error: Exception) -> None:
        """One could not be written: told, unless that ends the training."""
        self.journal.failed(error)
        names = run.checkpoints.names()
        for keeper in self._keepers:
            keeper.forget_all_but(names)

    def _put_together(self, root: Visit) -> dict[str, Any]:
        """The arrays of a checkpoint; those that other processes have parts of are read already."""
        if self.run is None and self._elsewhere is None:
            return {}
        arrays: dict[str, Any] = {}
        for depth, visit in enumerate(root.chain):
            arrays |= visit.arrays(f"{depth}/")
        for name, array in arrays.items():
            whole = gathered(array)  # one after the other: all at once may not fit
            if whole is not array:
                jax.block_until_ready(whole)
                arrays[name] = None if self.run is None else HostArray.of(whole)
        return arrays

    def _hand_over(
        self,
        run: Run,
        root: Visit,
        arrays: dict[str, Any],
        event: Event,
        session: SessionJson,
        *,
        optional: bool = False,
    ) -> None:
        began = time.perf_counter()
        name = f"{event.global_step:09d}-{event.phase}"
        # Callbacks run first: their state belongs to this checkpoint.
        self.hooks.call("on_checkpoint", event, name)
        run.ensure_in_place()
        content = session()
        keepers = [callback.keeper() for callback in self._keepers]

        def superfluous(names: list[str]) -> list[str]:
            return [name for name in names if not any(name in keep(names) for keep in keepers)]

        self.journal.steps_made = event.global_step
        self._reason = content["reasons"][-1][1] if content["reasons"] else ""

        def settle() -> None:
            # A power cut must not leave a checkpoint of records that are gone.
            run.history.settle()
            Status("training", "", event.global_step).write(run.path)

        run.history.flush()
        run.checkpoints.save(
            name, arrays, **_content(run, root, content), optional=optional, settle=settle,
            superfluous=superfluous if keepers else None,
        )  # fmt: skip
        seconds = time.perf_counter() - began
        self.journal.took(root, "checkpoint", seconds)
        self.hooks.call("on_time", event, "checkpoint", seconds, 0)


def _content(run: Run, root: Visit, session: dict[str, Any]) -> dict[str, Any]:
    """`meta` and `shared` of a checkpoint."""
    visits = root.chain
    shared: dict[str, Shared] = {}
    for depth, visit in enumerate(visits):
        shared |= visit.shared(f"{depth}/")
    meta = {
        "visits": [visit.position() for visit in visits],
        **session,
        "history": run.history.mark(),
    }
    return {"meta": meta, "shared": shared}
