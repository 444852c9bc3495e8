"""Metrics for Trackio."""

from typing import Any

from etude.callbacks.base import Event
from etude.callbacks.loggers import FROM, Logger, run_config
from etude.callbacks.writer import Scalars


class TrackioLogger(Logger):
    """Writes a run of Trackio, shown by `trackio show`; metrics are `phase/train/loss`.

    Trackio takes nothing back, so what a resume or a roll-back makes again goes into a run of its
    own: no run has a step twice. The runs of one training are a group, named by its identity; its
    configuration says in `etude/from_step` where each one went on.

    Args:
        project: name of the project.
        name: name of the run, with a suffix after a resume; one that is unique, if None.
        every: steps between records; the first step of each group is written.

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
        self._trackio.init(
            project=self.project,
            name=self._unique_name(),
            group=self.identity,
            config=run_config(event) | {FROM: event.global_step},
        )

    def write(self, scalars: Scalars) -> None:
        for step, row in scalars.rows():
            self._trackio.log(row, step=step)

    def close(self, failed: bool) -> None:
        if self._trackio is not None:
            self._trackio.finish()

    def _unique_name(self) -> str:
        """The name that was given, with the sitting behind it after the first."""
        if self.name is None:
            return self.sitting
        return self.name + self.sitting.removeprefix(self.identity)
