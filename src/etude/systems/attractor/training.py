"""Training an attractor network with `etude.Trainer`: by its local rule, or by back-propagation."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

import etude as et
from etude.systems.attractor.learning import Batch, LocalRule, local_updates, weighted
from etude.systems.attractor.metrics import accuracy
from etude.systems.attractor.orchestrator import SequentialOrchestrator
from etude.systems.attractor.settling import settle
from etude.systems.attractor.state import SequentialState
from etude.systems.attractor.sweep import local_field

Held = tuple[Array, Array]


@final
class AttractorTrainer:
    """Trains an attractor network by a local rule: one phase, handed to `etude.Trainer`.

    Nothing here changes by training: the trained network is in the result.

    Args:
        network: the network as it starts.
        sizes: features of each layer, as for `SequentialState`.
        data: source of batches of inputs, ±1 targets and perhaps weights.
        length: how long it trains.
        optimizer: optax transformation of the updates.
        update: `local_updates`, `contrastive_updates`, or your own function of (network, state,
            batch); bind options with `functools.partial`.
        validation: inputs and targets that are predicted after every epoch. The network with
            the best accuracy on them is kept.
        free_steps: sweeps before a prediction of the validation; 10 if None.
        options: options of `etude.Trainer`, such as `run` and `seed`.

    Raises:
        ConfigurationError: `free_steps` without a validation.

    >>> from etude.systems.attractor import (
    ...     FullyConnected, LayerMap, OutputLayer, PrototypeData, RecurrentDiscrete)
    >>> a, b, c = jax.random.split(jax.random.key(0), 3)
    >>> network = SequentialOrchestrator(LayerMap.from_dict({
    ...     1: {0: FullyConnected(20, 40, 1.0, 1.0, a), 1: RecurrentDiscrete(40, 1.0, 1.0, b)},
    ...     2: {1: FullyConnected(40, 3, 1.0, 1.0, c), 2: OutputLayer()},
    ... }))
    >>> data = PrototypeData(jax.random.key(1), 16, 3, 20, 160, p_noise=0.1)
    >>> trainer = AttractorTrainer(
    ...     network, (20, 40, 3), data.source(), et.Epochs(4), optimizer=optax.adam(5e-3),
    ...     validation=data.sample(jax.random.key(2), 100), progress=False)
    >>> trainer.train().metrics["valid/accuracy"] > 0.9
    True
    """

    def __init__(
        self,
        network: SequentialOrchestrator,
        sizes: tuple | list,
        data: et.Source,
        length: et.Epochs | et.Steps,
        *,
        optimizer: optax.GradientTransformation,
        update: Callable[..., Any] = local_updates,
        validation: Held | None = None,
        free_steps: int | None = None,
        **options: Any,
    ):
        if validation is None and free_steps is not None:
            raise et.ConfigurationError(
                f"AttractorTrainer: free_steps={free_steps} without a validation, whose sweeps "
                "they are. Pass validation=(x, y), or those of the training as an option of the "
                f"update: partial(local_updates, free_steps={free_steps})."
            )
        self.network, self.sizes, self.data, self.length = network, sizes, data, length
        self.optimizer, self.update = optimizer, update
        self.validation, self.free_steps = validation, 10 if free_steps is None else free_steps
        self.options = options

    def train(self) -> et.Result:
        """Trains from the beginning. Raises what `etude.Trainer.fit` raises."""
        return self.trainer().fit()

    def trainer(self) -> et.Trainer:
        """The trainer of the phase: `fit` it, or `resume` its run."""
        return et.Trainer(self.network, self.phases(), **self.options)

    def phases(self) -> list[et.Phase]:
        """The one phase, for an `etude.Trainer` of your own."""
        learner = et.Learner(LocalRule(self.sizes, self.update), self.optimizer)
        judged = judge(self.sizes, self.validation, self.free_steps)
        return [et.Phase("local", learner, self.data, self.length, **judged)]


def judge(sizes: tuple | list, held: Held | None, free_steps: int) -> dict[str, Any]:
    """The fields of a phase that validates on held-out samples and keeps the best network.

    None without such samples.
    """
    if held is None:
        return {}
    data = et.ArrayData(held, min(1000, len(held[0])))
    measure = partial(measure_accuracy, sizes=tuple(sizes), free_steps=free_steps)
    return {
        "validation": et.Validation(data, measure),
        "keep": et.Best("valid/accuracy", mode="max"),
    }


def measure_accuracy(
    network: SequentialOrchestrator,
    batch: Batch,
    context: et.Context,
    sizes: tuple,
    free_steps: int,
) -> dict[str, Float[Array, ""]]:
    """Accuracy of the predictions on a batch, for a `Validation`."""
    return {"accuracy": accuracy(batch[1], scores(network, sizes, batch[0], free_steps))}


def scores(
    network: SequentialOrchestrator,
    sizes: tuple | list,
    x: Float[Array, "batch ..."],
    free_steps: int = 10,
) -> Float[Array, "batch classes"]:
    """Scores of the classes: settle from zero on the input alone, then read the output."""
    state = settle_freely(network, sizes, x, free_steps)
    return network.predict(state)[0].readout


def settle_freely(
    network: SequentialOrchestrator,
    sizes: tuple | list,
    x: Float[Array, "batch ..."],
    free_steps: int = 10,
) -> SequentialState:
    """The state a prediction is read from."""
    blank = SequentialState(sizes, x.dtype).init(x)
    return settle(network, blank, free_steps, messages="forward", early_stop=True)


def back_propagation(sizes: tuple | list, free_steps: int = 10) -> Callable[..., Any]:
    """The loss of the same network for `etude.Gradient`, to compare the local rule with.

    The cross-entropy of the read-out at the settled state. Its gradient is truncated to the last
    sweep, whose incoming activity counts as constant, and passes the sign as if it were the fast
    sigmoid ``h / (1 + |h|)``. (Straight-through: Bengio et al. 2013; fast sigmoid: Zenke and
    Ganguli 2018.)
    """

    def loss(
        network: SequentialOrchestrator, batch: Batch, context: et.Context
    ) -> tuple[Float[Array, ""], dict[str, Array]]:
        x, y, weight = weighted(batch)
        constant = jax.tree.map(
            lambda leaf: jax.lax.stop_gradient(leaf) if eqx.is_array(leaf) else leaf, network
        )
        state = settle_freely(constant, sizes, x, free_steps)
        for row in network.layers.rows[:-1]:
            field = local_field(network.layers, state, row, "forward")
            state = state.replace(row, _straight_through(state[row], field))
        predicted = network.predict(state)[0].readout
        each = optax.losses.softmax_cross_entropy(predicted, (y + 1) / 2)
        return jnp.average(each, weights=weight), {"accuracy": accuracy(y, predicted, weight)}

    return loss


def _straight_through(activity: Array, field: Array) -> Array:
    """The activity, with the gradient of the fast sigmoid of the field."""
    smooth = field / (1 + abs(field))
    return activity + (smooth - jax.lax.stop_gradient(smooth))
