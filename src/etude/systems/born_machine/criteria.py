"""What a Born machine can be trained to minimise, in nats.

A criterion is a loss of the engine, `et.Gradient(JointNLL())`; `each` has its value sample by
sample.

>>> import jax, jax.numpy as jnp
>>> from etude.systems.born_machine import BornMachine, Embedding
>>> machine = BornMachine.create(jax.random.key(0), 2, 2, Embedding("legendre", 4), 3)
>>> x, labels = jnp.array([[0.1, -0.7]]), jnp.array([1])
>>> joint = JointNLL().each(machine, x, labels)
>>> conditional = ConditionalNLL().each(machine, x, labels)
>>> prior = machine.class_log_partition()[1] - machine.log_partition()
>>> bool(jnp.allclose(joint, conditional - prior, atol=1e-5))
True
>>> bool(JointNLL()(machine, (x, labels)) == joint.mean())
True
"""

import abc
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Integer, PyTree, Real

import etude as et
from etude.systems.born_machine.config_methods import CriterionConfig
from etude.systems.born_machine.labels import of_label, read_batch
from etude.systems.born_machine.machine import BornMachine

Data = Real[Array, "batch sites"]
Labels = Integer[Array, " batch"]
Nats = Float[Array, " batch"]


class AbstractCriterion(abc.ABC):
    """`criterion(bornmachine, (data, labels), context)`: what is minimised, a loss of the engine.

    The context is not used. Data alone are a batch for a machine of one class.

    Raises RuleError for another model or batch; ValueError for labels that are not one class a
    sample (compiled, a class that is not there makes the loss NaN).
    """

    def __call__(self, bornmachine: Any, batch: PyTree, context: Any = None) -> Float[Array, ""]:
        """The mean over a batch."""
        name = type(self).__name__
        if not (context is None or isinstance(context, et.Context)):
            raise et.RuleError(
                f"{name}: got {type(context).__name__} for the context. A criterion is a loss, "
                f"`criterion(bornmachine, (data, labels), context)`; the value of each sample is "
                f"`criterion.each(bornmachine, data, labels)`."
            )
        if not isinstance(bornmachine, BornMachine):
            raise et.RuleError(
                f"{name}: got {type(bornmachine).__name__}, expected a BornMachine. Of a model "
                "that holds one, hand on the part: "
                "`lambda model, batch, context: criterion(model.machine, batch, context)`."
            )
        data, labels = read_batch(name, bornmachine.classes, batch)
        return jnp.mean(self.each(bornmachine, data, labels))

    @abc.abstractmethod
    def each(self, bornmachine: BornMachine, data: Data, labels: Labels) -> Nats:
        """Nats of each sample."""


@dataclass(frozen=True)
class ClassificationNLL(AbstractCriterion):
    """``-log p(c | x)``: the norm of the state plays no part."""

    def each(self, bornmachine: BornMachine, data: Data, labels: Labels) -> Nats:
        return -of_label(bornmachine.class_log_probabilities(data), labels, "ClassificationNLL")


class GenerativeNLL(AbstractCriterion):
    """A normalised negative log-likelihood: ``log Z - log |psi|^2``, each of one's own making.

    The abstract class of a criterion of the user's own; `ConditionalNLL` and `JointNLL` are the
    exact ones.

    >>> class Halves(GenerativeNLL):
    ...     def compute_unnormalized_log_prob(self, bornmachine, data, labels):
    ...         return of_label(bornmachine.log_weights(data), labels)
    ...     def compute_log_partition(self, bornmachine, labels):
    ...         return jnp.log(2.0) + bornmachine.log_partition()
    """

    def each(self, bornmachine: BornMachine, data: Data, labels: Labels) -> Nats:
        log_weight = self.compute_unnormalized_log_prob(bornmachine, data, labels)
        return self.compute_log_partition(bornmachine, labels) - log_weight

    @abc.abstractmethod
    def compute_unnormalized_log_prob(
        self, bornmachine: BornMachine, data: Data, labels: Labels
    ) -> Nats:
        """``log |psi(x, c)|^2``."""

    @abc.abstractmethod
    def compute_log_partition(
        self, bornmachine: BornMachine, labels: Labels
    ) -> Nats | Float[Array, ""]:
        """The logarithm of what the weights of a sample are divided by."""


@dataclass(frozen=True)
class ConditionalNLL(GenerativeNLL):
    """``-log p(x | c)``, each class with its own norm Z_c."""

    def compute_unnormalized_log_prob(
        self, bornmachine: BornMachine, data: Data, labels: Labels
    ) -> Nats:
        return of_label(bornmachine.log_weights(data), labels, "ConditionalNLL")

    def compute_log_partition(
        self, bornmachine: BornMachine, labels: Labels
    ) -> Nats | Float[Array, ""]:
        norms = bornmachine.class_log_partition()
        return of_label(jnp.broadcast_to(norms, (len(labels), len(norms))), labels)


@dataclass(frozen=True)
class JointNLL(GenerativeNLL):
    """``-log p(x, c)``, one norm Z for all classes."""

    def compute_unnormalized_log_prob(
        self, bornmachine: BornMachine, data: Data, labels: Labels
    ) -> Nats:
        return of_label(bornmachine.log_weights(data), labels, "JointNLL")

    def compute_log_partition(
        self, bornmachine: BornMachine, labels: Labels
    ) -> Nats | Float[Array, ""]:
        return bornmachine.log_partition()


@dataclass(frozen=True)
class MixedNLL(AbstractCriterion):
    """``-log p(c | x) - alpha log p(x)``, between discriminative (0) and generative (1).

    The same as ``-(1 - alpha) log p(c | x) - alpha log p(x, c)``, from one contraction.

    Raises:
        ValueError: alpha outside 0 to 1.
    """

    alpha: float

    def __post_init__(self):
        if not 0 <= self.alpha <= 1:
            raise ValueError(
                f"MixedNLL: alpha={self.alpha}; expected 0 (discriminative) to 1 (generative)."
            )

    def each(self, bornmachine: BornMachine, data: Data, labels: Labels) -> Nats:
        weights = bornmachine.log_weights(data)
        marginal = jax.nn.logsumexp(weights, axis=1)
        joint = of_label(weights, labels, "MixedNLL")
        return (1 - self.alpha) * marginal + self.alpha * bornmachine.log_partition() - joint


def criterion_of(config: CriterionConfig) -> AbstractCriterion:
    """The criterion that a configuration names.

    >>> criterion_of(CriterionConfig(name="mixed-nll", kwargs={"alpha": 0.1}))
    MixedNLL(alpha=0.1)
    """
    match config.name:
        case "negative log-likelihood":
            return ClassificationNLL()
        case "generative-nll":
            return ConditionalNLL()
        case "joint-nll":
            return JointNLL()
        case "mixed-nll":
            assert config.kwargs.alpha is not None  # the configuration refuses it
            return MixedNLL(config.kwargs.alpha)
