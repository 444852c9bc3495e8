"""Diffusion: a network learns to take noise out of examples, and samples begin as noise.

>>> model = Diffusion.create(jax.random.key(0), (2,), hidden=(16,))
>>> model.sample(jax.random.key(1), 3, steps=10).shape
(3, 2)
>>> loss, metrics = Denoising()(model, jnp.zeros((5, 2)), et.Context.at(jax.random.key(2)))
>>> loss.shape
()
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

import etude as et
from etude.engine.numbers import is_real
from etude.systems.generative.checks import model_of, positive_of
from etude.systems.generative.denoisers import Denoiser, denoiser_of, guided, spread, weight_of
from etude.systems.generative.schedules import Schedule
from etude.systems.generative.space import DataSpace

PREDICTED = ("eps", "x0", "v")


class Estimate(NamedTuple):
    """What a model takes a noisy example apart into, x = a x0 + b eps.

    Attributes:
        x0: the mean of the examples that it may come from.
        eps: the mean of the noise in it.
    """

    x0: Float[Array, "n ..."]
    eps: Float[Array, "n ..."]


@final
class Diffusion(eqx.Module):
    """A denoising diffusion model (Ho et al. 2020); with classes, a conditional one.

    Batches are arrays, `(images, labels)`, or dictionaries with "images" and "labels".

    Attributes:
        net: the denoiser, `(x, time, labels) -> prediction`; `time` is level / steps.
        space: shape, classes and range of the examples.
        schedule: levels of noise.
        predict: what the network gives: the noise "eps", the example "x0", or "v" = a eps - b x0
            (Salimans and Ho 2022).
    """

    net: Denoiser
    space: DataSpace = eqx.field(static=True)
    schedule: Schedule = eqx.field(static=True)
    predict: str = eqx.field(static=True)

    @classmethod
    def create(
        cls,
        key: Key[Array, ""],
        shape: Sequence[int],
        *,
        net: Denoiser | None = None,
        hidden: Sequence[int] | None = None,
        classes: int = 0,
        drop: float | None = None,
        bounds: tuple[float, float] | None = None,
        schedule: Schedule | None = None,
        predict: str = "v",
    ) -> "Diffusion":
        """An untrained model.

        Args:
            key: random key.
            shape: of an example.
            net: the denoiser; a `UNet` for pictures, or your own. None: a perceptron.
            hidden: widths of that perceptron, (128, 128) if None.
            classes: number of classes; 0 for a model without labels.
            drop: share of labels left out in training, for guidance; a tenth if None.
            bounds: least and greatest value of the data; None for real values.
            schedule: levels of noise; a cosine of 1000 steps if None.
            predict: what the network gives.

        Raises:
            ConfigurationError: settings that are out of range, contradict each other or would have
                no effect.
        """
        schedule = Schedule() if schedule is None else schedule
        if not isinstance(schedule, Schedule):
            raise et.ConfigurationError(
                f"Diffusion: schedule is a Schedule; got {schedule!r}. Write Schedule('linear')."
            )
        if predict not in PREDICTED:
            raise et.ConfigurationError(
                f"Diffusion: predict is one of {', '.join(PREDICTED)}; got {predict!r}."
            )
        if predict == "v" and not schedule.keeps_variance:
            raise et.ConfigurationError(
                f"Diffusion: v needs a schedule that keeps the variance; got {schedule.kind!r}. "
                "Predict 'eps' or 'x0'."
            )
        space = DataSpace.of(shape, classes, drop, bounds)
        net = denoiser_of("Diffusion", key, net, space.shape, classes, hidden, 1000.0)
        return cls(net, space, schedule, predict)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of an example."""
        return self.space.shape

    @property
    def classes(self) -> int:
        """The number of classes; 0 for a model without labels."""
        return self.space.classes

    def read(self, batch: Any) -> tuple[Float[Array, "n ..."], Array | None]:
        """Examples as the network sees them, and rows of labels.

        Raises `DataError` for what cannot be.
        """
        return self.space.read("Diffusion", batch)

    def factors(self, level: Int[Array, " n"]) -> tuple[Array, Array]:
        """a and b at these levels, to be multiplied with examples."""
        wide = (-1, *[1] * len(self.shape))
        a, b = (jnp.asarray(each, jnp.float32)[level] for each in self.schedule.levels)
        return a.reshape(wide), b.reshape(wide)

    def predicted(
        self,
        x: Float[Array, "n *shape"],
        level: Int[Array, " n"],
        labels: Array | None = None,
        weight: Any = 1.0,
    ) -> Float[Array, "n *shape"]:
        """What the network gives of noisy examples; `labels` are rows, `weight` is of guidance."""
        a, b = self.factors(level)
        time = level.astype(x.dtype) / self.schedule.steps
        x = x if self.schedule.keeps_variance else x / jnp.hypot(a, b)
        return guided(self.net, labels, weight)(x, time)

    def estimate(
        self,
        x: Float[Array, "n *shape"],
        level: Int[Array, " n"],
        labels: Array | None = None,
        weight: Any = 1.0,
    ) -> Estimate:
        """The example and the noise in noisy examples, at levels from 1 on."""
        y, (a, b) = self.predicted(x, level, labels, weight), self.factors(level)
        match self.predict:
            case "eps":
                return Estimate((x - b * y) / a, y)
            case "x0":
                return Estimate(y, (x - a * y) / b)
            case _:
                return Estimate(a * x - b * y, b * x + a * y)

    def score(
        self, x: Float[Array, "n *shape"], level: Int[Array, " n"], labels: Array | None = None
    ) -> Float[Array, "n *shape"]:
        """The gradient of the log density of noisy examples, as the network sees them."""
        return -self.estimate(x, level, labels).eps / self.factors(level)[1]

    def target(
        self, x0: Float[Array, "n *shape"], eps: Float[Array, "n *shape"], level: Int[Array, " n"]
    ) -> Float[Array, "n *shape"]:
        """What the network should give of `a x0 + b eps`."""
        a, b = self.factors(level)
        return {"eps": eps, "x0": x0, "v": a * eps - b * x0}[self.predict]

    def sample(
        self,
        key: Key[Array, ""],
        count: int,
        labels: Any = None,
        *,
        steps: int | None = None,
        eta: float = 1.0,
        guidance: float = 1.0,
    ) -> Float[Array, "count ..."]:
        """Examples drawn from the model, by one compiled loop.

        Args:
            key: random key.
            count: how many.
            labels: for a conditional model, the class of all of them, or one for each.
            steps: levels that the sampler visits; None: all.
            eta: noise that each step adds: 1 is ancestral sampling (Ho et al. 2020), 0 is DDIM
                (Song et al. 2021), which is a function of its first noise and good in few steps.
            guidance: weight of the labels: 0 is the model without labels, 1 that with them.

        Raises:
            DataError: labels that are missing, or that the model has no use for.
            ConfigurationError: options out of their range.
        """
        if not (is_real(eta) and 0 <= eta <= 1):
            raise et.ConfigurationError(f"Diffusion.sample: eta is from 0 to 1; got {eta!r}.")
        rows = self.space.rows("Diffusion.sample", labels, count, guidance)
        path = _path(self.schedule, self.schedule.steps if steps is None else steps, eta)
        return _drawn(self, key, count, rows, weight_of(guidance), path)


