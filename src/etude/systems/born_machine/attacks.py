"""Attacks: inputs moved within a small ball so that a classifier errs, or a density rises.

All work in the coordinates of the embedding, whose domain an attack never leaves, and are pure
functions of their arguments: compiled or not, inside a loss or outside. To whoever differentiates
through the result it is a constant. `scores(x) -> (batch, classes)` are log p(c|x), log p(x,c) or
log weights: what is common to the classes of a sample plays no part.

>>> def scores(x):
...     return jnp.stack([x[:, 0], -x[:, 0]], axis=1)
>>> x, labels = jnp.array([[0.25, 0.5]]), jnp.array([0])
>>> fgm(scores, x, labels, epsilon=0.5, domain=(-1.0, 1.0)).tolist()
[[-0.25, 0.5]]
"""

from collections.abc import Callable
from functools import partial
from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Integer, Key

from etude.systems.born_machine.config_attacks import EvasionConfig
from etude.systems.born_machine.labels import allowed, checked, of_label

Norm = Literal["linf", "l2"]
Domain = tuple[float, float]
Inputs = Float[Array, "batch sites"]
Radius = float | Float[Array, ""]
#: What is to rise, sample by sample.
Objective = Callable[[Array], Array]
#: The score of each class, sample by sample.
Scores = Callable[[Array], Array]


