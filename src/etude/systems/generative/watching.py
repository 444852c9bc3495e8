"""Samples of a model while it is trained: figures and arrays in the run, pictures for loggers."""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, final, runtime_checkable

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, Float, Key, UInt8

import etude as et
from etude.callbacks import Event, Reason, Request, StepMetrics
from etude.engine.leaf_roles import inference
from etude.systems.generative.checks import count_of, sizes_of
from etude.systems.generative.examples import sample_labels
from etude.systems.generative.plots import picture_grid, scatter

if TYPE_CHECKING:
    from matplotlib.figure import Figure
else:
    Figure = Any

Draw = Callable[[Float[np.ndarray, "n ..."]], Figure]


@runtime_checkable
class Sampler(Protocol):
    """A model that samples can be drawn from."""

    def sample(self, key: Key[Array, ""], count: int, /) -> Any:
        """An array of `count` examples."""
        ...


@runtime_checkable
class Conditional(Protocol):
    """A model whose samples may have labels."""

    classes: int


@final
class Samples(et.Callback):
    """Draws samples every so many steps of a phase, and at its end.

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
        ConfigurationError: arguments that are out of range; when training begins, no folder to
            write to, options that the model's `sample` does not take, or samples that have no
            figure and no `draw`; when a phase begins, averaged weights that it does not keep.

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
        if not isinstance(every, et.Steps | et.Epochs):
            raise et.ConfigurationError(
                f"Samples: every is Steps(n) or Epochs(n); got {every!r}. Write et.Steps(500)."
            )
        if not (draw is None or callable(draw)):
            raise et.ConfigurationError(f"Samples: draw is a function; got {draw!r}.")
        count_of("Samples", count)
        sizes_of("Samples", least=0, seed=seed)
        self.every, self.count, self.ema, self.seed = every, count, ema, seed
        self.draw = figure_of if draw is None else draw
        self.folder = None if folder is None else Path(folder).absolute()
        self.options = options

    def on_train_begin(self, event: Event) -> Request:
        if self.folder is None and event.folder is None:
            raise et.ConfigurationError(
                "Samples: there is no run to write to. Pass run= to the trainer, or folder= here."
            )
        found = self._foreseen(inference(event.model()))
        if found is not None and self.draw is figure_of:
            figure_of(np.zeros(found.shape, np.float32))

    def on_phase_begin(self, event: Event) -> Request:
        if self.ema:
            event.model(ema=True)

    def next_step(self, event: Event) -> int | None:
        interval = self._interval(event)
        return (event.step // interval + 1) * interval

    def on_steps_end(self, event: Event, metrics: StepMetrics) -> Request:
        return None if event.step % self._interval(event) else self._drawn(event)

    def on_phase_end(self, event: Event, reason: Reason) -> Request:
        # A whole interval was drawn as its steps ended.
        drawn = event.step % self._interval(event) == 0
        return None if drawn or reason is Reason.ROLLBACK else self._drawn(event)

    def _drawn(self, event: Event) -> et.Show:
        model = inference(event.model(ema=self.ema))
        x = np.asarray(model.sample(jax.random.key(self.seed), self.count, **self.options))
        home = self.folder or event.folder
        assert home is not None
        folder = self.folder or home / "samples"
        folder.mkdir(parents=True, exist_ok=True)
        # What cannot be drawn leaves no file.
        figure = self.draw(x)
        pixels = pixels_of(figure)
        place = folder / f"{event.phase}-{event.step:06}"
        np.save(place.with_suffix(".npy"), x)
        figure.savefig(place.with_suffix(".png"), dpi=110)
        return et.Show("samples", pixels)

    def _foreseen(self, model: Any) -> jax.ShapeDtypeStruct | None:
        """What will be drawn; None where `sample` cannot be traced, and must be run to be known."""
        if not isinstance(model, Sampler):
            raise et.ConfigurationError(
                f"Samples: a {type(model).__name__} has no method sample(key, count)."
            )
        key, labels = jax.random.key(self.seed), self.options.get("labels")
        try:
            inspect.signature(model.sample).bind(key, self.count, **self.options)
        except TypeError as error:
            known = list(inspect.signature(model.sample).parameters)[2:]
            raise et.ConfigurationError(
                f"Samples: {type(model).__name__}.sample: {error}. Its options are "
                f"{', '.join(known) or 'none'}."
            ) from None
        if labels is not None and isinstance(model, Conditional):
            # Under a trace their values are not seen.
            sample_labels("Samples", labels, self.count, model.classes)
        try:
            return eqx.filter_eval_shape(
                lambda model, key: model.sample(key, self.count, **self.options), model, key
            )
        except et.EtudeError:
            raise
        except (jax.errors.ConcretizationTypeError, jax.errors.TracerArrayConversionError):
            return None
        except Exception as error:
            raise et.ConfigurationError(
                f"Samples: {type(model).__name__}.sample fails with count={self.count} and the "
                f"options {self.options}: {error}"
            ) from error

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
