"""Metrics for TensorBoard."""

import time
from pathlib import Path
from typing import Any

from etude.callbacks.base import Event
from etude.callbacks.loggers import Logger, absolute, place, run_config
from etude.callbacks.writer import Picture, Scalars


class TensorBoardLogger(Logger):
    """Writes event files for `tensorboard --logdir FOLDER`; tags are `phase/train/loss`.

    After a resume or a roll-back, TensorBoard hides the steps that are made again.

    Args:
        folder: where the event files go; `tensorboard` in the run folder (without a run: in the
            working directory), if None.
        every: steps between records; the first step of each group is written.

    Needs the extra `tensorboard` (tensorboardX).

    >>> TensorBoardLogger("runs/tensorboard").every
    50
    """

    package, extra = "tensorboardX", "tensorboard"

    def __init__(self, folder: str | Path | None = None, every: int = 50):
        super().__init__(every)
        self.folder = absolute(folder)
        self._writer_of_events: Any = None

    def open(self, event: Event) -> None:
        from tensorboardX import SummaryWriter

        folder = place(self.folder, event, "tensorboard")
        folder.mkdir(parents=True, exist_ok=True)
        first = event.global_step + 1
        # Files are named by the second: without more, a quick resume would replace one. TensorBoard
        # reads them in the order of their names.
        suffix = f".{time.time_ns()}"
        writer = SummaryWriter(
            str(folder), purge_step=first, max_queue=1000, filename_suffix=suffix
        )
        self._writer_of_events = writer
        config = run_config(event)
        if config:
            text = "\n".join(f"    {name}: {value}" for name, value in config.items())
            writer.add_text("config", text, first)

    def write(self, scalars: Scalars) -> None:
        for step, row in scalars.rows():
            for name, value in row.items():
                self._writer_of_events.add_scalar(name, value, step)
        self._writer_of_events.flush()

    def show(self, picture: Picture) -> None:
        pixels = picture.pixels
        self._writer_of_events.add_image(picture.name, pixels, picture.step, dataformats="HWC")
        self._writer_of_events.flush()

    def close(self, failed: bool) -> None:
        if self._writer_of_events is not None:
            self._writer_of_events.close()
