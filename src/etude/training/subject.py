"""What a training trains: one model, or a population of several side by side."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, PyTree

from etude.callbacks.base import BuildModel, Stop
from etude.engine.phase import Phase
from etude.engine.program import Executor
from etude.run import Run
from etude.training.phase_visit import Visit
from etude.training.resuming import Restoration, Resume
from etude.training.settings import Settings

if TYPE_CHECKING:
    from etude.training.session import Session
    from etude.training.telling import Telling


class Place(NamedTuple):
    """Where a visit to a phase stands in the training."""

    #: visits to the phase before it, and roll-backs in the training
    number: int
    attempt: int
    #: steps of the run before it
    origin: int


@runtime_checkable
class Read(Protocol):
    """What a chunk leaves behind, as `etude.engine.chunk.Chunk` is it."""

    @property
    def first(self) -> int: ...

    def read(self) -> tuple[Float[np.ndarray, "steps metrics"], int, int]: ...


@runtime_checkable
class Advancing(Protocol):
    """The program of a phase, as `etude.engine.program.Program` is one."""

    @property
    def metrics(self) -> tuple[str, ...]: ...

    def advance(
        self, state: Any, first: int, steps: int, stop: Callable[[], bool]
    ) -> tuple[Any, Read]: ...


@runtime_checkable
class ProgramsOf(Protocol):
    """The programs of a training, as `etude.training.programs.Programs` are."""

    executors: dict[str, Executor]

    def compiled(self, visit: Visit) -> float | None: ...
    def of(self, visit: Visit) -> Advancing: ...
    def enter(self, visit: Visit) -> None: ...
    def take_waited(self, visit: Visit) -> float: ...
    def close(self) -> None: ...


@runtime_checkable
class Boundaries(Protocol):
    """What happens between stretches of steps, as `etude.training.boundary.Boundary` does it."""

    def validate(self, visit: Visit, *, last: bool) -> dict[str, Any] | None: ...
    def decide(
        self, visit: Visit, measured: dict[str, Any] | None, ending: Stop | None
    ) -> None: ...
    def measure_outcome(self, visit: Visit) -> dict[str, Any]: ...


@runtime_checkable
class Subject(Protocol):
    """What is trained, from the models that it begins with to those that it leaves."""

    @property
    def settings(self) -> Settings: ...
    @property
    def programs(self) -> ProgramsOf: ...

    @property
    def count(self) -> int:
        """How many members there are; 0 for one model that is no population."""
        ...

    @property
    def groups(self) -> tuple[tuple[int, ...], ...]:
        """The numbers of those of equal shapes, group by group."""
        ...

    def fingerprint(self) -> dict[str, Any]:
        """What decides the bits of the training."""
        ...

    def first(self) -> PyTree:
        """The arrays that the first phase starts from; they are the user's."""
        ...

    def visit(self, phase: Phase, arrays: PyTree, place: Place, *, donate: bool) -> Visit:
        """A new visit to a phase, of arrays that are copied, or given away."""
        ...

    def hand_over(self, visit: Visit) -> PyTree:
        """The arrays that the next phase starts from; the visit is over."""
        ...

    def model(self, visit: Visit) -> Any:
        """What the training leaves; the visit is over."""
        ...

    def model_of(self, visit: Visit) -> BuildModel:
        """Builds a copy of the model as it is when asked."""
        ...

    def teams(self, visit: Visit) -> str:
        """How the members step together, in a sentence; nothing if there are none."""
        ...

    def details(self, visit: Visit) -> dict[str, Any]:
        """What the history says of a visit that begins."""
        ...

    def as_json(self) -> dict[str, Any]:
        """What a checkpoint says beside the visits and the session."""
        ...

    def restore(self, run: Run, fingerprint: Mapping[str, Any], how: Resume) -> Restoration | None:
        """The checkpoint to go on from; None if there never was one."""
        ...

    def boundary(
        self, session: "Session", telling: "Telling", poll: Callable[[], None]
    ) -> Boundaries:
        """What happens between stretches of steps."""
        ...
