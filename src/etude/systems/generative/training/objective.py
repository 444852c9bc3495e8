"""What a trainer minimises: a loss by the seed's signature, by ours, or a model's own."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from jaxtyping import Array

import etude as et
from etude.systems.generative.bounds import Bound
from etude.systems.generative.diffusion import Denoising, Diffusion
from etude.systems.generative.energy import Contrastive, EnergyModel
from etude.systems.generative.exact import NegativeLogLikelihood
from etude.systems.generative.flows import Flow
from etude.systems.generative.made import MADE
from etude.systems.generative.matching import ContinuousFlow, FlowMatching
from etude.systems.generative.quantised import VQVAE, Quantisation
from etude.systems.generative.transformer import CausalTransformer
from etude.systems.generative.vae import VAE

Batch = dict[str, Any]
Metrics = dict[str, Any]
#: The seed's signature, `(params, batch, rng) -> (loss, metrics)`, or ours, whose third argument is
#: called `context`.
LossFn = Callable[[Any, Any, Any], Any]
Loss = Callable[[Any, Any, et.Context], Any]

#: The objectives of models that have one loss.
OBJECTIVES: Mapping[type, Callable[[Any], Loss]] = {
    VAE: lambda model: Bound(kl_weight=model.beta),
    VQVAE: lambda model: Quantisation(),
    EnergyModel: lambda model: Contrastive(),
    Diffusion: lambda model: Denoising(),
    ContinuousFlow: lambda model: FlowMatching(),
    Flow: lambda model: NegativeLogLikelihood(),
    MADE: lambda model: NegativeLogLikelihood(),
    CausalTransformer: lambda model: NegativeLogLikelihood(),
}


def loss_of(loss_fn: LossFn | None, model: Any) -> Loss | None:
    """The loss as the engine calls it; None where there is neither a loss nor an objective.

    Raises `ConfigurationError` for a function of other arguments.
    """
    if loss_fn is None:
        own = OBJECTIVES.get(type(model))
        return None if own is None else own(model)
    try:
        names = list(inspect.signature(loss_fn).parameters)
        inspect.signature(loss_fn).bind(None, None, None)
    except (TypeError, ValueError):
        raise et.ConfigurationError(
            f"Trainer: loss_fn takes (params, batch, rng), or (model, batch, context); got "
            f"{loss_fn!r}."
        ) from None
    return loss_fn if names[2] == "context" else _with_key(loss_fn)


def _with_key(loss_fn: LossFn) -> Loss:
    def loss(model: Any, batch: Any, context: et.Context) -> tuple[Array, Metrics]:
        found = loss_fn(model, batch, context.key)
        if not (isinstance(found, tuple) and len(found) == 2 and isinstance(found[1], Mapping)):
            raise et.RuleError(
                "loss_fn(params, batch, rng) returns (loss, metrics), metrics a dictionary; got "
                f"{type(found).__name__}."
            )
        # The engine reports the loss itself under its name.
        return found[0], {name: value for name, value in found[1].items() if name != "loss"}

    return loss
