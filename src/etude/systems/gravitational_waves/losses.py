"""Contrastive predictive coding: from the context, tell what comes from what might have come.

>>> encoder_out = jax.random.normal(jax.random.key(0), (2, 4, 30, 8))
>>> latents, context = encoder_out[0], encoder_out[1]
>>> predictors = Predictors(8, 8, steps=3, key=jax.random.key(1))
>>> loss = cpc_loss(predictors, latents, context)
>>> loss.shape
()
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

import etude as et
from etude.losses import unit_rows

_EXCLUDED = -1e9  # finite, for a row may hold nothing else


class Predictors(eqx.Module):
    """Linear predictors W_k of the latents k = 1..steps ahead of a context.

    >>> Predictors(8, 4, steps=3, key=jax.random.key(0)).weights.shape
    (3, 8, 4)
    """

    weights: Float[Array, "steps context latent"]

    def __init__(self, context_dim: int, latent_dim: int, *, steps: int = 4, key: PRNGKeyArray):
        if steps < 1:
            raise ValueError(f"Predictors: steps={steps}; expected at least 1.")
        shape = (steps, context_dim, latent_dim)
        self.weights = jax.random.normal(key, shape) / context_dim**0.5


def cpc_loss(
    predictors: Predictors,
    latents: Float[Array, "batch time latent"],
    context: Float[Array, "batch time context"],
    *,
    temperature: float = 0.1,
    hard_negatives: int | None = None,
) -> Float[Array, ""]:
    """InfoNCE of contrastive predictive coding, in nats; the mean over the predictors W_k.

    For each context c_t and each k, the cosine of W_k c_t with the latents z_{t+k} of the same
    window, over the temperature, has to exceed those with its negatives: the latents of the same
    window at other times (but not those of the context's own step), and of the other windows of
    the batch at the same time. Predictions that say nothing give about ln(1 + negatives), which
    constant latents give exactly. It works for a batch of one, by other times alone. van den Oord
    et al. 2018, equation 4.

    Args:
        predictors: heads W_k, one per step ahead.
        latents: what the encoder makes of the steps of a batch of windows.
        context: what it makes of them and of the steps before.
        temperature: what cosines are divided by, a Python number.
        hard_negatives: only so many negatives enter, those of the largest cosine; None for all.

    Raises:
        ValueError: windows too short for the predictors, no negatives asked for, or a
            temperature that is not positive.
    """
    _check_temperature("cpc_loss", temperature)
    steps, time = len(predictors.weights), latents.shape[1]
    if time < steps + 2:
        raise ValueError(
            f"cpc_loss: windows of {time} steps for predictors {steps} steps ahead; expected "
            f"{steps + 2} or more. Use longer windows or fewer predictors."
        )
    if hard_negatives is not None and hard_negatives < 1:
        raise ValueError(f"cpc_loss: hard_negatives={hard_negatives}; expected 1 or more, or None.")
    # Cosines, their norms and the sum over candidates in at least float32.
    latents, context = et.widened(latents), et.widened(context)
    keys = _units(latents)
    ahead = range(1, steps + 1)
    losses = [
        _info_nce(_units(context[:, : time - k] @ w), keys, k, temperature, hard_negatives)
        for k, w in zip(ahead, et.widened(predictors.weights), strict=True)
    ]
    return jnp.mean(jnp.stack(losses))


def _info_nce(queries: Array, keys: Array, k: int, temperature: float, hard: int | None) -> Array:
    """InfoNCE of queries at times 0..T-k-1, whose positives are k steps later."""
    anchors, time = queries.shape[1], keys.shape[1]
    positive = jnp.einsum("btd,btd->bt", queries, keys[:, k:]) / temperature
    in_time = jnp.einsum("btd,bsd->bts", queries, keys) / temperature
    at, other = np.arange(anchors)[:, None], np.arange(time)[None]
    # Neither the positive, nor the step of the context, which the context has seen.
    in_time = jnp.where((other == at + k) | (other == at), _EXCLUDED, in_time)
    in_batch = jnp.einsum("btd,ctd->btc", queries, keys[:, k:]) / temperature
    itself = np.eye(len(queries), dtype=bool)[:, None]
    negatives = jnp.concatenate([in_time, jnp.where(itself, _EXCLUDED, in_batch)], axis=2)
    if hard is not None:
        negatives = jax.lax.top_k(negatives, min(hard, negatives.shape[2]))[0]
    candidates = jnp.concatenate([positive[..., None], negatives], axis=2)
    return jnp.mean(jax.nn.logsumexp(candidates, axis=2) - positive)


def neighbour_info_nce(
    features: Float[Array, "batch time latent"], *, temperature: float = 0.07
) -> Float[Array, ""]:
    """InfoNCE of neighbouring features without a predictor, in nats: it rewards slowness.

    Features at t and t + 1 are a positive pair; all features at later steps of all windows are
    the candidates. Those of step t are among them, for they are the target of step t - 1, at
    cosine 1: each row but the first of a window is at least ln 2, and the loss at least
    ``(time - 2) / (time - 1) ln 2``, however good the features. Constant features give
    ln(batch (time - 1)). Kept for comparison; `cpc_loss` is the one to train with.

    Raises:
        ValueError: fewer than 3 steps, or a temperature that is not positive.

    >>> round(float(neighbour_info_nce(jnp.ones((2, 9, 4)))), 4), round(float(jnp.log(16)), 4)
    (2.7726, 2.7726)
    """
    _check_temperature("neighbour_info_nce", temperature)
    if features.shape[1] < 3:
        raise ValueError(
            f"neighbour_info_nce: {features.shape[1]} steps; expected 3 or more, or there are no "
            "negatives in a batch of one."
        )
    units = _units(et.widened(features))
    now = units[:, :-1].reshape(-1, units.shape[2])
    after = units[:, 1:].reshape(-1, units.shape[2])
    similarity = now @ after.T / temperature
    return jnp.mean(jax.nn.logsumexp(similarity, axis=1) - jnp.diagonal(similarity))


#: the seed's name
calculate_fixed_cpc_loss = neighbour_info_nce


def _check_temperature(owner: str, temperature: float) -> None:
    if temperature <= 0:
        raise ValueError(f"{owner}: got temperature={temperature}, expected more than 0.")


def _units(values: Array) -> Array:
    return unit_rows(values.reshape(-1, values.shape[-1])).reshape(values.shape)
