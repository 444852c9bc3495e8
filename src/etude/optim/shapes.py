"""Schedules that optax does not have, or has otherwise: pure functions of the update count.

>>> schedule = with_warmup(lambda step: 0.4, warmup_steps=4)
>>> [round(float(schedule(step)), 3) for step in range(6)]
[0.1, 0.2, 0.3, 0.4, 0.4, 0.4]
"""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from etude.engine.numbers import is_count


def with_warmup(schedule: optax.Schedule, warmup_steps: int) -> optax.Schedule:
    """Rise linearly to the schedule's first value, then follow the schedule from its start.

    Update `s < warmup_steps` gets `schedule(0) * (s + 1) / warmup_steps`: the first update is
    never wasted on a rate of zero, and the last one of the warm-up has the full rate.

    >>> float(with_warmup(lambda step: 1.0, warmup_steps=2)(0))
    0.5
    """
    if not is_count(warmup_steps, 0):
        raise ValueError(f"with_warmup: warmup_steps is a whole number from 0, got {warmup_steps}")

    def warmed(step: Any) -> Any:
        # Optax's schedules mix whole and floating numbers, which strict promotion refuses.
        with jax.numpy_dtype_promotion("standard"):
            rate = schedule(jnp.maximum(step - warmup_steps, 0))
            return rate * jnp.minimum((step + 1) / max(warmup_steps, 1), 1.0)

    return warmed


def polynomial(peak: float, floor: float, power: float, total_steps: int) -> optax.Schedule:
    """From `peak` to `floor` as a power of what is left: `(1 - s / total_steps) ** power`.

    >>> schedule = polynomial(1.0, 0.2, power=1.0, total_steps=4)
    >>> [round(float(schedule(step)), 3) for step in range(6)]
    [1.0, 0.8, 0.6, 0.4, 0.2, 0.2]
    """

    def schedule(step: Any) -> Any:
        # Clipped after the subtraction. Optax (0.2.8) clips before: once compiled its rest ends at
        # -1e-8 for some lengths, and the power of that is NaN.
        left = jnp.clip(1.0 - step / total_steps, 0.0, 1.0)
        return floor + (peak - floor) * left**power

    return schedule


def noam(peak: float, warmup_steps: int) -> optax.Schedule:
    """Linear rise to `peak`, then decay with the inverse square root (Vaswani et al. 2017).

    With `t = s + 1` updates made, the rate is `peak * min(t / W, sqrt(W / t))`. The paper's
    rate for width d has the peak `(d * W) ** -0.5`.

    >>> [round(float(noam(1.0, 2)(step)), 4) for step in range(4)]
    [0.5, 1.0, 0.8165, 0.7071]
    """

    def schedule(step: Any) -> Any:
        # The first step counts as 1, so that steps 0 and 1 differ.
        progress = (step + 1) / warmup_steps
        return peak * jnp.minimum(progress, 1 / jnp.sqrt(progress))

    return schedule


def one_cycle(
    peak: float, start: float, end: float, total_steps: int, pct_start: float
) -> optax.Schedule:
    """Half a cosine from `start` up to `peak`, half a cosine down to `end` (Smith and Topin 2018).

    The peak falls on update `pct_start * total_steps - 1`, the end on the last update, as in
    torch. Past the last update the rate stays at `end`.

    >>> schedule = one_cycle(1.0, 0.04, 0.0, total_steps=11, pct_start=3 / 11)
    >>> [round(float(schedule(step)), 3) for step in (0, 2, 10, 20)]
    [0.04, 1.0, 0.0, 0.0]
    """
    top, last = pct_start * total_steps - 1, total_steps - 1

    def schedule(step: Any) -> Any:
        step = jnp.asarray(step, float)
        rise = jnp.clip(step / top, 0.0, 1.0)
        fall = jnp.clip((step - top) / (last - top), 0.0, 1.0)
        up = start + (peak - start) * 0.5 * (1 - jnp.cos(jnp.pi * rise))
        down = end + (peak - end) * 0.5 * (1 + jnp.cos(jnp.pi * fall))
        return jnp.where(step <= top, up, down)

    return schedule


def cosine_restarts(
    peak: float, floor: float, cycle_length: int, cycle_mult: int, total_steps: int | None
) -> optax.Schedule:
    """Cosine decay from `peak` to `floor`, again and again (Loshchilov and Hutter 2017, SGDR).

    Cycle `i` lasts `cycle_length * cycle_mult ** i` updates. From `total_steps` on the rate stays
    at `floor`; without `total_steps` it restarts for ever.

    >>> schedule = cosine_restarts(1.0, 0.0, 2, 2, total_steps=6)
    >>> [round(float(schedule(step)), 3) for step in range(8)]
    [1.0, 0.5, 1.0, 0.854, 0.5, 0.146, 0.0, 0.0]
    """
    # Whole numbers throughout: a logarithm would put some restarts one update off. Cycles that
    # start beyond the range of int32 cannot be reached.
    starts, length = [0], cycle_length
    while cycle_mult > 1 and starts[-1] + length < 2**31:
        starts.append(starts[-1] + length)
        length *= cycle_mult
    first = jnp.asarray(starts, jnp.int32)
    lengths = jnp.asarray([float(cycle_length * cycle_mult**i) for i in range(len(starts))])

    def schedule(step: Any) -> Any:
        step = jnp.asarray(step, jnp.int32)
        cycle = jnp.searchsorted(first, step, side="right") - 1
        within = step % cycle_length if cycle_mult == 1 else step - first[cycle]
        fraction = within.astype(lengths.dtype) / lengths[cycle]
        rate = floor + (peak - floor) * 0.5 * (1 + jnp.cos(jnp.pi * fraction))
        return rate if total_steps is None else jnp.where(step < total_steps, rate, floor)

    return schedule
