"""Defence by the density: attacked inputs are unlikely, so they are moved back, or noticed.

`log_density(x) -> (batch,)` is log p(x), as `machine.log_marginal`; a constant missing from it
does not matter.

>>> def log_density(x):
...     return -jnp.sum(x**2, axis=1)
>>> x = purify_by_likelihood(log_density, jnp.array([[0.5, 0.25]]), radius=0.25, domain=(-1, 1))
>>> x.round(2).tolist()
[[0.25, 0.0]]
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from etude.systems.born_machine.attacks import Domain, Inputs, Norm, Objective, Radius, ascend
from etude.systems.born_machine.config_attacks import PurificationConfig


def purify(
    config: PurificationConfig,
    log_density: Objective,
    x: Inputs,
    key: Key[Array, ""],
    *,
    radius: Radius,
    domain: Domain,
) -> Inputs:
    """The purification that a configuration describes, within one radius in its units.

    Errors as in `purify_by_likelihood` and `purify_by_gibbs`.

    >>> config = PurificationConfig(units="range")
    >>> purify(config, lambda x: -jnp.sum(x**2, axis=1), jnp.array([[0.5]]), jax.random.key(0),
    ...        radius=0.125, domain=(-1.0, 1.0)).tolist()
    [[0.25]]
    """
    unit = config.radius(1.0, domain)
    options = {"radius": radius * unit, "domain": domain, "norm": config.norm}
    if config.method == "gibbs":
        return purify_by_gibbs(
            log_density, x, key, sweeps=config.sweeps, num_bins=config.num_bins, **options
        )
    return purify_by_likelihood(
        log_density,
        x,
        key if config.random_start else None,
        num_steps=config.num_steps,
        step_size=None if config.step_size is None else config.step_size * unit,
        **options,
    )


def purify_by_likelihood(
    log_density: Objective,
    x: Inputs,
    key: Key[Array, "..."] | None = None,
    *,
    radius: Radius,
    domain: Domain,
    norm: Norm = "linf",
    num_steps: int = 20,
    step_size: Radius | None = None,
) -> Inputs:
    """The likeliest point that projected ascent finds within `radius` of each input.

    Never less likely than the input, if it starts there (no key). Arguments and errors as in
    `ascend`, whose `epsilon` is the radius.
    """
    return ascend(
        log_density, x, key, epsilon=radius, domain=domain, norm=norm, num_steps=num_steps,
        step_size=step_size,
    )  # fmt: skip


def purify_by_gibbs(
    log_density: Objective,
    x: Inputs,
    key: Key[Array, ""],
    *,
    radius: Radius,
    domain: Domain,
    norm: Norm = "linf",
    sweeps: int = 1,
    num_bins: int = 200,
) -> Inputs:
    """Draws every site anew from p(x_i | all others), within `radius` of the input.

    Sites are visited in order, `sweeps` times. The values that a site may take are those that
    keep the whole sample in the ball around the input and in the domain: the budget is the same
    whatever the number of sweeps. They are cut into bins; a bin is drawn by the density at its
    middle, and the value uniformly from it. Costs sweeps * sites * num_bins evaluations.

    Args:
        log_density: log p(x), each value a function of its own sample alone.
        x: inputs in the domain.
        key: seed of the draws.
        radius: radius of the ball in the coordinates of `x`: of each site for "linf", of the
            whole sample for "l2".
        domain: lowest and highest value of a site.
        norm: shape of the ball.
        sweeps: visits of each site.
        num_bins: bins of the interval of a site.

    Raises:
        ValueError: a negative radius, fewer than one sweep or bin.
    """
    if not isinstance(radius, jax.Array) and not radius >= 0:
        raise ValueError(f"purify_by_gibbs: radius={radius}; expected 0 or more.")
    if min(sweeps, num_bins) < 1:
        raise ValueError(
            f"purify_by_gibbs: sweeps={sweeps}, num_bins={num_bins}; expected 1 or more of each."
        )
    batch, sites = x.shape
    bound = jnp.asarray(radius, x.dtype)
    middles = (jnp.arange(num_bins, dtype=x.dtype) + 0.5) / num_bins

    def visit(now: Array, turn: Array) -> tuple[Array, None]:
        site = turn % sites
        bin_key, place_key = jax.random.split(jax.random.fold_in(key, turn))
        reach = _reach(now - x, site, bound, norm)
        low = jnp.maximum(x[:, site] - reach, domain[0])
        width = jnp.minimum(x[:, site] + reach, domain[1]) - low
        tried = low[:, None] + width[:, None] * middles
        logits = jax.lax.map(lambda v: log_density(now.at[:, site].set(v)), tried.T)
        chosen = jax.random.categorical(bin_key, logits, axis=0)
        jitter = jax.random.uniform(place_key, (batch,), x.dtype)
        value = low + width * (chosen.astype(x.dtype) + jitter) / num_bins
        return now.at[:, site].set(value), None

    return jax.lax.scan(visit, x, jnp.arange(sweeps * sites))[0]


def detection_thresholds(
    clean: Float[np.ndarray | Array, " samples"], percentiles: Sequence[float] = (1, 5, 10, 20)
) -> dict[float, float]:
    """log p(x) below which that percentage of clean inputs lies: what raises an alarm.

    >>> detection_thresholds(np.arange(101.0), (5,))
    {5: 5.0}
    """
    found = np.percentile(np.asarray(clean, float), list(percentiles))
    return {p: float(value) for p, value in zip(percentiles, found, strict=True)}


def detection_rates(
    clean: Float[np.ndarray | Array, " samples"],
    suspects: Float[np.ndarray | Array, " others"],
    percentiles: Sequence[float] = (1, 5, 10, 20),
) -> dict[float, float]:
    """The fraction of suspects that is noticed, for each percentage of false alarms.

    >>> detection_rates(np.arange(101.0), np.array([-1.0, 3.0, 50.0, 60.0]), (5,))
    {5: 0.5}
    """
    below = np.asarray(suspects, float)
    thresholds = detection_thresholds(clean, percentiles)
    return {p: float(np.mean(below < threshold)) for p, threshold in thresholds.items()}


def _reach(offset: Array, site: Array, bound: Array, norm: Norm) -> Array:
    """How far from its origin one site may be, given where the others are."""
    if norm == "linf":
        return jnp.full(len(offset), bound)
    others = jnp.sum(offset.at[:, site].set(0) ** 2, axis=1)
    return jnp.sqrt(jnp.maximum(bound**2 - others, 0))
