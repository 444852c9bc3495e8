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
from typing import Any, TypeVar, final

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, Key

import etude as et
from etude.augment import mixup
from etude.losses import cross_entropy
from etude.metrics import Accuracy
from etude.systems.gravitational_waves.encoder import CPCEncoder
from etude.systems.gravitational_waves.losses import Predictors, cpc_loss
from etude.systems.gravitational_waves.network import SpikingNetwork
from etude.systems.gravitational_waves.spiking import SNNClassifier, SpikeBridge

#: Windows and their labels, which the contrastive loss alone does not read: Any, or None.
Labelled = tuple[Float[Array, "batch samples detectors"], Any]
Loss = Callable[[SpikingNetwork, Labelled, et.Context], tuple[Array, dict[str, Array]]]
Augment = Callable[[Any, Key[Array, ""]], Any]
T = TypeVar("T", int, float)

#: The phases in order, and the part of the network that learns in each; None: all of it.
PHASES: dict[str, Callable[[SpikingNetwork], Any] | None] = {
    "cpc": lambda network: (network.encoder, network.predictors),
    "snn": lambda network: (network.bridge, network.classifier),
    "joint": None,
}


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
        cpc_weight: weight of `cpc_loss`.
        classification_weight: weight of the criterion.
        criterion: loss of logits and labels, `cross_entropy` or `partial(focal_loss, gamma=2.0)`.
        temperature: what the similarities of `cpc_loss` are divided by.
        hard_negatives: how many negatives `cpc_loss` keeps, the hardest; None: all.

    Raises:
        ConfigurationError: a weight is negative, or both are 0.

    >>> loss = create_composite_loss(classification_weight=0.0)
    >>> network = SpikingNetwork.build(8, (4,), key=jax.random.key(0))
    >>> batch, context = (jnp.zeros((2, 2048, 2)), None), et.Context.at(jax.random.key(0))
    >>> _, metrics = loss(network, batch, context)
    >>> list(metrics)
    ['cpc_loss']
    """
    if min(cpc_weight, classification_weight) < 0 or cpc_weight + classification_weight == 0:
        raise et.ConfigurationError(
            f"create_composite_loss: cpc_weight={cpc_weight}, classification_weight="
            f"{classification_weight}; expected none below 0, and one above."
        )

    def composite_loss(
        model: SpikingNetwork, batch: Labelled, context: et.Context
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
            metrics["classification_loss"] = et.widened(criterion(logits, labels))
            metrics["accuracy"] = _accuracy(logits, labels)
            total += classification_weight * metrics["classification_loss"]
        return total, metrics

    return composite_loss


@final
class UnifiedTrainer:
    """Trains encoder, bridge and classifier in three phases handed to `etude.Trainer`.

    "cpc": the encoder and its predictors, by `cpc_loss` alone. "snn": the bridge and the
    classifier, on the frozen encoder. "joint": everything, by the composite loss. Nothing here
    changes by training: the trained network is in the result.

    Args:
        cpc_encoder: makes latents and context of a window.
        spike_bridge: turns the context into spikes.
        snn_classifier: turns spikes into logits.
        learning_rate: highest rate of Adam with decoupled weight decay; one, or one per phase.
        cpc_weight: weight of the contrastive loss in the joint phase.
        classification_weight: weight of the criterion in the joint phase.
        predictors: heads of the contrastive loss, one per step ahead; four if None.
        criterion: loss of logits and labels, see `create_composite_loss`.
        temperature: what the similarities of the contrastive loss are divided by.
        hard_negatives: how many negatives the contrastive loss keeps, the hardest; None: all.
        batch_size: windows per step.
        shuffle: order of the windows in an epoch, as that of `etude.ArrayData`.
        augment: `augment(batch, key) -> (windows, labels)` inside the compiled step, as `Mixing`.
        mixup_alpha: blends windows and labels where labels are used; 0 for none.
        warmup: share of each phase in which the rate rises; then it falls as a cosine.
        weight_decay: decay of every weight.
        clip_norm: largest norm of the gradient.
        accumulate: micro-batches per step.
        validation: measured after each epoch of the phases with labels.
        options: options of `etude.Trainer`, such as `run`, `seed` and `callbacks`.

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
        shuffle: bool | str = True,
        augment: Augment | None = None,
        mixup_alpha: float = 0.0,
        warmup: float = 0.05,
        weight_decay: float = 1e-3,
        clip_norm: float | None = 1.0,
        accumulate: int = 1,
        validation: et.Validation | Sequence[et.Validation] = (),
        **options: Any,
    ):
        if predictors is None:
            predictors = Predictors(
                cpc_encoder.context_dim, cpc_encoder.latent_dim, key=jax.random.key(0)
            )
        self.network = SpikingNetwork(cpc_encoder, predictors, spike_bridge, snn_classifier)
        contrast = {"temperature": temperature, "hard_negatives": hard_negatives}
        self.losses = {
            "cpc": create_composite_loss(1.0, 0.0, **contrast),
            "snn": create_composite_loss(0.0, 1.0, criterion=criterion),
            "joint": create_composite_loss(
                cpc_weight, classification_weight, criterion=criterion, **contrast
            ),
        }
        self.rates = _of_each_phase("learning_rate", "rate", learning_rate)
        self.batch_size, self.shuffle = batch_size, shuffle
        self.augment, self.mixup_alpha = augment, mixup_alpha
        self.warmup, self.weight_decay = warmup, weight_decay
        self.clip_norm, self.accumulate = clip_norm, accumulate
        self.validation, self.options = validation, options

    def train(
        self,
        train_signals: Float[Array, "n samples *channels"],
        train_labels: Int[Array, " n"] | None = None,
        num_epochs: int | Sequence[int] = 10,
        key: Key[Array, ""] | None = None,
    ) -> et.Result:
        """Trains from the beginning; see `trainer` for the arguments and for resuming."""
        return self.trainer(train_signals, train_labels, num_epochs, key).fit()

    def trainer(
        self,
        train_signals: Float[Array, "n samples *channels"],
        train_labels: Int[Array, " n"] | None = None,
        num_epochs: int | Sequence[int] = 10,
        key: Key[Array, ""] | None = None,
    ) -> et.Trainer:
        """The trainer of the three phases: `fit` it, or `resume` its run inside any phase.

        Args:
            train_signals: windows of whitened strain; or, with `augment`, what it makes them of.
            train_labels: 1 where the merger of a signal is within the window, else 0. None where
                `augment` supplies the labels.
            num_epochs: epochs of each phase, or of all three one by one; a phase of 0 is left out.
            key: gives the seed of the order of the data and of all draws, instead of `seed`.

        Raises:
            ConfigurationError: not one length or three, none above 0, no source of labels, or both
                a key and a seed.
        """
        phases, options = self.phases(train_signals, train_labels, num_epochs), self.options
        if key is not None:
            if "seed" in options:
                raise et.ConfigurationError(
                    f"UnifiedTrainer: seed={options['seed']} was given to the constructor and a "
                    "key to the training; expected one of them."
                )
            options = {**options, "seed": int(jax.random.bits(key, dtype=jnp.uint32) >> 1)}
        return et.Trainer(self.network, phases, **options)

    def phases(
        self,
        train_signals: Float[Array, "n samples *channels"],
        train_labels: Int[Array, " n"] | None = None,
        num_epochs: int | Sequence[int] = 10,
    ) -> list[et.Phase]:
        """The phases of `trainer`, for a `Trainer` of your own."""
        epochs = _of_each_phase("num_epochs", "length", num_epochs)
        if min(epochs.values()) < 0 or max(epochs.values()) == 0:
            raise et.ConfigurationError(
                f"UnifiedTrainer: num_epochs={num_epochs}; expected none below 0, and one above."
            )
        if train_labels is None and self.augment is None:
            raise et.ConfigurationError(
                "UnifiedTrainer: there are no labels. Pass train_labels, or augment=Mixing(...), "
                "which makes labelled windows of signals."
            )
        arrays = train_signals if train_labels is None else (train_signals, train_labels)
        size = min(self.batch_size, len(train_signals))
        data = et.ArrayData(arrays, size, shuffle=self.shuffle, drop_last=True)
        return [self._phase(name, data, count) for name, count in epochs.items() if count]

    def _phase(self, name: str, data: et.ArrayData, epochs: int) -> et.Phase:
        peak, steps = self.rates[name], epochs * data.steps_per_epoch
        rate = optax.warmup_cosine_decay_schedule(
            0.0, peak, round(self.warmup * steps), steps, 0.01 * peak
        )
        learner = et.Learner(
            et.Gradient(self.losses[name]),
            optax.adamw(rate, weight_decay=self.weight_decay),
            where=PHASES[name],
            clip_norm=self.clip_norm,
            accumulate=self.accumulate,
        )
        labelled = name != "cpc"
        augment = self._mixed if labelled and self.mixup_alpha else self.augment
        validation = self.validation if labelled else ()
        return et.Phase(name, learner, data, et.Epochs(epochs), validation, augment)

    def _mixed(self, batch: Any, key: Key[Array, ""]) -> Labelled:
        first, second = jax.random.split(key)
        labelled = batch if self.augment is None else self.augment(batch, first)
        return mixup(labelled, second, self.mixup_alpha, num_classes=2)


def _of_each_phase(name: str, kind: str, given: T | Sequence[T]) -> dict[str, T]:
    """A setting of each phase; one stands for all three."""
    values = (given,) * len(PHASES) if isinstance(given, int | float) else tuple(given)
    if len(values) != len(PHASES):
        raise et.ConfigurationError(
            f"UnifiedTrainer: {name}={given}; expected one {kind}, or one for each of the phases "
            f"{', '.join(PHASES)}."
        )
    return dict(zip(PHASES, values, strict=True))


def _accuracy(logits: Array, labels: Array) -> Array:
    """Labels may be soft, after mixup: then the likelier class counts."""
    return Accuracy.empty().update(logits, labels).compute()
