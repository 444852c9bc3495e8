"""Born machines: a matrix product state that classifies, generates and knows its own density.

p(x, c) = |psi(x, c)|^2 / Z by Born's rule, with psi a matrix product state over embedded data and
one site for the class: class probabilities, densities, samples and the partition function are
exact and come from the same tensors.
"""

from etude.systems.born_machine.config import Config
from etude.systems.born_machine.criteria import (
    ClassificationNLL,
    ConditionalNLL,
    GenerativeNLL,
    JointNLL,
    MixedNLL,
)
from etude.systems.born_machine.critic import Critic
from etude.systems.born_machine.data import DataHandler
from etude.systems.born_machine.embeddings import EMBEDDINGS, Embedding
from etude.systems.born_machine.evaluator import PerformanceEvaluator
from etude.systems.born_machine.machine import BornMachine
from etude.systems.born_machine.sampling import sample, sample_labels
from etude.systems.born_machine.training import (
    AdversarialTrainer,
    ClassificationTrainer,
    GANStyleTrainer,
    GenerativeTrainer,
)
from etude.systems.born_machine.views import Classifier, Generator

__all__ = [
    "EMBEDDINGS",
    "AdversarialTrainer",
    "BornMachine",
    "ClassificationNLL",
    "ClassificationTrainer",
    "Classifier",
    "ConditionalNLL",
    "Config",
    "Critic",
    "DataHandler",
    "Embedding",
    "GANStyleTrainer",
    "GenerativeNLL",
    "GenerativeTrainer",
    "Generator",
    "JointNLL",
    "MixedNLL",
    "PerformanceEvaluator",
    "sample",
    "sample_labels",
]
