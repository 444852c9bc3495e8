"""Samples of a trained model, by its own `sample`."""

from inspect import Parameter, signature
from typing import Any

from jaxtyping import Array, Key

import etude as et
from etude.engine.leaf_roles import inference
from etude.errors import suggest


class NoSamplerError(et.ConfigurationError, NotImplementedError):
    """A model that cannot be sampled from."""


def samples_of(model: Any, key: Key[Array, ""], count: int, **options: Any) -> Array:
    """Examples drawn from a model in inference mode.

    Raises:
        NoSamplerError: a model without `sample`.
        ConfigurationError: options that its `sample` does not have.
    """
    model = inference(model)
    sample = getattr(model, "sample", None)
    if sample is None:
        raise NoSamplerError(
            f"generate_samples: a {type(model).__name__} has no sample(key, count). Add one, "
            "or train a model that has one."
        )
    known = signature(sample).parameters
    open_ended = any(one.kind is Parameter.VAR_KEYWORD for one in known.values())
    unknown = [name for name in options if name not in known and not open_ended]
    if unknown:
        raise et.ConfigurationError(
            f"generate_samples: {type(model).__name__}.sample has no "
            + "; ".join(f"{name!r}. {suggest(name, list(known)[2:])}" for name in unknown)
        )
    return sample(key, count, **options)
