"""The network: its dynamics, its prediction, and the updates that a local rule proposes."""

from __future__ import annotations

import equinox as eqx
from jaxtyping import Array, Float, PRNGKeyArray

from etude.systems.attractor.layer_map import LayerMap
from etude.systems.attractor.plasticity import Plasticity, own_message_perceptron, propose
from etude.systems.attractor.state import SequentialState
from etude.systems.attractor.sweep import Messages, check_fits, local_field, make_sweep


class SequentialOrchestrator(eqx.Module):
    """An attractor network over a `LayerMap`.

    One sweep updates the rows from the first to the last but one, each from the newest activity
    of the others (Gauss-Seidel), all units of a row in parallel. The last row is the output,
    which only `predict` writes.

    The dynamics is deterministic: a key is accepted and handed back, so that a loop written
    for a stochastic network runs unchanged.

    >>> import jax, jax.numpy as jnp
    >>> from etude.systems.attractor import FullyConnected, OutputLayer, RecurrentDiscrete
    >>> a, b, c = jax.random.split(jax.random.key(0), 3)
    >>> network = SequentialOrchestrator(LayerMap.from_dict({
    ...     1: {0: FullyConnected(4, 8, 1.0, 1.0, a), 1: RecurrentDiscrete(8, 0.5, 1.0, b)},
    ...     2: {1: FullyConnected(8, 2, 1.0, 1.0, c), 2: OutputLayer()},
    ... }))
    >>> state = SequentialState((4, 8, 2)).init(jnp.ones((3, 4)))
    >>> state, _ = network.step_inference(state)
    >>> state, _ = network.predict(state)
    >>> state.readout.shape
    (3, 2)
    """

    layers: LayerMap

    def step(
        self,
        state: SequentialState,
        rng: PRNGKeyArray | None = None,
        messages: Messages = "all",
    ) -> tuple[SequentialState, PRNGKeyArray | None]:
        """One sweep with all messages, those of the labels included.

        Raises:
            ValueError: the state has not as many layers as the map, or `messages` is unknown.
        """
        sweep = make_sweep(self.layers, state, messages)
        return sweep.store(state, sweep(sweep.load(state))), rng

    def step_inference(
        self, state: SequentialState, rng: PRNGKeyArray | None = None
    ) -> tuple[SequentialState, PRNGKeyArray | None]:
        """One sweep without the messages that go backward, from a later layer to an earlier."""
        return self.step(state, rng, messages="forward")

    def predict(
        self, state: SequentialState, rng: PRNGKeyArray | None = None
    ) -> tuple[SequentialState, PRNGKeyArray | None]:
        """Write the scores of the classes into the output, from the present activity."""
        check_fits(self.layers, state)
        output = self.layers.rows[-1]
        field = local_field(self.layers, state, output, "all")
        return state.replace(output, self.layers[output, output].activation(field)), rng

    def backward(
        self,
        state: SequentialState,
        rng: PRNGKeyArray | None = None,
        *,
        hidden: Plasticity = own_message_perceptron,
        readout: Plasticity = own_message_perceptron,
        weight: Float[Array, " batch"] | None = None,
    ) -> SequentialOrchestrator:
        """What optax takes as gradients: a network-shaped tree, zero where nothing learns.

        No gradient runs through the network: every connection sees the activity at its two ends,
        its own message and its receiver's local field.

        Args:
            state: a settled state whose output is clamped to the target.
            rng: ignored.
            hidden: rule of the connections into the hidden layers.
            readout: rule of the connections into the output.
            weight: weight of each sample in the mean over the batch (zero for padding).
        """
        check_fits(self.layers, state)
        return SequentialOrchestrator(propose(self.layers, state, hidden, readout, weight))
