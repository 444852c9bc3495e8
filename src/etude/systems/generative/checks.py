"""What settings of generative models must be: one check for each kind, the same in all families.

All raise `ConfigurationError`, which names whose settings they are and has every problem.

>>> sizes_of("Model", latent=0, layers=2.5)
Traceback (most recent call last):
    ...
etude.errors.ConfigurationError: Model: latent must be at least 1; got 0.
Model: layers must be a whole number; got 2.5.
"""

import math
from collections.abc import Iterable, Sequence
from numbers import Integral
from typing import Any, TypeVar

import jax
import numpy as np

import etude as et
from etude.engine.numbers import is_count, is_real

Model = TypeVar("Model")

#: The largest size of an array that JAX counts without 64 bits.
LARGEST = 2**31 - 1


def count_of(owner: str, count: Any) -> None:
    """Refuses a number of samples that is no whole number from 1."""
    sizes_of(owner, count=count)


def temperature_of(owner: str, temperature: Any, *, above: bool = False) -> None:
    """Refuses a temperature that is not finite or is below 0; with `above`, 0 as well.

    >>> temperature_of("Model.sample", 0.0)
    >>> temperature_of("Model.sample", 0.0, above=True)
    Traceback (most recent call last):
        ...
    etude.errors.ConfigurationError: Model.sample: temperature must be above 0; got 0.0.
    """
    problems = _not_finite("temperature", temperature)
    if not problems and above and temperature <= 0:
        problems = [f"temperature must be above 0; got {temperature}"]
    elif not problems and temperature < 0:
        problems = [f"temperature {temperature} is below 0"]
    _refuse(owner, problems)


def sizes_of(owner: str, *, least: int = 1, **sizes: Any) -> None:
    """Refuses sizes that are no whole numbers of at least `least`; truth values are none."""
    _refuse(owner, [text for name, size in sizes.items() for text in _not_size(name, size, least)])


def shapes_of(owner: str, **shapes: Any) -> None:
    """Refuses what is no sequence of sizes from 1, such as a shape or the widths of layers.

    >>> shapes_of("Model", hidden=(), shape=16)
    Traceback (most recent call last):
        ...
    etude.errors.ConfigurationError: Model: shape must be a sequence of sizes; got 16. Give (16,).
    """
    problems = []
    for name, shape in shapes.items():
        if isinstance(shape, str | bytes) or not isinstance(shape, Sequence):
            cure = f". Give ({shape},)" if is_count(shape) else ""
            problems.append(f"{name} must be a sequence of sizes; got {shape!r}{cure}")
            continue
        for number, size in enumerate(shape):
            problems += _not_size(f"{name}[{number}]", size, 1)
    _refuse(owner, problems)


def flags_of(owner: str, **flags: Any) -> None:
    """Refuses what is no truth value: a text, such as "false", would count as true.

    >>> flags_of("Model", spectral="false")
    Traceback (most recent call last):
        ...
    etude.errors.ConfigurationError: Model: spectral is True or False; got 'false'.
    """
    odd = {name: one for name, one in flags.items() if not isinstance(one, bool | np.bool_)}
    _refuse(owner, [f"{name} is True or False; got {one!r}" for name, one in odd.items()])


def finite_of(owner: str, **numbers: Any) -> None:
    """Refuses what is no finite number; truth values are none."""
    _refuse(owner, [text for name, one in numbers.items() for text in _not_finite(name, one)])


def weights_of(owner: str, **numbers: Any) -> None:
    """Refuses what is no finite number of at least 0.

    >>> weights_of("Loss", decay=-1.0, weight=float("inf"))
    Traceback (most recent call last):
        ...
    etude.errors.ConfigurationError: Loss: decay must not be negative; got -1.0.
    Loss: weight must be a finite number; got inf.
    """
    problems = []
    for name, one in numbers.items():
        wrong = [] if is_real(one) and one >= 0 else [f"{name} must not be negative; got {one}"]
        problems += _not_finite(name, one) or wrong
    _refuse(owner, problems)


def positive_of(owner: str, **numbers: Any) -> None:
    """Refuses what is no finite number above 0."""
    problems = []
    for name, one in numbers.items():
        wrong = [] if is_real(one) and one > 0 else [f"{name} must be positive; got {one}"]
        problems += _not_finite(name, one) or wrong
    _refuse(owner, problems)


#: What each model is trained with.
LOSSES = {
    "VAE": "Bound() or WassersteinMMD()",
    "VQVAE": "Quantisation(), then CodePrior()",
    "GAN": "the learners of Adversarial()",
    "Diffusion": "Denoising()",
    "ContinuousFlow": "FlowMatching() or NegativeLogLikelihood()",
    "Flow": "NegativeLogLikelihood()",
    "MADE": "NegativeLogLikelihood()",
    "CausalTransformer": "NegativeLogLikelihood()",
    "EnergyModel": "Contrastive() or DenoisingScore()",
}


def model_of(owner: str, model: Any, kind: type[Model], called: str = "") -> Model:
    """The model of a loss, which refuses those of other families.

    Args:
        owner: the loss.
        model: what it is given.
        kind: what it needs.
        called: what messages call that; its class, if empty.

    >>> model_of("Bound", 3, str)
    Traceback (most recent call last):
        ...
    etude.errors.ConfigurationError: Bound: got a model of int, expected str.
    """
    if isinstance(model, kind):
        return model
    # An array is a tracer here, whose name would mean nothing to the reader.
    name = "array" if isinstance(model, jax.Array) else type(model).__name__
    cure = f" A {name} is trained with {LOSSES[name]}." if name in LOSSES else ""
    raise et.ConfigurationError(
        f"{owner}: got a model of {name}, expected {called or kind.__name__}.{cure}"
    )


def _not_size(name: str, size: Any, least: int) -> list[str]:
    if is_count(size, least):
        return [] if size <= LARGEST else [f"{name} must be at most {LARGEST}; got {size}"]
    if not isinstance(size, Integral) or isinstance(size, bool):
        return [f"{name} must be a whole number; got {size!r}"]
    return [f"{name} {f'must be at least {least}' if least else 'counts from 0 on'}; got {size}"]


def _not_finite(name: str, value: Any) -> list[str]:
    good = is_real(value) and math.isfinite(value)
    return [] if good else [f"{name} must be a finite number; got {value!r}"]


def _refuse(owner: str, problems: Iterable[str]) -> None:
    text = "\n".join(f"{owner}: {problem}." for problem in problems)
    if text:
        raise et.ConfigurationError(text)
