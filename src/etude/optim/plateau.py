"""Reduce the learning rate when a watched value stops improving."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from etude.engine.direction import Mode, cost, mode_of
from etude.inputs import check_count, check_real

from .shapes import with_warmup


class PlateauState(NamedTuple):
    """Updates seen so far, and the state of `optax.contrib.reduce_on_plateau`."""

    count: Any
    plateau: Any


class ReduceOnPlateau(optax.schedules.StatefulSchedule):
    """A rate that falls by `factor` after `patience` looks without improvement.

    It wraps `optax.contrib.reduce_on_plateau` as a stateful schedule, so that the rate that a
    monitor reads is the one in use. The watched value is passed to each update:
    `optimizer.update(gradients, state, parameters, value=loss)`; a `Learner` passes its loss, or
    the metric that its `watch` names. What one update shows changes the rate from the next update
    on. NaN is no improvement.

    Args:
        peak: the rate to begin with.
        floor: the lowest rate.
        mode: "min" if small values are better, as of a loss, "max" if large ones are.
        factor: multiplier of the rate at each reduction, in (0, 1).
        patience: looks without improvement before the rate falls.
        threshold: smallest improvement on the best so far that counts, in units of the value. It
            is absolute: a relative one counts every value as better once values are negative.
        cooldown: looks after a reduction during which nothing is counted.
        window: updates whose values are averaged into one look. With a value per validation
            rather than per update, take the number of updates between validations.
        warmup_steps: updates of linear warm-up.

    Raises:
        ValueError: a peak that is not above 0, a floor outside 0..peak, a factor outside (0, 1), a
            threshold that is not above 0, or a count that is no whole number.

    >>> rate = ReduceOnPlateau(0.1, 0.0, "min", factor=0.5, patience=2)
    >>> optimizer = optax.inject_hyperparams(optax.sgd)(rate)
    >>> w = jnp.ones(2)
    >>> state = optimizer.init(w)
    >>> for _ in range(4):
    ...     _, state = optimizer.update(w, state, w, value=1.0)
    >>> round(float(state.hyperparams["learning_rate"]), 3)
    0.05
    """

    def __init__(
        self,
        peak: float,
        floor: float,
        mode: Mode,
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        cooldown: int = 0,
        window: int = 1,
        warmup_steps: int = 0,
    ):
        owner = "ReduceOnPlateau"
        check_real(owner, "peak", peak, above=0)
        check_real(owner, "floor", floor, 0, peak)
        check_real(owner, "factor", factor, above=0, below=1)
        check_real(owner, "threshold", threshold, above=0)
        for name, count in {"patience": patience, "window": window}.items():
            check_count(owner, name, count)
        check_count(owner, "cooldown", cooldown, 0)
        self._rate = with_warmup(lambda _: peak, warmup_steps)
        self._floor = floor
        self._mode: Mode = mode_of("ReduceOnPlateau", "value", mode)
        self._transform = optax.contrib.reduce_on_plateau(
            factor, patience, rtol=0.0, atol=threshold, cooldown=cooldown,
            accumulation_size=window, min_scale=floor / peak,
        )  # fmt: skip

    def init(self) -> PlateauState:
        """The state before the first update."""
        return PlateauState(jnp.zeros((), jnp.int32), self._transform.init(jnp.zeros(())))

    def update(self, state: PlateauState, value: Any = None, **extra_args: Any) -> PlateauState:
        """Take note of the watched value.

        Raises:
            ValueError: no value was passed to the optimizer's update.
        """
        if value is None:
            raise ValueError(
                "ReduceOnPlateau: the plateau schedule got no value to watch; "
                "pass one: optimizer.update(gradients, state, parameters, value=loss). A "
                "Learner passes the 'loss' that its rule reports, or the metric in `watch`"
            )
        seen = cost(self._mode, jnp.asarray(value, state.plateau.avg_value.dtype))
        with jax.numpy_dtype_promotion("standard"):  # optax divides an average by a count
            _, plateau = self._transform.update(jnp.zeros(()), state.plateau, None, value=seen)
        return PlateauState(optax.safe_increment(state.count), plateau)

    def __call__(self, state: PlateauState, **extra_args: Any) -> jax.Array:
        """The rate of the coming update."""
        return jnp.asarray(self._rate(state.count) * state.plateau.scale)