class _Path(NamedTuple):
    """Levels that a sampler visits, and the step from each: c_x x + c_0 x0 + scale noise."""

    level: Any
    of_x: Any
    of_x0: Any
    scale: Any


def _path(schedule: Schedule, count: int, eta: float) -> _Path:
    """Steps of DDIM with `eta` of the ancestral noise (Song et al. 2021, equations 12 and 16)."""
    visited = schedule.chosen(count)
    a, b = schedule.levels
    here, there = visited[:-1], visited[1:]
    a_t, b_t, a_s, b_s = a[here], b[here], a[there], b[there]
    variance = b_t**2 - (a_t / a_s * b_s) ** 2
    scale = eta * np.sqrt(variance) * b_s / b_t
    kept = np.sqrt(b_s**2 - scale**2) / b_t
    floats = (np.asarray(each, np.float32) for each in (kept, a_s - a_t * kept, scale))
    return _Path(here, *floats)


@eqx.filter_jit
def _drawn(
    model: Diffusion,
    key: Key[Array, ""],
    count: int,
    labels: Array | None,
    weight: Any,
    path: _Path,
) -> Array:
    shape = (count, *model.shape)
    first, *_ = keys = jax.random.split(key, len(path.level) + 1)
    bounded = model.space.bounds is not None

    def step(x: Array, place: tuple[_Path, Array]) -> tuple[Array, None]:
        (level, of_x, of_x0, scale), key = place
        x0 = model.estimate(x, jnp.full(count, level), labels, weight).x0
        x0 = jnp.clip(x0, -1, 1) if bounded else x0
        return of_x * x + of_x0 * x0 + scale * jax.random.normal(key, shape), None

    start = jax.random.normal(first, shape) * np.float32(model.schedule.levels.noise[-1])
    return model.space.shown(jax.lax.scan(step, start, (path, keys[1:]))[0])


