"""Metrics for Weights & Biases."""

from pathlib import Path
from typing import Any, Literal, get_args

from etude.callbacks.base import Event
from etude.callbacks.loggers import FROM, Logger, absolute, run_config
from etude.callbacks.writer import Picture, Scalars
from etude.errors import ConfigurationError, suggest

AXIS = "global_step"
Mode = Literal["online", "offline", "disabled"]


class WandbLogger(Logger):
    """Writes a run of Weights & Biases; metrics are `phase/train/loss` over `global_step`.

    W&B takes nothing back, so what a resume or a roll-back makes again goes into a run of its own:
    no run has a step twice. The runs of one training are a group, named by its identity; its
    configuration says in `etude/from_step` where each one went on.

    Args:
        project: name of the project on the server.
        name: name of the run; the server makes one up, if None.
        mode: "offline" writes a folder for `wandb sync`; the variable `WANDB_MODE` decides, if
            None.
        folder: where local files go; the run folder (without a run: the working directory), if
            None.
        every: steps between records; the first step of each group is written.

    Raises `ConfigurationError` for another mode. Needs the extra `wandb`.

    >>> WandbLogger("etude", mode="offline").mode
    'offline'
    """

    package, extra = "wandb", "wandb"

    def __init__(
        self,
        project: str = "etude",
        name: str | None = None,
        mode: Mode | None = None,
        folder: str | Path | None = None,
        every: int = 50,
    ):
        super().__init__(every)
        if mode is not None and mode not in get_args(Mode):
            raise ConfigurationError(
                f"WandbLogger: mode is one of {get_args(Mode)}, or None; got {mode!r}. "
                f"{suggest(str(mode), get_args(Mode))}"
            )
        self.project, self.name, self.folder = project, name, absolute(folder)
        self.mode: Mode | None = mode
        self._run: Any = None

    def open(self, event: Event) -> None:
        import wandb

        self._run = wandb.init(
            project=self.project,
            name=self.name,
            id=self.sitting,
            group=self.identity,
            mode=self.mode,
            dir=str(self.folder or event.folder or "."),
            config=run_config(event) | {FROM: event.global_step},
            reinit="create_new",  # beside a run that the user may have open
            # The console belongs to the training, not to a thread beside it.
            settings=wandb.Settings(console="off", silent=True),
        )
        # An axis of our own, because that of W&B refuses to go back, as rescues do.
        self._run.define_metric(AXIS)
        self._run.define_metric("*", step_metric=AXIS)

    def write(self, scalars: Scalars) -> None:
        for step, row in scalars.rows():
            self._run.log({AXIS: step, **row})

    def show(self, picture: Picture) -> None:
        import wandb

        self._run.log({AXIS: picture.step, picture.name: wandb.Image(picture.pixels)})

    def close(self, failed: bool) -> None:
        if self._run is not None:
            self._run.finish(exit_code=int(failed))
