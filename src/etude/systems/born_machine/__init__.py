"""Born machines: a matrix product state that classifies, generates and knows its own density.

p(x, c) = |psi(x, c)|^2 / Z by Born's rule, with psi a matrix product state over embedded data and
one site for the class: class probabilities, densities, samples and the partition function are
exact and come from the same tensors.
"""

from etude.systems.born_machine.canonical import (
    Truncated,
    canonical,
    entanglement_entropy,
    left_canonical,
    right_canonical,
    truncate,
)
from etude.systems.born_machine.embeddings import EMBEDDINGS, Embedding
from etude.systems.born_machine.machine import BornMachine
from etude.systems.born_machine.marginals import (
    marginal_density,
    pair_matrix,
    site_amplitudes,
    site_matrices,
)
from etude.systems.born_machine.sampling import sample, sample_labels
from etude.systems.born_machine.views import Classifier, Generator

__all__ = [
    "EMBEDDINGS",
    "BornMachine",
    "Classifier",
    "Embedding",
    "Generator",
    "Truncated",
    "canonical",
    "entanglement_entropy",
    "left_canonical",
    "marginal_density",
    "pair_matrix",
    "right_canonical",
    "sample",
    "sample_labels",
    "site_amplitudes",
    "site_matrices",
    "truncate",
]
