"""Born machines: a matrix product state that classifies, generates and knows its own density.

p(x, c) = |psi(x, c)|^2 / Z by Born's rule, with psi a matrix product state over embedded data and
one site for the class: class probabilities, densities, samples and the partition function are
exact and come from the same tensors.
"""

from etude.systems.born_machine.embeddings import EMBEDDINGS, Embedding
from etude.systems.born_machine.machine import BornMachine
from etude.systems.born_machine.sweep import TwoSiteSweep

__all__ = [
    "EMBEDDINGS",
    "BornMachine",
    "Embedding",
    "TwoSiteSweep",
]
