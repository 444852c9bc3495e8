"""Samples of a model while it is trained: figures and arrays in the run, pictures for loggers."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import jax
import numpy as np
from jaxtyping import Float, UInt8

import etude as et
from etude.callbacks import Event, Request, StepMetrics
from etude.engine.leaf_roles import inference
from etude.systems.generative.plots import picture_grid, scatter

if TYPE_CHECKING:
    from matplotlib.figure import Figure
else:
    Figure = Any

Draw = Callable[[Float[np.ndarray, "n ..."]], Figure]


@final
class Samples(et.Callback):
    """Draws samples every so many steps of a phase.

    Each time it writes `samples/<phase>-<step>.png`, and `.npy` beside it, into the folder of the
    run, and shows the figure to loggers that have pictures (TensorBoard, Weights & Biases). The
    key is the same each time, so that figures differ by the model alone; nothing of the training
    depends on it.

    Args:
        every: steps, or epochs, between drawings.
        count: how many samples.
        ema: whether to sample from the averaged weights.
        draw: samples -> a figure; None: a grid of pictures, or points of the plane.
        folder: instead of `samples` in the run.
        seed: of the draws.
        options: other arguments of the model's `sample`, as `labels` and `temperature`.

    Raises:
        ConfigurationError: a count below 1; when training begins, no folder to write to.

    >>> Samples(et.Steps(500), count=64, ema=True).every
    Steps(count=500)
    """

    def __init__(
        self,
        every: et.Steps | et.Epochs,
        count: int = 64,
        *,
        ema: bool = False,
        draw: Draw | None = None,
        folder: str | Path | None = None,
        seed: int = 0,
        **options: Any,
    ):
        if count < 1:
            raise et.ConfigurationError(f"Samples: count is at least 1; got {count}.")
        self.every, self.count, self.ema, self.seed = every, count, ema, seed
        self.draw = figure_of if draw is None else draw
        self.folder = None if folder is None else Path(folder).absolute()
        self.options = options

    def on_train_begin(self, event: Event) -> Request:
        if self.folder is None and event.folder is None:
            raise et.ConfigurationError(
                "Samples: there is no run to write to. Pass run= to the trainer, or folder= here."
            )

    def next_step(self, event: Event) -> int | None:
        interval = self._interval(event)
        return (event.step // interval + 1) * interval

    def on_steps_end(self, event: Event, metrics: StepMetrics) -> Request:
        if event.step % self._interval(event):
            return None
        model = inference(event.model(ema=self.ema))
        x = np.asarray(model.sample(jax.random.key(self.seed), self.count, **self.options))
        home = self.folder or event.folder
        assert home is not None
        folder = self.folder or home / "samples"
        folder.mkdir(parents=True, exist_ok=True)
        place = folder / f"{event.phase}-{event.step:06}"
        np.save(place.with_suffix(".npy"), x)
        figure = self.draw(x)
        figure.savefig(place.with_suffix(".png"), dpi=110)
        return et.Show("samples", pixels_of(figure))

    def _interval(self, event: Event) -> int:
        if isinstance(self.every, et.Steps):
            return self.every.count
        if event.steps_per_epoch is None:
            raise et.ConfigurationError(
                "Samples: the data do not know the length of an epoch. Give every=Steps(n)."
            )
        return self.every.count * event.steps_per_epoch


def figure_of(x: Float[np.ndarray, "n ..."]) -> Figure:
    """A grid of pictures, or points of the plane.

    Raises `ConfigurationError` for samples that are neither.

    >>> figure_of(np.zeros((4, 8, 8, 1))).axes[0].images[0].get_array().shape
    (18, 18)
    """
    if x.ndim == 4 and x.shape[-1] == 1:
        x = x[..., 0]
    if x.ndim == 3:
        return picture_grid(x)
    if x.ndim == 2 and x.shape[1] == 2:
        return scatter({"": x})
    raise et.ConfigurationError(
        f"Samples: samples of the shape {x.shape[1:]} are neither pictures nor points of the plane."
        " Pass draw=, a function that makes a figure of them."
    )


def pixels_of(figure: Figure) -> UInt8[np.ndarray, "height width 3"]:
    """A figure of matplotlib as pixels."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.array(canvas.buffer_rgba())[..., :3]
