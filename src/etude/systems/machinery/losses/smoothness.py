"""Do consecutive windows of a recording get the same probabilities?

>>> loss = TemporalSmoothnessLoss(lambda_smooth=1.0)
>>> logits = jnp.array([[20.0, 0.0], [0.0, 20.0], [0.0, 20.0]])
>>> round(float(loss(logits, record=jnp.array([0, 0, 1]), window=jnp.array([3, 4, 5]))), 3)
2.0
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

import etude as et
from etude.inputs import concrete
from etude.systems.machinery.quantities import check_positive


class TemporalSmoothnessLoss(eqx.Module):
    """The squared change of the probabilities from one window of a recording to the next.

    Attributes:
        lambda_smooth: factor of the mean over all pairs of neighbours in the batch.

    Raises:
        DataError: a factor that is not above 0.
    """

    lambda_smooth: float = eqx.field(static=True, default=0.1)

    def __check_init__(self):
        check_positive("TemporalSmoothnessLoss", lambda_smooth=self.lambda_smooth)

    def __call__(
        self,
        logits: Float[Array, "batch classes"],
        record: Int[Array, " batch"],
        window: Int[Array, " batch"],
    ) -> Float[Array, ""]:
        """`lambda_smooth` times the mean over the pairs, 0 to 2; 0 where there are none.

        The order of the batch does not matter: neighbours are found by their numbers, so that
        shuffled batches can be given. A recording needs more than one window in the batch.

        Args:
            logits: of the classes.
            record: number of the recording that each window is of.
            window: place of the window in its recording.

        Raises:
            DataError: a window of a recording twice; under `jit`, where numbers cannot be seen, the
                loss is NaN.
        """
        same = (record[:, None] == record) & (window[:, None] == window)
        twice = jnp.sum(same) > len(record)
        if (seen := concrete(twice)) is not None and seen:
            raise et.DataError(
                "TemporalSmoothnessLoss: got a window of a recording twice in a batch, expected "
                "each pair of record and window once. Give every recording a number of its own."
            )
        probabilities = jax.nn.softmax(et.widened(logits), axis=-1)
        follows = (record[:, None] == record) & (window[:, None] + 1 == window)
        first, second = jnp.nonzero(follows, size=len(record), fill_value=-1)
        there = (first >= 0).astype(probabilities.dtype)
        change = jnp.sum(jnp.square(probabilities[second] - probabilities[first]), axis=-1)
        found = self.lambda_smooth * jnp.sum(there * change) / jnp.maximum(jnp.sum(there), 1)
        return jnp.where(twice, jnp.nan, found)