@dataclass(frozen=True)
class Denoising:
    """The loss of a `Diffusion`: the squared error of its prediction, per value, at random levels.

    Attributes:
        min_snr: gamma of min-SNR weights (Hang et al. 2023), 5 in the paper: the error of x0 counts
            min(snr, gamma), snr = a^2 / b^2, whatever is predicted. None: all levels alike.

    Metrics: `loss`; `error`, the mean without weights.

    Raises:
        ConfigurationError: a gamma that is not positive and finite.
    """

    min_snr: float | None = None

    def __post_init__(self) -> None:
        if self.min_snr is not None:
            positive_of("Denoising", min_snr=self.min_snr)

    def check_data(self, model: Any, batch: Any) -> None:
        """Refuses examples and labels out of their range, before the training."""
        model_of("Denoising", model, Diffusion).read(batch)

    def __call__(
        self, model: Any, batch: Any, context: et.Context
    ) -> tuple[Float[Array, ""], dict[str, Array]]:
        """The loss and its metrics, of a batch."""
        model = model_of("Denoising", model, Diffusion)
        x0, labels = model.read(batch)
        for_level, for_noise, for_labels = jax.random.split(context.key, 3)
        steps = model.schedule.steps
        level = 1 + jnp.floor(steps * spread(for_level, len(x0))).astype(jnp.int32)
        level = jnp.minimum(level, steps)
        eps = jax.random.normal(for_noise, x0.shape, x0.dtype)
        a, b = model.factors(level)
        found = model.predicted(a * x0 + b * eps, level, model.space.dropped(for_labels, labels))
        squares = jnp.square(found - model.target(x0, eps, level))
        error = squares.reshape(len(x0), -1).mean(-1)
        return (self.weights(model)[level] * error).mean(), {"error": error.mean()}

    def weights(self, model: Diffusion) -> Float[Array, " levels"]:
        """The weight of the squared error at each level, from 0 on.

        >>> model = Diffusion.create(jax.random.key(0), (2,), predict="x0")
        >>> float(Denoising(min_snr=5.0).weights(model).max())
        5.0
        """
        if self.min_snr is None:
            return jnp.ones(model.schedule.steps + 1)
        a, b = model.schedule.levels
        with np.errstate(divide="ignore"):
            snr = (a / b) ** 2
        least = np.minimum(snr, self.min_snr)
        weight = {"eps": least / snr, "x0": least, "v": least / (snr + 1)}[model.predict]
        return jnp.asarray(weight, jnp.float32)
