"""Metrics for Trackio."""

from typing import Any

from etude.callbacks.base import Event
from etude.callbacks.loggers import Logger, run_config
from etude.callbacks.writer import Scalars


class TrackioLogger(Logger):
    """Writes a run of Trackio, shown by `trackio show`; metrics are `phase/train/loss`.

    A resume goes on with the run of the same name.

    Args:
        project: its name.
        name: of the run; one that is unique, if None.
        every: of each so many steps, the first is written.

    Needs the extra `trackio`.

    >>> TrackioLogger("bearings").project
    'bearings'
    """

    package, extra = "trackio", "trackio"

    def __init__(self, project: str = "etude", name: str | None = None, every: int = 50):
        super().__init__(every)
        self.project, self.name = project, name
        self._trackio: Any = None

    def open(self, event: Event) -> None:
        import trackio  # pyright: ignore[reportMissingImports]

        self._trackio = trackio
        trackio.init(
            project=self.project,
            name=self.name or self.identity,
            config=run_config(event),
            resume="allow",
        )

    def write(self, scalars: Scalars) -> None:
        for step, row in scalars.rows():
            self._trackio.log(row, step=step)

    def close(self, failed: bool) -> None:
        self._trackio.finish()
