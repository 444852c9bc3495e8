"""Flow matching: a network learns the velocity that carries noise to examples along straight lines.

>>> model = ContinuousFlow.create(jax.random.key(0), (2,), hidden=(16,))
>>> model.sample(jax.random.key(1), 3, steps=10).shape
(3, 2)
>>> loss, metrics = FlowMatching()(model, jnp.zeros((5, 2)), et.Context.at(jax.random.key(2)))
>>> loss.shape
()
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, Key

import etude as et
from etude.systems.generative.checks import model_of, positive_of, sizes_of
from etude.systems.generative.denoisers import (
    Denoiser,
    Field,
    denoiser_of,
    guided,
    spread,
    weight_of,
)
from etude.systems.generative.space import DataSpace

COUPLINGS = ("independent", "optimal")


@final
class ContinuousFlow(eqx.Module):
    """A flow dx/dt = net(x, t) from normal noise at t = 0 to examples at t = 1.

    `FlowMatching` trains it (Lipman et al. 2023; Liu et al. 2023), or `NegativeLogLikelihood`
    (Chen et al. 2018; with classes, of drop=0.0). Batches are arrays, `(images, labels)`, or
    dictionaries with "images" and "labels".

    Attributes:
        net: the velocity, `(x, time, labels) -> dx/dt`.
        space: shape, classes and range of the examples.
    """

    net: Denoiser
    space: DataSpace = eqx.field(static=True)

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
    ) -> "ContinuousFlow":
        """An untrained model.

        Args:
            key: random key.
            shape: of an example.
            net: the velocity; a `UNet` for pictures, or your own. None: a perceptron.
            hidden: widths of that perceptron, (128, 128) if None.
            classes: number of classes; 0 for a model without labels.
            drop: share of labels left out in training, for guidance; a tenth if None.
            bounds: least and greatest value of the data; None for real values.

        Raises:
            ConfigurationError: settings that are out of range, contradict each other or would have
                no effect.
        """
        space = DataSpace.of(shape, classes, drop, bounds)
        # Slow in time: the likelihood follows the flow with adaptive steps.
        net = denoiser_of("ContinuousFlow", key, net, space.shape, classes, hidden, 20.0)
        return cls(net, space)

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
        return self.space.read("ContinuousFlow", batch)

    def velocity(self, labels: Array | None = None, weight: Any = 1.0) -> Field:
        """The field `(x, time) -> dx/dt`; `labels` are rows, `weight` is of guidance."""
        return guided(self.net, labels, weight)

    def sample(
        self,
        key: Key[Array, ""],
        count: int,
        labels: Any = None,
        *,
        steps: int = 100,
        solver: str = "midpoint",
        guidance: float = 1.0,
    ) -> Float[Array, "count ..."]:
        """Examples drawn from the model, by one compiled loop.

        Args:
            key: random key.
            count: how many.
            labels: for a conditional model, the class of all of them, or one for each.
            steps: of the solver.
            solver: "euler" calls the network once a step, "midpoint" and "heun" twice.
            guidance: weight of the labels: 0 is the model without labels, 1 that with them.

        Raises:
            DataError: labels that are missing, or that the model has no use for.
            ConfigurationError: options out of their range.
        """
        if solver not in tuple(SOLVERS):
            raise et.ConfigurationError(
                f"ContinuousFlow.sample: solver is one of {', '.join(SOLVERS)}; got {solver!r}."
            )
        sizes_of("ContinuousFlow.sample", steps=steps)
        rows = self.space.rows("ContinuousFlow.sample", labels, count, guidance)
        return _drawn(self, key, count, rows, weight_of(guidance), steps, solver)

    def log_prob(
        self, batch: Any, key: Key[Array, ""] | None = None, *, tolerance: float = 1e-5
    ) -> Float[Array, " n"]:
        """log p(x) of each example in nats, with gradients; of conditional models log p(x | label).

        The flow is followed back to the noise by an adaptive solver (the extra "generative"). NaN
        for an example that is not finite or is beyond the bounds, or that the solver does not
        finish: the flow is not smooth enough for the tolerance.

        Args:
            batch: examples, with labels where the model has classes.
            key: random key. None: the divergence of the velocity is exact, at the cost of one
                derivative for each value of an example. A key: an unbiased estimate at the cost of
                one (Grathwohl et al. 2019).
            tolerance: of the solver, relative and absolute.

        Raises:
            DataError: batches that do not fit.
            ConfigurationError: a tolerance that is not positive and finite.
            ImportError: diffrax is missing.
        """
        from etude.systems.generative.continuous import log_density

        positive_of("ContinuousFlow.log_prob", tolerance=tolerance)
        x, labels = self.read(batch)
        return log_density(self.net, x, labels, key, tolerance) + self.space.log_scale


def _euler(field: Field, x: Array, time: Array, size: float) -> Array:
    return x + size * field(x, time)


def _midpoint(field: Field, x: Array, time: Array, size: float) -> Array:
    half = x + size / 2 * field(x, time)
    return x + size * field(half, time + size / 2)


def _heun(field: Field, x: Array, time: Array, size: float) -> Array:
    first = field(x, time)
    second = field(x + size * first, time + size)
    return x + size / 2 * (first + second)


SOLVERS: dict[str, Callable[[Field, Array, Array, float], Array]] = {
    "euler": _euler,
    "midpoint": _midpoint,
    "heun": _heun,
}


@eqx.filter_jit
def _drawn(
    model: ContinuousFlow,
    key: Key[Array, ""],
    count: int,
    labels: Array | None,
    weight: Any,
    steps: int,
    solver: str,
) -> Array:
    field, step = model.velocity(labels, weight), SOLVERS[solver]

    def move(x: Array, time: Array) -> tuple[Array, None]:
        return step(field, x, jnp.full(count, time), 1 / steps), None

    start = jax.random.normal(key, (count, *model.shape))
    return model.space.shown(jax.lax.scan(move, start, jnp.arange(steps) / steps)[0])


@dataclass(frozen=True)
class FlowMatching:
    """The loss of a `ContinuousFlow`: the squared error of its velocity, per value.

    Noise z and an example x are joined by a line, on which the velocity is x - z.

    Attributes:
        coupling: "independent", any noise with any example; "optimal", the assignment within a
            batch of least squared length (Pooladian et al. 2023; Tong et al. 2024), whose lines
            hardly cross. Of a conditional model it is within each class, for across classes noise
            would depend on the label, and samples have no such noise. It costs about 10 ms for a
            batch of 128.

    Metrics: `loss`; `length`, the mean squared length of the lines, per value.

    Raises:
        ConfigurationError: an unknown coupling.
    """

    coupling: str = "independent"

    def __post_init__(self) -> None:
        if self.coupling not in COUPLINGS:
            raise et.ConfigurationError(
                f"FlowMatching: coupling is one of {', '.join(COUPLINGS)}; got {self.coupling!r}."
            )

    def check_data(self, model: Any, batch: Any) -> None:
        """Refuses examples and labels out of their range, before the training."""
        model_of("FlowMatching", model, ContinuousFlow).read(batch)

    def __call__(
        self, model: Any, batch: Any, context: et.Context
    ) -> tuple[Float[Array, ""], dict[str, Array]]:
        """The loss and its metrics, of a batch."""
        model = model_of("FlowMatching", model, ContinuousFlow)
        x, labels = model.read(batch)
        for_time, for_noise, for_labels = jax.random.split(context.key, 3)
        time = spread(for_time, len(x)).astype(x.dtype)
        noise = jax.random.normal(for_noise, x.shape, x.dtype)
        if self.coupling == "optimal":
            noise = noise[assignment(noise, x, labels)]
        along = time.reshape(-1, *[1] * len(model.shape))
        field = model.velocity(model.space.dropped(for_labels, labels))
        line = x - noise
        found = field((1 - along) * noise + along * x, time)
        return jnp.square(found - line).mean(), {"length": jnp.square(line).mean()}


def assignment(
    noise: Float[Array, "n *shape"],
    x: Float[Array, "n *shape"],
    labels: Float[Array, "n classes"] | None = None,
) -> Int[Array, " n"]:
    """Which noise each example gets, so that the sum of squared distances is least.

    With labels, only noise of examples with the same label.

    >>> assignment(jnp.array([[0.0], [3.0], [1.0]]), jnp.array([[2.5], [0.5], [0.1]])).tolist()
    [1, 2, 0]
    """
    count = len(x)
    rows, columns = x.reshape(count, -1), noise.reshape(count, -1)
    # Of |x - z|^2 all but the product is the same for every assignment.
    cost = -2 * jax.lax.stop_gradient(rows @ columns.T)
    if labels is not None:
        other = jnp.any(labels[:, None] != labels[None], axis=-1)
        gap = cost.max() - cost.min() + 1
        cost = cost + jnp.where(other, count * gap, 0)
    example, chosen = optax.assignment.hungarian_algorithm(cost)
    return jnp.zeros(count, jnp.int32).at[example].set(chosen.astype(jnp.int32))