def ascend(
    objective: Objective,
    x: Inputs,
    key: Key[Array, "..."] | None = None,
    *,
    epsilon: Radius,
    domain: Domain,
    norm: Norm = "linf",
    num_steps: int = 10,
    step_size: Radius | None = None,
) -> Inputs:
    """Projected ascent of any objective within a ball around the inputs, cut to the domain.

    Steps go along the sign of the gradient ("linf") or along the gradient at length `step_size`
    ("l2"); each is followed by the exact projection on the ball and then by clipping, which leads
    nearer to an input of the domain and so keeps the ball. Of all points seen each sample keeps
    its best: never weaker than the last one, which Madry et al. (2018) take.

    Args:
        objective: `objective(x) -> (batch,)`, each value a function of its own sample alone.
        x: the inputs, in the domain.
        key: start from a uniform point of the ball, cut to the domain; one key a sample, or one
            for all, which is folded with the position. None: start from the inputs.
        epsilon: radius of the ball in the coordinates of `x`: of each site for "linf", of the
            whole sample for "l2". May be traced.
        domain: lowest and highest value of a site.
        norm: shape of the ball.
        num_steps: gradient steps.
        step_size: length of a step; None: `2.5 * epsilon / num_steps`.

    Raises:
        ValueError: a negative radius or number of steps, an unknown norm, an empty domain; of
            attacks with labels also a class that is not there (compiled, its sample is NaN).

    >>> x = ascend(lambda x: x.sum(axis=1), jnp.zeros((1, 4)), epsilon=1.0, domain=(-2, 2),
    ...            norm="l2")
    >>> [round(v, 3) for v in x[0].tolist()]
    [0.5, 0.5, 0.5, 0.5]
    """
    _check(epsilon, domain, norm)
    if num_steps < 0:
        raise ValueError(f"attack: num_steps={num_steps}; expected 0 or more.")
    x = jax.lax.stop_gradient(x)
    radius = jax.lax.stop_gradient(jnp.asarray(epsilon, x.dtype))
    step = radius * 2.5 / max(num_steps, 1) if step_size is None else step_size
    step = jax.lax.stop_gradient(jnp.asarray(step, x.dtype))
    value_and_gradient = _constant(objective, x)

    def move(_: Array, state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        here, best, highest = state
        value, gradient = value_and_gradient(here)
        best, highest = _better(here, value, best, highest)
        offset = project(here + step * _direction(gradient, norm) - x, radius, norm)
        return jnp.clip(x + offset, *domain), best, highest

    start = x if key is None else jnp.clip(x + radius * _in_ball(key, x, norm), *domain)
    state = (start, start, jnp.full(len(x), -jnp.inf, x.dtype))
    here, best, highest = jax.lax.fori_loop(0, num_steps, move, state)
    value, _ = value_and_gradient(here)
    best, _ = _better(here, value, best, highest)
    return _known(value, best)


def fgm(
    scores: Scores,
    x: Inputs,
    labels: Integer[Array, " batch"],
    key: Key[Array, "..."] | None = None,
    *,
    epsilon: Radius,
    domain: Domain,
    norm: Norm = "linf",
) -> Inputs:
    """One step of length `epsilon` against the label (Goodfellow, Shlens and Szegedy 2015).

    Draws nothing: `key` is there so that all attacks are called alike. Arguments and errors as in
    `ascend`, and as in `pgd`.
    """
    del key
    _check(epsilon, domain, norm)
    x = jax.lax.stop_gradient(x)
    radius = jax.lax.stop_gradient(jnp.asarray(epsilon, x.dtype))
    value, gradient = _constant(log_odds_against(scores, labels), x)(x)
    return _known(value, jnp.clip(x + radius * _direction(gradient, norm), *domain))


def pgd(
    scores: Scores,
    x: Inputs,
    labels: Integer[Array, " batch"],
    key: Key[Array, "..."] | None = None,
    *,
    epsilon: Radius,
    domain: Domain,
    norm: Norm = "linf",
    num_steps: int = 10,
    step_size: Radius | None = None,
) -> Inputs:
    """Projected gradient ascent of the loss of the labels (Madry et al. 2018).

    Ascends `log_odds_against`, which rises and falls with -log p(label|x): the same path, without
    the vanishing gradient of a confident classifier. Arguments and errors as in `ascend`.
    """
    return ascend(
        log_odds_against(scores, labels), x, key, epsilon=epsilon, domain=domain, norm=norm,
        num_steps=num_steps, step_size=step_size,
    )  # fmt: skip


def joint_pgd(
    scores: Scores,
    x: Inputs,
    labels: Integer[Array, " batch"],
    key: Key[Array, "..."] | None = None,
    *,
    epsilon: Radius,
    domain: Domain,
    norm: Norm = "linf",
    num_steps: int = 10,
    step_size: Radius | None = None,
) -> Inputs:
    """Projected gradient ascent of the largest joint log-probability of a wrong class.

    Seeks inputs that are likely as well as misread, and so harder to detect by log p(x). Here
    `scores` are log p(x,c) or log weights; log p(c|x) would not know how likely an input is.
    Arguments and errors as in `ascend`.
    """
    return ascend(
        lambda x: jnp.max(_wrong(scores(x), labels), axis=1), x, key, epsilon=epsilon,
        domain=domain, norm=norm, num_steps=num_steps, step_size=step_size,
    )  # fmt: skip


def evade(
    config: EvasionConfig,
    scores: Scores,
    x: Inputs,
    labels: Integer[Array, " batch"],
    key: Key[Array, "..."],
    *,
    strength: Radius,
    domain: Domain,
) -> Inputs:
    """The attack that a configuration describes, at one strength in its units.

    `scores` are log p(x,c) or log weights, which serve every method. The key serves the random
    start, if there is one. Errors as in `ascend`.

    >>> config = EvasionConfig(method="FGM", units="range")
    >>> evade(config, lambda x: jnp.concatenate([x, -x], axis=1), jnp.zeros((1, 1)),
    ...       jnp.array([0]), jax.random.key(0), strength=0.25, domain=(-1.0, 1.0)).tolist()
    [[-0.5]]
    """
    unit = config.radius(1.0, domain)
    options = {"epsilon": strength * unit, "domain": domain, "norm": config.norm}
    if config.method == "FGM":
        return fgm(scores, x, labels, **options)
    step = None if config.step_size is None else config.step_size * unit
    attack = pgd if config.method == "PGD" else joint_pgd
    start = key if config.random_start else None
    return attack(scores, x, labels, start, num_steps=config.num_steps, step_size=step, **options)


def log_odds_against(scores: Scores, labels: Integer[Array, " batch"]) -> Objective:
    """The objective log((1 - p)/p) with p = p(label|x).

    A strictly rising function of -log p, so that steps along its normalised gradient are the same;
    but its gradient does not vanish where p rounds to one.

    >>> objective = log_odds_against(lambda x: jnp.log(jnp.array([[0.75, 0.25]])), jnp.array([0]))
    >>> round(float(jnp.exp(objective(jnp.zeros((1, 1)))[0])), 4)
    0.3333
    """

    def objective(x: Array) -> Array:
        found = scores(x)
        return jax.nn.logsumexp(_wrong(found, labels), axis=1) - of_label(found, labels, "attack")

    return objective


def project(offset: Inputs, radius: Radius, norm: Norm) -> Inputs:
    """The nearest point of the ball of that radius around zero, sample by sample.

    >>> project(jnp.array([[3.0, 4.0]]), 2.5, "l2").tolist()
    [[1.5, 2.0]]
    >>> project(jnp.array([[3.0, 0.5]]), 1.0, "linf").tolist()
    [[1.0, 0.5]]
    """
    if norm == "linf":
        return jnp.clip(offset, -radius, radius)
    # In units of the largest, whose square can be too small for its type.
    largest = jnp.max(jnp.abs(offset), axis=1, keepdims=True)
    units = offset / jnp.where(largest > 0, largest, jnp.ones_like(largest))
    length = largest * jnp.linalg.norm(units, axis=1, keepdims=True)
    return jnp.where(length > radius, offset * (radius / jnp.maximum(length, radius)), offset)


def _check(epsilon: Radius, domain: Domain, norm: str) -> None:
    if not isinstance(epsilon, jax.Array) and not epsilon >= 0:
        raise ValueError(f"attack: epsilon={epsilon}; expected a radius of 0 or more.")
    if not domain[0] < domain[1]:
        raise ValueError(f"attack: domain={domain}; expected (low, high) with low < high.")
    if norm not in ("linf", "l2"):
        raise ValueError(f"attack: norm={norm!r}; expected 'linf' (largest site) or 'l2'.")


def _constant(objective: Objective, x: Array) -> Callable[[Array], tuple[Array, Array]]:
    """Value and gradient in x; whatever the objective closes over is a constant.

    Otherwise a training step would carry derivatives by the tensors through every step of the
    attack, to find that they are zero.
    """
    # The lambda because a bound method of a module cannot be hashed.
    pure, closed = jax.closure_convert(lambda x: objective(x), x)
    closed = jax.lax.stop_gradient(closed)

    def total(x: Array) -> tuple[Array, Array]:
        values = pure(x, *closed)
        return jnp.sum(values), values

    def value_and_gradient(x: Array) -> tuple[Array, Array]:
        (_, values), gradient = jax.value_and_grad(total, has_aux=True)(x)
        return values, gradient

    return value_and_gradient


def _better(here: Array, value: Array, best: Array, highest: Array) -> tuple[Array, Array]:
    higher = value > highest
    return jnp.where(higher[:, None], here, best), jnp.where(higher, value, highest)


def _known(value: Array, moved: Array) -> Array:
    """The moved inputs; NaN where the objective is, rather than an attack that did nothing."""
    return jnp.where(jnp.isnan(value)[:, None], jnp.nan, moved)


def _direction(gradient: Array, norm: Norm) -> Array:
    if norm == "linf":
        return jnp.sign(gradient)
    # Scaled first: squares of small gradients would underflow, and the direction with them.
    tiny = jnp.finfo(gradient.dtype).tiny
    scaled = gradient / jnp.maximum(jnp.max(jnp.abs(gradient), axis=1, keepdims=True), tiny)
    return scaled / jnp.maximum(jnp.linalg.norm(scaled, axis=1, keepdims=True), tiny)


def _in_ball(key: Array, x: Array, norm: Norm) -> Array:
    """A uniform point of the unit ball for each sample, whatever the batch around it."""
    batch, sites = x.shape
    if key.ndim == 0:
        key = jax.vmap(partial(jax.random.fold_in, key))(jnp.arange(batch))
    if norm == "linf":
        return jax.vmap(lambda k: jax.random.uniform(k, (sites,), x.dtype, -1.0, 1.0))(key)
    return jax.vmap(lambda k: jax.random.ball(k, sites, dtype=x.dtype))(key)


def _wrong(scores: Array, labels: Array) -> Array:
    """The scores with minus infinity for the label."""
    classes = scores.shape[1]
    if classes < 2:
        raise ValueError(
            "attack: the model has one class, which nothing can be mistaken for. Attack a "
            "classifier, or ascend an objective of your own."
        )
    labels = checked("attack", labels, classes)
    wrong = jnp.where(jax.nn.one_hot(labels, classes, dtype=bool), -jnp.inf, scores)
    return jnp.where(allowed(labels, classes)[:, None], wrong, jnp.nan)
