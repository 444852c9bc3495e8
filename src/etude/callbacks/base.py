"""What a callback is: hooks at the moments of a training, and a state of its own.

| hook | when |
|---|---|
| `on_train_begin`, `on_train_end` | once, around everything |
| `on_phase_begin`, `on_phase_end` | around each visit to a phase, rescues included |
| `on_epoch_begin`, `on_epoch_end` | once around each epoch; chunks then end there too |
| `on_steps_end` | after a chunk of steps, with the metrics of each of them |
| `on_batch_begin`, `on_batch_end` | around every step; chunks then have one: slow, and said |
| `on_validation_end` | after a validation |
| `on_member_end` | when a member of a population has ended the phase, before or with the others |
| `on_checkpoint` | before a checkpoint is handed to the writer |
| `on_picture` | when a callback shows a picture |
| `on_time` | when something has taken time: steps, a validation, a checkpoint, ... |
| `on_exception` | when training ends by an exception, an interruption included |

A hook may return a `Stop` (the phase ends at the next boundary), a `Save` (a checkpoint is made)
or a `Show` (loggers that have pictures get one); what it returns is collected, never raised.
"""

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Array, Float, PyTree, UInt8

from etude.callbacks.watching import Reported
from etude.errors import ConfigurationError
from etude.kinds import is_a


class Reason(enum.Enum):
    """Why a phase, or a training, ended."""

    LENGTH = "The phase ran its full length."
    GOAL = "The goal was reached."
    PATIENCE = "The metric stopped improving; raise `patience` to wait longer."
    TIME = "The time limit was reached; raise `limit` to train longer."
    CALLBACK = "A callback asked to stop."
    #: only of a member of a population: the others go on
    FAULT = "A loss or an update was not finite."
    #: only for callbacks: the visit goes on, or begins anew, from the checkpoint
    ROLLBACK = "A value was not finite; a roll-back restored the last checkpoint."


@dataclass(frozen=True)
class Stop:
    """Asks for the end of the phase, of a population for that of one member, or of all if None.

    Raises `ConfigurationError` for a reason that is no `Reason`, and a detail that is no text.
    """

    reason: Reason = Reason.CALLBACK
    detail: str = ""
    member: int | None = None

    def __post_init__(self):
        if not is_a(self.reason, Reason):
            raise ConfigurationError(
                f"Stop: reason is a Reason; got {self.reason!r}. A sentence about it is the "
                "detail: Stop(detail='low enough')."
            )
        if not is_a(self.detail, str):
            raise ConfigurationError(f"Stop: detail is a text; got {self.detail!r}.")


@dataclass(frozen=True, kw_only=True)
class Save:
    """Asks for a checkpoint.

    An `optional` one may be left out where a newer one is asked for while an older one is still
    being written.
    """

    optional: bool = False


@dataclass(frozen=True)
class Show:
    """Shows a picture to all callbacks: samples of a model, a confusion matrix.

    Attributes:
        name: what it shows, as loggers name it.
        pixels: red, green and blue of each, of 8 bits.
    """

    name: str
    pixels: UInt8[np.ndarray, "height width 3"]


@dataclass(frozen=True)
class Exchange:
    """Asks that members of a population go on as copies of others; in `on_validation_end`.

    A copy has the weights, the optimizer state and the numbers of its source, the latter times
    `factors`; its data order and its randomness stay its own. Both are of one group.

    Attributes:
        source: number of the member to copy.
        member: number of the member that is replaced.
        factors: of the varied numbers, name -> factor.
    """

    source: int
    member: int
    factors: Mapping[str, float]


#: What a hook may ask for; several at once in a tuple.
Request = Stop | Save | Show | Exchange | tuple[Stop | Save | Show | Exchange, ...] | None


@runtime_checkable
class BuildModel(Protocol):
    """Builds a copy of a model."""

    def __call__(self, *, ema: bool = False) -> Any:
        """The model; with `ema`, averaged where a learner of the phase keeps an average.

        Of a population, a tuple of the models of its members.

        Raises `ConfigurationError` if none does.
        """
        ...


@dataclass(frozen=True)
class Event:
    """Where a training stands."""

    phase: str
    visit: int
    #: steps done in this visit, and how many there will be at most
    step: int
    total_steps: int | None
    steps_per_epoch: int | None
    #: steps done in all phases together
    global_step: int
    #: the run folder, if there is one
    folder: Path | None
    #: builds a copy of the newest model; in `on_steps_end` alone it may be a chunk ahead of `step`
    model: BuildModel
    #: members of the population that is trained; 0 for a lone model
    members: int = 0
    #: the numbers of those whose models have equal shapes, group by group
    groups: tuple[tuple[int, ...], ...] = ()
    #: how they step together, and what the timing that this was chosen by has found
    teams: str = ""

    @property
    def epoch(self) -> int:
        """Whole passes over the data, done in this visit."""
        return self.step // self.steps_per_epoch if self.steps_per_epoch else 0


