"""Models from data: a configuration that names one of ours, and what builds it."""

from collections.abc import Callable, Mapping
from inspect import signature
from typing import Any, ClassVar, final

import jax
from jaxtyping import Array, PyTree
from pydantic import Field, field_validator

import etude as et
from etude.config import Config
from etude.errors import suggest
from etude.systems.generative.energy import EnergyModel
from etude.systems.generative.gan import GAN
from etude.systems.generative.likelihoods import Bernoulli, Gaussian
from etude.systems.generative.quantised import VQVAE
from etude.systems.generative.vae import VAE

Builder = Callable[..., PyTree]


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
    hidden_dims: tuple[int, ...] = Field(default=(500,), description="Widths of its layers.")
    output_dim: int = Field(
        default=20, ge=1, description="Latent components, or positions of codes."
    )
    parameters: dict[str, Any] = Field(
        default_factory=dict, description="Other arguments of the model."
    )

    @field_validator("model_class", mode="before")
    @classmethod
    def _named(cls, value: Any) -> Any:
        return value.__name__ if isinstance(value, type) else value


def _vae(key: Array, config: ModelConfig, likelihood: str = "bernoulli", **given: Any) -> VAE:
    kinds = {"bernoulli": Bernoulli, "gaussian": Gaussian}
    if likelihood not in kinds:
        raise et.ConfigurationError(
            f"create_model: likelihood {likelihood!r} is unknown. {suggest(likelihood, kinds)}"
        )
    return VAE.create(
        key,
        config.input_dim,
        latent=config.output_dim,
        hidden=config.hidden_dims,
        likelihood=kinds[likelihood](),
        **given,
    )


def _vqvae(key: Array, config: ModelConfig, **given: Any) -> VQVAE:
    return VQVAE.create(
        key, config.input_dim, positions=config.output_dim, hidden=config.hidden_dims, **given
    )


def _gan(key: Array, config: ModelConfig, **given: Any) -> GAN:
    return GAN.create(
        key, config.input_dim, latent=config.output_dim, hidden=config.hidden_dims, **given
    )


def _energy(key: Array, config: ModelConfig, **given: Any) -> EnergyModel:
    if "output_dim" in config.model_fields_set:
        raise et.ConfigurationError(
            "create_model: an EnergyModel has no latent components. Leave output_dim out."
        )
    return EnergyModel.create(key, config.input_dim, hidden=config.hidden_dims, **given)


#: The last part of `model_class` -> what builds it, and the function whose other arguments are
#: its `parameters`. A name from a file never imports anything.
MODELS: Mapping[str, tuple[Builder, Callable[..., Any]]] = {
    "VAE": (_vae, VAE.create),
    "VQVAE": (_vqvae, VQVAE.create),
    "GAN": (_gan, GAN.create),
    "EnergyModel": (_energy, EnergyModel.create),
}
_TAKEN = {"key", "shape", "latent", "positions", "hidden"}


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
    build, create = MODELS[name]
    known = {*signature(create).parameters, *signature(build).parameters}
    known -= _TAKEN | {"config", "given"}
    unknown = [given for given in config.parameters if given not in known]
    if unknown:
        raise et.ConfigurationError(
            f"create_model: a {name} has no parameter "
            + "; ".join(f"{one!r}. {suggest(one, known)}" for one in unknown)
        )
    return build(_key(rngs), config, **config.parameters)


def _key(rngs: Any) -> Array:
    if isinstance(rngs, int):
        return jax.random.key(rngs)
    if isinstance(rngs, jax.Array):
        typed = jax.numpy.issubdtype(rngs.dtype, jax.dtypes.prng_key)
        return rngs if typed else jax.random.wrap_key_data(rngs)
    key = rngs.params()
    return key if isinstance(key, jax.Array) else key.value
