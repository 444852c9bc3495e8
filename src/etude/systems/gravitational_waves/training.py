"""Three phases: the encoder without labels, the spiking classifier on it, then both together.

>>> encoder = CPCEncoder(8, filters=4, channels=8, key=jax.random.key(0))
>>> bridge = SpikeBridge(threshold=0.1)
>>> classifier = SNNClassifier(bridge.channels(8), 2, (8,), dt=encoder.dt, key=jax.random.key(1))
>>> trainer = UnifiedTrainer(encoder, bridge, classifier, batch_size=4, progress=False)
>>> windows = jax.random.normal(jax.random.key(2), (8, 2048, 2))
>>> result = trainer.train(windows, jnp.arange(8) % 2, num_epochs=1)
>>> [name for name, _ in result.reasons]
['cpc', 'snn', 'joint']
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, Key

from etude.augment import mixup
from etude.data.arrays import ArrayData
from etude.engine.learner import Learner
from etude.engine.phase import Epochs, Phase, Validation
from etude.engine.precision import widened
from etude.engine.rule import Context, Gradient
from etude.errors import ConfigurationError
from etude.losses import cross_entropy
from etude.metrics import Accuracy
from etude.systems.gravitational_waves.encoder import CPCEncoder
from etude.systems.gravitational_waves.losses import Predictors, cpc_loss
from etude.systems.gravitational_waves.network import SpikingNetwork
from etude.systems.gravitational_waves.spiking import SNNClassifier, SpikeBridge
from etude.trainer import Result, Trainer

#: Windows and their labels, which the contrastive loss alone does not read: Any, or None.
Labelled = tuple[Float[Array, "batch samples detectors"], Any]
Loss = Callable[[SpikingNetwork, Labelled, Context], tuple[Array, dict[str, Array]]]
Augment = Callable[[Any, Key[Array, ""]], Any]

PHASES = ("cpc", "snn", "joint")


def create_composite_loss(
    cpc_weight: float = 1.0,
    classification_weight: float = 1.0,
    *,
    criterion: Callable[[Array, Array], Array] = cross_entropy,
    temperature: float = 0.1,
    hard_negatives: int | None = None,
) -> Loss:
    """The loss ``cpc_weight CPC + classification_weight criterion`` of a `SpikingNetwork`.

    What has weight 0 is not computed.

    Args:
        cpc_weight: of `cpc_loss`.
        classification_weight: of the criterion.
        criterion: of logits and labels, `cross_entropy` or `partial(focal_loss, gamma=2.0)`.
        temperature: of `cpc_loss`.
        hard_negatives: of `cpc_loss`.

    Raises:
        ConfigurationError: a weight is negative, or both are 0.

    >>> loss = create_composite_loss(classification_weight=0.0)
    >>> network = SpikingNetwork.build(8, (4,), key=jax.random.key(0))
    >>> _, metrics = loss(network, (jnp.zeros((2, 2048, 2)), None), Context.at(jax.random.key(0)))
    >>> list(metrics)
    ['cpc_loss']
    """
    if min(cpc_weight, classification_weight) < 0 or cpc_weight + classification_weight == 0:
        raise ConfigurationError(
            f"create_composite_loss: cpc_weight={cpc_weight}, classification_weight="
            f"{classification_weight}; expected none below 0, and one above."
        )

    def composite_loss(
        model: SpikingNetwork, batch: Labelled, context: Context
    ) -> tuple[Array, dict[str, Array]]:
        windows, labels = batch
        latents, contexts = model.features(windows)
        metrics: dict[str, Array] = {}
        total = jnp.zeros(())
        if cpc_weight:
            metrics["cpc_loss"] = cpc_loss(
                model.predictors,
                latents,
                contexts,
                temperature=temperature,
                hard_negatives=hard_negatives,
            )
            total += cpc_weight * metrics["cpc_loss"]
        if classification_weight:
            logits = model.classify(contexts, key=context.key)
            metrics["classification_loss"] = widened(criterion(logits, labels))
            metrics["accuracy"] = _accuracy(logits, labels)
            total += classification_weight * metrics["classification_loss"]
        return total, metrics

    return composite_loss


class UnifiedTrainer:
    """Trains encoder, bridge and classifier in three phases handed to `etude.Trainer`.

    "cpc": the encoder and its predictors, by `cpc_loss` alone. "snn": the bridge and the
    classifier, on the frozen encoder. "joint": everything, by the composite loss.

    Args:
        cpc_encoder: latents and context of a window.
        spike_bridge: from the context to spikes.
        snn_classifier: from spikes to logits.
        learning_rate: the highest, of Adam with decoupled weight decay; one, or one per phase.
        cpc_weight: of the contrastive loss in the joint phase.
        classification_weight: of the criterion in the joint phase.
        predictors: of the contrastive loss; four steps ahead if None.
        criterion: see `create_composite_loss`.
        temperature: of the contrastive loss.
        hard_negatives: of the contrastive loss.
        batch_size: windows per step.
        augment: `augment(batch, key) -> (windows, labels)` inside the compiled step, as `Mixing`.
        mixup_alpha: blends windows and labels where labels are used; 0 for none.
        warmup: share of each phase in which the rate rises; then it falls as a cosine.
        weight_decay: of every weight.
        clip_norm: largest norm of the gradient.
        accumulate: micro-batches per step.
        validation: after each epoch of the phases with labels.
        options: of `etude.Trainer`, such as `run` and `callbacks`.

    Raises:
        ConfigurationError: a weight is negative, or both are 0; not one rate or three.
    """

    def __init__(
        self,
        cpc_encoder: CPCEncoder,
        spike_bridge: SpikeBridge,
        snn_classifier: SNNClassifier,
        learning_rate: float | Sequence[float] = 2e-3,
        cpc_weight: float = 1.0,
        classification_weight: float = 1.0,
        *,
        predictors: Predictors | None = None,
        criterion: Callable[[Array, Array], Array] = cross_entropy,
        temperature: float = 0.1,
        hard_negatives: int | None = None,
        batch_size: int = 64,
        augment: Augment | None = None,
        mixup_alpha: float = 0.0,
        warmup: float = 0.05,
        weight_decay: float = 1e-3,
        clip_norm: float | None = 1.0,
        accumulate: int = 1,
        validation: Validation | Sequence[Validation] = (),
        **options: Any,
    ):
        rates = (
            (learning_rate,) * 3 if isinstance(learning_rate, int | float) else tuple(learning_rate)
        )
        if len(rates) != 3:
            raise ConfigurationError(
                f"UnifiedTrainer: learning_rate={learning_rate}; expected one rate, or one for "
                f"each of the phases {', '.join(PHASES)}."
            )
        if predictors is None:
            predictors = Predictors(
                cpc_encoder.context_dim, cpc_encoder.latent_dim, key=jax.random.key(0)
            )
        self.network = SpikingNetwork(cpc_encoder, predictors, spike_bridge, snn_classifier)
        contrast = {"temperature": temperature, "hard_negatives": hard_negatives}
        self._losses = (
            create_composite_loss(1.0, 0.0, **contrast),
            create_composite_loss(0.0, 1.0, criterion=criterion),
            create_composite_loss(
                cpc_weight, classification_weight, criterion=criterion, **contrast
            ),
        )
        self._rates = rates
        self.batch_size, self.augment, self.mixup_alpha = batch_size, augment, mixup_alpha
        self.warmup, self.weight_decay = warmup, weight_decay
        self.clip_norm, self.accumulate = clip_norm, accumulate
        self.validation, self.options = validation, options

    def train(
        self,
        train_signals: Float[Array, "n samples *channels"],
        train_labels: Int[Array, " n"] | None = None,
        num_epochs: int | Sequence[int] = 10,
        key: Key[Array, ""] | None = None,
    ) -> Result:
        """Trains from the beginning; see `trainer` for the arguments and for resuming."""
        return self.trainer(train_signals, train_labels, num_epochs, key).fit()

    def trainer(
        self,
        train_signals: Float[Array, "n samples *channels"],
        train_labels: Int[Array, " n"] | None = None,
        num_epochs: int | Sequence[int] = 10,
        key: Key[Array, ""] | None = None,
    ) -> Trainer:
        """The trainer of the three phases: `fit` it, or `resume` its run inside any phase.

        Args:
            train_signals: windows of whitened strain; or, with `augment`, what it makes them of.
            train_labels: 1 where the merger of a signal is within the window, else 0. None where
                `augment` supplies the labels.
            num_epochs: of each phase, or of all three one by one; a phase of 0 is left out.
            key: of the order of the data and of all draws.

        Raises:
            ConfigurationError: not one length or three, none above 0, or no source of labels.
        """
        phases = self.phases(train_signals, train_labels, num_epochs)
        seed = 0 if key is None else int(jax.random.bits(key, dtype=jnp.uint32) >> 1)
        return Trainer(self.network, phases, seed=seed, **self.options)

    def phases(
        self,
        train_signals: Float[Array, "n samples *channels"],
        train_labels: Int[Array, " n"] | None = None,
        num_epochs: int | Sequence[int] = 10,
    ) -> list[Phase]:
        """The phases of `trainer`, for a `Trainer` of your own."""
        epochs = (num_epochs,) * 3 if isinstance(num_epochs, int) else tuple(num_epochs)
        if len(epochs) != 3 or min(epochs) < 0 or max(epochs) == 0:
            raise ConfigurationError(
                f"UnifiedTrainer: num_epochs={num_epochs}; expected one length, or one for each of "
                f"the phases {', '.join(PHASES)}; none below 0, and one above."
            )
        if train_labels is None and self.augment is None:
            raise ConfigurationError(
                "UnifiedTrainer: there are no labels. Pass train_labels, or augment=Mixing(...), "
                "which makes labelled windows of signals."
            )
        arrays = train_signals if train_labels is None else (train_signals, train_labels)
        size = min(self.batch_size, len(train_signals))
        data = ArrayData(arrays, size, drop_last=True)
        return [
            self._phase(number, data, count) for number, count in enumerate(epochs) if count > 0
        ]

    def _phase(self, number: int, data: ArrayData, epochs: int) -> Phase:
        steps = epochs * data.steps_per_epoch
        rate = optax.warmup_cosine_decay_schedule(
            0.0, self._rates[number], round(self.warmup * steps), steps, 0.01 * self._rates[number]
        )
        learner = Learner(
            Gradient(self._losses[number]),
            optax.adamw(rate, weight_decay=self.weight_decay),
            where=(_unlabelled, _spiking, None)[number],
            clip_norm=self.clip_norm,
            accumulate=self.accumulate,
        )
        labelled = number > 0
        augment = self._mixed if labelled and self.mixup_alpha else self.augment
        validation = self.validation if labelled else ()
        return Phase(PHASES[number], learner, data, Epochs(epochs), validation, augment)

    def _mixed(self, batch: Any, key: Key[Array, ""]) -> Labelled:
        first, second = jax.random.split(key)
        labelled = batch if self.augment is None else self.augment(batch, first)
        return mixup(labelled, second, self.mixup_alpha, num_classes=2)


def _unlabelled(model: SpikingNetwork) -> Any:
    return model.encoder, model.predictors


def _spiking(model: SpikingNetwork) -> Any:
    return model.bridge, model.classifier


def _accuracy(logits: Array, labels: Array) -> Array:
    """Labels may be soft, after mixup: then the likelier class counts."""
    return Accuracy.empty().update(logits, labels).compute()