@dataclass(frozen=True)
class StepMetrics:
    """The metrics of a chunk: one row for each of its steps."""

    names: tuple[str, ...]
    #: number of the first of these steps, counted from 1
    first: int
    rows: Float[np.ndarray, "steps metrics"]

    def last(self) -> dict[str, float]:
        """The metrics of the last step."""
        if not len(self.rows):
            return {}
        return dict(zip(self.names, self.rows[-1].tolist(), strict=True))

    def column(self, name: str) -> Float[np.ndarray, " steps"]:
        """One metric, at every step."""
        return self.rows[:, self.names.index(name)]


class Callback:
    """Hooks at the moments of a training; override those you need.

    >>> class Print(Callback):
    ...     def on_validation_end(self, event, metrics):
    ...         print(event.step, metrics)
    """

    def on_train_begin(self, event: Event) -> Request:
        """Training begins, or goes on after a resume."""

    def on_train_end(self, event: Event) -> Request:
        """Training has ended by itself."""

    def on_phase_begin(self, event: Event) -> Request:
        """A visit to a phase begins, or goes on after a resume or a roll-back."""

    def on_phase_end(self, event: Event, reason: Reason) -> Request:
        """A visit to a phase has ended, or a roll-back leaves it."""

    def on_epoch_begin(self, event: Event) -> Request:
        """A pass over the data begins."""

    def on_epoch_end(self, event: Event) -> Request:
        """A pass over the data is complete; one that the phase cuts short never is."""

    def on_batch_begin(self, event: Event) -> Request:
        """One step will be made. Overriding this makes every chunk one step long."""

    def on_batch_end(self, event: Event, metrics: Mapping[str, float]) -> Request:
        """One step was made. Overriding this makes every chunk one step long."""

    def on_steps_end(self, event: Event, metrics: StepMetrics) -> Request:
        """A chunk of steps was made."""

    def on_validation_end(self, event: Event, metrics: Mapping[str, Any]) -> Request:
        """A validation was made; `metrics` are named `valid/accuracy`."""

    def on_member_end(self, event: Event, member: int, reason: Reason, detail: str) -> Request:
        """A member of a population has ended the phase; it stands still until all have."""

    def on_checkpoint(self, event: Event, name: str) -> Request:
        """A checkpoint will be made now; the `state` of all callbacks afterwards is in it."""

    def on_picture(self, event: Event, name: str, pixels: UInt8[np.ndarray, "h w 3"]) -> Request:
        """A callback shows a picture."""

    def on_time(self, event: Event, what: str, seconds: float, steps: int) -> Request:
        """Something took time: `what` is "train" (steps, and the wait for their data), "data" (that
        wait alone), "valid", "checkpoint" (the part that training waits for) or "compile"."""

    def on_exception(self, event: Event, error: BaseException) -> Request:
        """Training ends by an exception; the loggers should close."""

    def probe(self, updates: PyTree, trainable: PyTree) -> Mapping[str, Array]:
        """Metrics computed inside the compiled step from the updates of a learner (traced)."""
        return {}

    def problems(self, phases: Mapping[str, Reported]) -> list[str]:
        """What cannot work, given the phases by name, rescues included, and what they report.

        Called before training, and again when names of metrics show that were not known then.
        """
        return []

    def next_step(self, event: Event) -> int | None:
        """The next step of the phase at which a chunk must end for this callback, or None.

        One that is past counts as None.
        """
        return None

    def state(self) -> dict[str, Any]:
        """What must survive a resume, as JSON; a new `fit` starts from that of the beginning."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Takes back what `state` gave."""

    def with_members(self) -> Literal["each", "all"]:
        """How it goes with a population, whose metrics are named `valid/loss.3`.

        "all": one callback sees the metrics of all members. "each": a copy for each member sees
        the metrics of that member alone, by their own names, and a `Stop` ends that member.
        Raises `ConfigurationError` where it does not say so, as here.
        """
        name = type(self).__name__
        raise ConfigurationError(
            f"{name} does not say how it goes with a population. Give its class a method "
            "with_members that returns 'each' (a copy for each member sees its metrics alone, and "
            "ends it with a Stop) or 'all' (one sees the columns of all, 'valid/loss.3')."
        )

    def fingerprint(self) -> Mapping[str, Any]:
        """The settings that change the training (when a phase stops, say), as JSON.

        A resume with other ones is refused. What only watches or writes has none.
        """
        return {}


def overrides(callback: Callback, hook: str) -> bool:
    """Whether a callback has its own version of a hook."""
    return getattr(type(callback), hook) is not getattr(Callback, hook)
