"""Models from data: a configuration that names one of ours, and what builds it."""

import sys
from collections.abc import Callable, Mapping
from functools import partial
from inspect import signature
from typing import Any, ClassVar, NamedTuple, final

import jax
import numpy as np
from jaxtyping import Array, PyTree
from pydantic import Field, field_validator

import etude as et
from etude.config import Config
from etude.errors import suggest
from etude.systems.generative.diffusion import Diffusion
from etude.systems.generative.energy import EnergyModel
from etude.systems.generative.flows import Affine, Flow, Spline
from etude.systems.generative.gan import GAN
from etude.systems.generative.likelihoods import Bernoulli, Gaussian
from etude.systems.generative.made import MADE
from etude.systems.generative.matching import ContinuousFlow
from etude.systems.generative.quantised import VQVAE
from etude.systems.generative.schedules import Schedule
from etude.systems.generative.transformer import CausalTransformer
from etude.systems.generative.vae import VAE


@final
class ModelConfig(Config, frozen=True):
    """One model as data.

    >>> config = ModelConfig(model_class="VAE", input_dim=(8, 8), hidden_dims=(32,), output_dim=4)
    >>> create_model(config, jax.random.key(0)).latent
    4
    """

    cures: ClassVar[dict[str, str]] = {"latent_dim": "write output_dim"}

    name: str = Field(default="", description="A label; free text.")
    model_class: str = Field(
        description="A model of this package, by its name or by a dotted one that ends with it."
    )
    input_dim: tuple[int, ...] = Field(description="Shape of an example.")
    hidden_dims: tuple[int, ...] | None = Field(
        default=None, description="Widths of its layers. None: the model's own default."
    )
    output_dim: int | None = Field(
        default=None,
        ge=1,
        description="Latent components, or positions of codes. None: the model's own default.",
    )
    parameters: dict[str, Any] = Field(
        default_factory=dict, description="Other arguments of the model."
    )

    @field_validator("model_class", mode="before")
    @classmethod
    def _named(cls, value: Any) -> Any:
        return value.__name__ if isinstance(value, type) else value


class Entry(NamedTuple):
    """How one model is made from data.

    Attributes:
        create: its constructor, whose other arguments are its `parameters`.
        latent: the argument that `output_dim` gives; None where there is none.
        hidden: the argument that `hidden_dims` gives; None where there is none.
        kinds: arguments that are objects, and what makes them by name.
    """

    create: Callable[..., Any]
    latent: str | None = None
    hidden: str | None = "hidden"
    kinds: Mapping[str, Mapping[str, Callable[[], Any]]] = {}


#: Arguments that are objects; only those with names can be said in data.
_OBJECTS = {
    *("net", "encoder", "decoder", "generator", "critic"),
    *("schedule", "elementwise", "likelihood"),
}
_LIKELIHOODS = {"likelihood": {"bernoulli": Bernoulli, "gaussian": Gaussian}}
_SCHEDULES = {"schedule": {kind: partial(Schedule, kind) for kind in ("cosine", "linear")}}

#: The last part of `model_class` -> what makes it. A name from a file never imports anything.
MODELS: Mapping[str, Entry] = {
    "VAE": Entry(VAE.create, "latent", kinds=_LIKELIHOODS),
    "VQVAE": Entry(VQVAE.create, "positions", kinds=_LIKELIHOODS),
    "GAN": Entry(GAN.create, "latent"),
    "EnergyModel": Entry(EnergyModel.create),
    "Diffusion": Entry(Diffusion.create, kinds=_SCHEDULES),
    "ContinuousFlow": Entry(ContinuousFlow.create),
    "Flow": Entry(Flow.create, kinds={"elementwise": {"affine": Affine, "spline": Spline}}),
    "MADE": Entry(MADE.create),
    "CausalTransformer": Entry(CausalTransformer.create, hidden=None),
}


def create_model(config: ModelConfig, rngs: Any) -> PyTree:
    """The model of a configuration.

    Args:
        config: which model.
        rngs: a key of JAX, an integer, or Flax's `nnx.Rngs`, whose next key of "params" is taken.

    Raises:
        ConfigurationError: no model of that name, arguments that it does not have, or values out of
            range.
    """
    name = config.model_class.rsplit(".", 1)[-1]
    if name not in MODELS:
        raise et.ConfigurationError(
            f"create_model: there is no model {config.model_class!r} here. {suggest(name, MODELS)}"
        )
    entry = MODELS[name]
    fields = {"output_dim": entry.latent, "hidden_dims": entry.hidden}
    set_fields = {
        field: argument for field, argument in fields.items() if getattr(config, field) is not None
    }
    problems = [
        f"a {name} has no {field}; leave it out"
        for field, argument in set_fields.items()
        if argument is None
    ]
    arguments = signature(entry.create).parameters
    known = set(arguments) - {"key", "shape", entry.latent, entry.hidden}
    # Objects that have no name here cannot be said in data.
    known -= _OBJECTS - set(entry.kinds)
    for one in config.parameters:
        if one not in known:
            problems.append(f"a {name} has no parameter {one!r}. {suggest(one, known)}")
    chosen = dict(config.parameters)
    for one, makers in entry.kinds.items():
        if one in chosen and not (isinstance(chosen[one], str) and chosen[one] in makers):
            problems.append(
                f"{one} {chosen[one]!r} is unknown. {suggest(str(chosen[one]), makers)}"
            )
        elif one in chosen:
            chosen[one] = makers[chosen[one]]()
    if problems:
        raise et.ConfigurationError("\n".join(f"create_model: {problem}" for problem in problems))
    named = {argument: getattr(config, field) for field, argument in set_fields.items() if argument}
    try:
        return entry.create(_key(rngs), config.input_dim, **named, **chosen)
    except (TypeError, AttributeError) as error:
        raise et.ConfigurationError(
            f"create_model: a {name} cannot be made with {config.parameters}: {error}."
        ) from error


def _key(rngs: Any) -> Array:
    if isinstance(rngs, int | np.integer) and not isinstance(rngs, bool):
        return jax.random.key(int(rngs))
    if isinstance(rngs, jax.Array):
        typed = jax.numpy.issubdtype(rngs.dtype, jax.dtypes.prng_key)
        return rngs if typed else jax.random.wrap_key_data(rngs)
    # Only who has imported Flax can have its streams.
    nnx: Any = sys.modules.get("flax.nnx")
    if nnx is None or not isinstance(rngs, nnx.Rngs):
        raise et.ConfigurationError(
            "create_model: rngs is a key of JAX, an integer or nnx.Rngs; got "
            f"{type(rngs).__name__}. Pass jax.random.key(0)."
        )
    streams: Any = rngs
    key = streams.params()
    return key if isinstance(key, jax.Array) else key.value
