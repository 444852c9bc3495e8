"""Adversarial perturbations of inputs: fast gradient sign and projected gradient.

Both take the loss as a function of the inputs alone, `loss(inputs) -> scalar or (batch,)`, so they
touch neither model nor parameter gradients, and the perturbation is a constant to whoever
differentiates through the result. Inputs are real numbers; the loss gets them in their own dtype
(integers as float32), and all else is computed in float32 or wider.

>>> import jax.numpy as jnp
>>> fgsm(lambda x: jnp.sum(x * x), jnp.array([[1.0, -2.0]]), epsilon=0.5).tolist()
[[1.5, -2.5]]
"""

import math
from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from etude.inputs import Values, check_count, check_flags, check_real, floating, one_of
from etude.inputs.arrays import read

from .draws import in_single, require

Norm = Literal["linf", "l2"]
Inputs = Float[Array, "batch *axes"]


def fgsm(
    loss: Callable[[Any], Array],
    inputs: Values,
    epsilon: float = 0.01,
    *,
    relative: bool = False,
    clip: tuple[float, float] | None = None,
) -> Inputs:
    """One step of `epsilon` along the sign of the gradient (Goodfellow et al. 2015).

    Args:
        loss: what to raise, as a function of the inputs.
        inputs: the batch.
        epsilon: size of the step in each element; 0 changes nothing.
        relative: `epsilon` in units of each sample's standard deviation, not of the inputs.
        clip: lowest and highest value that an input may have.

    Raises:
        ValueError: a negative `epsilon`, or a clip range that runs backwards.
        DataError: complex inputs.

    >>> import jax.numpy as jnp
    >>> fgsm(lambda x: jnp.sum(x), jnp.array([[0.5, 0.75]]), 0.5, clip=(0.0, 1.0)).tolist()
    [[1.0, 1.0]]
    """
    _check("fgsm", epsilon, relative, clip)
    inputs = floating(read("fgsm", "inputs", inputs))
    exact = in_single(inputs)
    gradient = _gradient(loss, inputs).astype(exact.dtype)
    step = epsilon * _unit(exact, relative) * jnp.sign(gradient)
    return _clip(exact + jax.lax.stop_gradient(step), clip).astype(inputs.dtype)


def pgd(
    loss: Callable[[Any], Array],
    inputs: Values,
    key: Key[Array, ""] | None = None,
    epsilon: float = 0.01,
    *,
    num_steps: int = 10,
    step_size: float | None = None,
    norm: Norm = "linf",
    relative: bool = False,
    clip: tuple[float, float] | None = None,
) -> Inputs:
    """Ascend the loss within a ball of radius `epsilon` around the inputs (Madry et al. 2018).

    Args:
        loss: what to raise, as a function of the inputs.
        inputs: the batch.
        key: start from a uniform point of the ball. None: start from the inputs.
        epsilon: radius of the ball: per element for "linf", of the whole sample for "l2".
        num_steps: gradient steps.
        step_size: length of a step; by default `2.5 * epsilon / num_steps`.
        norm: "linf" steps along the sign, "l2" along the normalised gradient.
        relative: lengths in units of each sample's standard deviation ("l2": of its distance from
            its mean), not of the inputs.
        clip: lowest and highest value that an input may have.

    Raises:
        ValueError: a negative `epsilon`, number or size of steps, an unknown norm, or a clip range
            that runs backwards.
        DataError: complex inputs.

    >>> import jax.numpy as jnp
    >>> x = pgd(lambda x: jnp.sum(x), jnp.zeros((1, 4)), epsilon=1.0, norm="l2")
    >>> [round(v, 3) for v in x[0].tolist()]
    [0.5, 0.5, 0.5, 0.5]
    """
    _check("pgd", epsilon, relative, clip)
    one_of("pgd", "norm", norm, Norm)
    check_count("pgd", "num_steps", num_steps, 0)
    if step_size is not None:
        check_real("pgd", "step_size", step_size, 0)
    given = floating(read("pgd", "inputs", inputs))
    inputs = in_single(given)
    unit = _unit(inputs, relative)
    if norm == "l2" and relative:
        unit = unit * math.prod(inputs.shape[1:]) ** 0.5
    radius = epsilon * unit
    stride = radius * 2.5 / max(num_steps, 1) if step_size is None else step_size * unit
    offset = jnp.zeros_like(inputs) if key is None else radius * _ball(key, inputs, norm)
    adversary = _clip(inputs + offset, clip)
    # Unrolled on purpose: XLA on the CPU runs convolutions inside a loop many times slower.
    for _ in range(num_steps):
        gradient = _gradient(loss, adversary.astype(given.dtype)).astype(inputs.dtype)
        if norm == "linf":
            offset = adversary + stride * jnp.sign(gradient) - inputs
            offset = jnp.clip(offset, -radius, radius)
        else:
            offset = adversary + stride * gradient / _length(gradient) - inputs
            offset = offset * jnp.minimum(1.0, radius / _length(offset))
        # Clipping afterwards keeps the ball: it never leads away from inputs within the range.
        adversary = _clip(inputs + offset, clip)
    return (inputs + jax.lax.stop_gradient(adversary - inputs)).astype(given.dtype)


def _check(name: str, epsilon: float, relative: bool, clip: tuple[float, float] | None) -> None:
    check_real(name, "epsilon", epsilon, 0)
    check_flags(name, relative=relative)
    require(
        clip is None or (len(clip) == 2 and clip[0] < clip[1]),
        f"{name}: clip must rise from one number to another, got {clip}",
    )


def _gradient(loss: Callable[[Any], Array], inputs: Array) -> Array:
    def total(x: Array) -> Array:
        return jnp.sum(loss(x))

    return jax.grad(total)(jax.lax.stop_gradient(inputs))


def _clip(inputs: Array, clip: tuple[float, float] | None) -> Array:
    return inputs if clip is None else jnp.clip(inputs, *clip)


def _axes(inputs: Array) -> tuple[int, ...]:
    return tuple(range(1, inputs.ndim))


def _unit(inputs: Array, relative: bool) -> Array:
    if not relative:
        return jnp.ones((), inputs.dtype)
    return jax.lax.stop_gradient(jnp.std(inputs, axis=_axes(inputs), keepdims=True))


def _length(offset: Array) -> Array:
    squared = jnp.sum(jnp.square(offset), axis=_axes(offset), keepdims=True)
    return jnp.maximum(jnp.sqrt(squared), jnp.finfo(offset.dtype).tiny)


def _ball(key: Array, inputs: Array, norm: Norm) -> Array:
    """A uniform point of the unit ball for each sample."""
    if norm == "linf":
        return jax.random.uniform(key, inputs.shape, inputs.dtype, -1.0, 1.0)
    direction_key, radius_key = jax.random.split(key)
    direction = jax.random.normal(direction_key, inputs.shape, inputs.dtype)
    uniform = jax.random.uniform(radius_key, (inputs.shape[0],), inputs.dtype)
    # The volume within radius r grows as r^d.
    radius = (uniform ** (1 / math.prod(inputs.shape[1:]))).reshape(-1, *[1] * (inputs.ndim - 1))
    return radius * direction / _length(direction)
