"""The temperature of a trained network, as the last phase of its training.

>>> import numpy as np
>>> from etude.systems.machinery import CNN1D, CNNTrainer
>>> network = CNN1D(2, (4,), kernels=5, strides=4, dropout=0.0, key=jax.random.key(0))
>>> x, y = jax.random.normal(jax.random.key(1), (8, 64)), jnp.arange(8) % 2
>>> phases = CNNTrainer(network, (x, y)).phases(num_epochs=1)
>>> held_out = {"signal": x + 1, "label": y}
>>> found = et.Trainer(network, [*phases, calibration(held_out)], progress=False).fit().model
>>> found.head.temperature.value.shape
()
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PyTree

import etude as et
from etude.data import length_of

_WIDEST = 50.0  # largest temperature that is looked at, and the inverse of the smallest
_HALVINGS = 40


def calibration(held_out: Mapping[str, Any]) -> et.Phase:
    """The phase "calibrate", one step, which sets the temperature of the head and nothing else.

    That of the largest likelihood, as `temperature_of` finds it (Guo, Pleiss, Sun and Weinberger,
    On Calibration of Modern Neural Networks, ICML 2017). It is then part of the model, in every
    checkpoint, so that `probabilities` can be believed wherever the network is loaded.

    Args:
        held_out: "signal" and "label" of windows that the network has not learnt from, as
            `Windows.arrays` gives them.

    The network is one of ours, with one label for each signal.

    Raises:
        DataError: labels that are not one integer of 0 or more for each signal; and, when the
            phase begins, a label that the network has no class for.
        ConfigurationError: when the phase begins, a network of several labels.
    """
    labels = np.asarray(held_out["label"])
    if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer) or labels.min() < 0:
        raise et.DataError(
            f"calibration: got labels of {labels.dtype} and shape {labels.shape}, expected one "
            "class number for each signal, 0 or more. Give the labels as integers."
        )
    rule = partial(_calibrate, int(labels.max()))
    data = et.ArrayData(dict(held_out), batch_size=length_of(held_out), shuffle=False)
    learner = et.Learner(rule, where=lambda network: network.head.temperature)
    return et.Phase("calibrate", learner, data, et.Steps(1))


def _calibrate(
    largest: int, trainable: PyTree, rest: PyTree, batch: Any, context: et.Context
) -> et.Proposal:
    network = eqx.combine(trainable, rest)
    if network.head.multi_label:
        raise et.ConfigurationError(
            "calibration: got a network of several labels for each signal, expected one of one "
            "label, whose softmax has a temperature. Leave the phase out."
        )
    classes = int(network.head.layers[-1].out_features)
    if largest >= classes:
        raise et.DataError(
            f"calibration: got a label of {largest} for a network of {classes} classes, expected 0 "
            f"to {classes - 1}. Renumber the labels as those of the training."
        )
    temperature = _most_likely(et.widened(network(batch["signal"])), batch["label"])
    moved = eqx.tree_at(lambda model: model.head.temperature, network, et.Carry(temperature))
    return et.Proposal(metrics={"temperature": temperature}, model=moved)


def _most_likely(logits: Float[Array, "n classes"], labels: Int[Array, " n"]) -> Float[Array, ""]:
    """By halving: the slope of the likelihood in 1 / temperature falls. 1 where all is right."""
    mine = jnp.take_along_axis(logits, labels[:, None], axis=1)[:, 0]

    def too_sharp(log_inverse: Array) -> Array:
        weights = jax.nn.softmax(logits * jnp.exp(log_inverse), axis=-1)
        return jnp.mean(jnp.sum(weights * logits, axis=-1) - mine) > 0

    def halve(_: Any, ends: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = ends
        middle = (low + high) / 2
        sharp = too_sharp(middle)
        return jnp.where(sharp, low, middle), jnp.where(sharp, middle, high)

    edge = jnp.log(jnp.asarray(_WIDEST, logits.dtype))
    low, high = jax.lax.fori_loop(0, _HALVINGS, halve, (-edge, edge))
    right = jnp.all(logits.argmax(-1) == labels)
    return jnp.where(right, 1.0, jnp.exp(-(low + high) / 2))
