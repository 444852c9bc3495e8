"""The assembled detector: encoder, bridge to spikes, spiking classifier.

>>> network = SpikingNetwork.build(latent_dim=16, hidden_sizes=(8,), key=jax.random.key(0))
>>> network.statistic(jnp.zeros((3, 2048, 2))).shape
(3,)
"""

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from etude.systems.gravitational_waves.encoder import CPCEncoder, Features
from etude.systems.gravitational_waves.losses import Predictors
from etude.systems.gravitational_waves.spiking import Activity, SNNClassifier, SpikeBridge


class SpikingNetwork(eqx.Module):
    """Windows of whitened strain `(batch, samples, detectors)` to logits of "noise" and "signal".

    Attributes:
        encoder: latents and context of a window.
        predictors: heads that predict latents from contexts; the contrastive loss alone uses them.
        bridge: turns the context into spikes.
        classifier: turns spikes into logits.
    """

    encoder: CPCEncoder
    predictors: Predictors
    bridge: SpikeBridge
    classifier: SNNClassifier

    @classmethod
    def build(
        cls,
        latent_dim: int = 128,
        hidden_sizes: Sequence[int] = (512, 256, 128),
        *,
        bridge: SpikeBridge | None = None,
        predicted_steps: int = 4,
        classifier: dict[str, Any] | None = None,
        key: PRNGKeyArray,
        **encoder: Any,
    ) -> "SpikingNetwork":
        """A network whose parts fit each other.

        Args:
            latent_dim: numbers per step of the encoder's latents.
            hidden_sizes: number of neurons of each layer of the classifier.
            bridge: learnable thresholds 0.1, 0.2, 0.4 and 0.8 if None.
            predicted_steps: how many steps ahead the contrastive loss looks.
            classifier: further arguments of `SNNClassifier`.
            key: random key of the initial weights.
            encoder: further arguments of `CPCEncoder`.
        """
        keys = jax.random.split(key, 3)
        bridge = bridge or SpikeBridge(0.1, "multi_threshold", learnable=True)
        first = CPCEncoder(latent_dim, key=keys[0], **encoder)
        last = SNNClassifier(
            bridge.channels(first.context_dim),
            2,
            hidden_sizes,
            dt=first.dt / bridge.steps,
            key=keys[2],
            **(classifier or {}),
        )
        predictors = Predictors(
            first.context_dim, first.latent_dim, steps=predicted_steps, key=keys[1]
        )
        return cls(first, predictors, bridge, last)

    def features(self, windows: Float[Array, "batch samples detectors"]) -> Features:
        """Latents and contexts of a batch."""
        return jax.vmap(self.encoder)(windows)

    def classify(
        self, context: Float[Array, "batch time context"], *, key: PRNGKeyArray | None = None
    ) -> Float[Array, "batch classes"]:
        """Logits of the contexts of a batch; `key` is for a bridge that draws."""
        return jax.vmap(self.classifier)(self._spikes(context, key))

    def __call__(
        self, windows: Float[Array, "batch samples detectors"], *, key: PRNGKeyArray | None = None
    ) -> Float[Array, "batch classes"]:
        """Logits of a batch."""
        return self.classify(self.features(windows).context, key=key)

    def statistic(self, windows: Float[Array, "batch samples detectors"]) -> Float[Array, " batch"]:
        """What triggers are ranked by: the difference of the two logits.

        It has no ceiling, as a probability has, that loud signals and loud noise would share. A
        bridge that draws gives all windows the same draws: it is a function of the window alone.
        """
        context = self.features(windows).context
        logits = jax.vmap(lambda one: self.classifier(self._same_draws(one)))(context)
        return logits[:, 1] - logits[:, 0]

    def activity(self, window: Float[Array, "samples detectors"]) -> Activity:
        """Spikes and read-out of one window over time."""
        return self.classifier.activity(self._same_draws(self.encoder(window).context))

    def spikes(self, window: Float[Array, "samples detectors"]) -> Float[Array, "time neurons"]:
        """The raster of all hidden neurons for one window, layer by layer."""
        return jnp.concatenate(self.activity(window).spikes, axis=1)

    def _same_draws(self, context: Array) -> Array:
        return self.bridge(context, key=jax.random.key(0))

    def _spikes(self, context: Array, key: PRNGKeyArray | None) -> Array:
        if key is None:
            return jax.vmap(self.bridge)(context)
        keys = jax.random.split(key, len(context))
        return jax.vmap(lambda one, own: self.bridge(one, key=own))(context, keys)
