"""What a trainer hands to its loop."""

from dataclasses import dataclass, replace
from typing import Any, Literal

from etude.engine.layout import Layout
from etude.engine.once import Once
from etude.engine.phase import Phase
from etude.engine.program import Executor
from etude.training.binding import Bound
from etude.training.hooks import Hooks
from etude.training.nonfinite import NonFinite
from etude.training.reports import Reports


@dataclass(frozen=True)
class Settings:
    """What the loop needs to know; `Trainer` documents it."""

    model: Any
    phases: tuple[Phase, ...]
    bound: dict[str, Bound]
    reports: Reports
    hooks: Hooks
    nonfinite: NonFinite
    seed: int
    executor: Executor | None
    on_full_disk: Literal["stop", "continue"]
    layout: Layout | None = None

    def anew(self) -> "Settings":
        """The same for another training: what a loss reads from elsewhere may have changed."""
        once = Once()
        bound = {name: one.anew(once) for name, one in self.bound.items()}
        return replace(self, bound=bound)
