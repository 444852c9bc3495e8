"""Does the class agree with the state of the oil film?

>>> loss = SommerfeldConsistencyLoss([1, 2])  # of three classes: rubbing, then whirl
>>> heavy, light = jnp.array([0.05]), jnp.array([5.0])
>>> whirl = jnp.array([[0.0, 0.0, 20.0]])
>>> round(float(loss(whirl, heavy)), 3), round(float(loss(whirl, light)), 3)
(1.0, 0.0)
"""

from collections.abc import Sequence

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

import etude as et
from etude.systems.machinery.journal import LUBRICATION_LIMITS
from etude.systems.machinery.losses.frequency import expected_penalty

#: Of the eleven simulated classes: a starved film, that with wear, and whirl at a light load.
_DEFAULT_ORDER = (4, 9, 7)


class SommerfeldConsistencyLoss(eqx.Module):
    """The expected penalty of faults that the operating condition speaks against.

    Starved lubrication belongs to thin films, at a small Sommerfeld number (heavy load, slow
    shaft, thin oil); oil whirl to thick ones, at a large number. A class that is not in the order,
    as healthy, misaligned or unbalanced, may occur anywhere, and costs nothing; nor does one in
    the middle of the order. Others cost as far as the film is on the other side of the middle of
    the regimes; none does at the middle.
    The penalty depends on logits and number of one recording alone.

    Attributes:
        fault_severity_order: class numbers, from those of the thinnest film to those of the
            thickest; None: those of the simulated journal bearings.

    Raises:
        ConfigurationError: fewer than two classes, or one twice.
    """

    fault_severity_order: tuple[int, ...] = eqx.field(static=True)

    def __init__(self, fault_severity_order: Sequence[int] | None = None):
        order = _DEFAULT_ORDER if fault_severity_order is None else fault_severity_order
        self.fault_severity_order = tuple(order)
        if len(set(order)) != len(order) or len(order) < 2 or min(order) < 0:
            raise et.ConfigurationError(
                f"SommerfeldConsistencyLoss: got fault_severity_order={list(order)}, expected two "
                "or more different classes, that of the thinnest film first."
            )

    def __call__(
        self, logits: Float[Array, "batch classes"], sommerfeld: Float[Array, "..."]
    ) -> Float[Array, ""]:
        """The mean over the batch, 0 to 1; NaN for a number that is not above 0.

        Args:
            logits: of the classes.
            sommerfeld: number of the film in each recording, `(batch,)`.

        Raises:
            DataError: not one number for each recording.
            ConfigurationError: fewer logits than the order has classes.
        """
        if sommerfeld.shape != (len(logits),):
            raise et.DataError(
                f"SommerfeldConsistencyLoss: got numbers of shape {sommerfeld.shape} for "
                f"{len(logits)} rows of logits, expected ({len(logits)},): one for each recording."
            )
        return expected_penalty(logits, self.penalties(sommerfeld, classes=logits.shape[-1]))

    def penalties(
        self, sommerfeld: Float[Array, " batch"], *, classes: int
    ) -> Float[Array, "batch classes"]:
        """The penalty of each class in each condition, 0 to 1.

        >>> SommerfeldConsistencyLoss([0, 1]).penalties(jnp.array([0.1]), classes=3).tolist()
        [[0.0, 1.0, 0.0]]
        """
        if max(self.fault_severity_order) >= classes:
            raise et.ConfigurationError(
                f"SommerfeldConsistencyLoss: fault_severity_order={list(self.fault_severity_order)}"
                f" for {classes} logits; expected 0 to {classes - 1}."
            )
        s = et.widened(sommerfeld)
        low, high = np.log(LUBRICATION_LIMITS)
        log = jnp.log(jnp.where(s > 0, s, jnp.nan))
        film = jnp.clip((log - low) / (high - low), 0, 1)
        wanted = jnp.linspace(0, 1, len(self.fault_severity_order), dtype=s.dtype)
        # Half of the way from the thinnest film to the thickest is no contradiction.
        cost = jnp.maximum(2 * jnp.abs(wanted - film[:, None]) - 1, 0)
        found = jnp.where(jnp.isnan(film)[:, None], jnp.nan, jnp.zeros((len(s), classes), s.dtype))
        return found.at[:, np.array(self.fault_severity_order)].set(cost)
