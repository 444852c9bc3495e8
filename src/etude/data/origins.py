"""Where the data sets with a name come from: who is cited for them, and their licences."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Origin:
    """Of one data set.

    Attributes:
        citation: a BibTeX entry.
        licence: the licence of the data, in a sentence.
    """

    citation: str
    licence: str


DIGITS = Origin(
    """@misc{alpaydin1998optical,
  author = {Alpaydin, Ethem and Kaynak, Cenk},
  title = {Optical Recognition of Handwritten Digits},
  year = {1998},
  howpublished = {UCI Machine Learning Repository},
  doi = {10.24432/C50P49}
}""",
    "CC BY 4.0 (the digits of the UCI repository, in scikit-learn's copy).",
)

FASHION_MNIST = Origin(
    """@misc{xiao2017fashion,
  author = {Xiao, Han and Rasul, Kashif and Vollgraf, Roland},
  title = {Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning Algorithms},
  year = {2017},
  eprint = {1708.07747},
  archivePrefix = {arXiv}
}""",
    "MIT (Fashion-MNIST, Zalando SE).",
)
