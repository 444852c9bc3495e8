"""Born machines: a matrix product state that classifies, generates and knows its own density.

p(x, c) = |psi(x, c)|^2 / Z by Born's rule, with psi a matrix product state over embedded data and
one site for the class: class probabilities, densities, samples and the partition function are
exact and come from the same tensors.
"""

from etude.systems.born_machine.attacks import (
    ascend,
    evade,
    fgm,
    joint_pgd,
    pgd,
)
from etude.systems.born_machine.canonical import (
    Truncated,
    canonical,
    entanglement_entropy,
    left_canonical,
    right_canonical,
    truncate,
)
from etude.systems.born_machine.config import (
    AdversarialConfig,
    ClassificationConfig,
    Config,
    GANStyleConfig,
    GenerativeConfig,
    TrackingConfig,
    TrainerConfig,
)
from etude.systems.born_machine.config_attacks import (
    EvasionConfig,
    PurificationConfig,
)
from etude.systems.born_machine.config_methods import (
    CriterionConfig,
    CriticConfig,
    DiscriminationConfig,
    GameSamplingConfig,
    MetricsConfig,
    OptimizerSpec,
    SamplingConfig,
)
from etude.systems.born_machine.config_model import (
    BornMachineConfig,
    DatasetConfig,
    MPSInitConfig,
)
from etude.systems.born_machine.criteria import (
    ClassificationNLL,
    ConditionalNLL,
    GenerativeNLL,
    JointNLL,
    MixedNLL,
)
from etude.systems.born_machine.critic import Critic
from etude.systems.born_machine.data import (
    DataHandler,
    Samples,
    Scaling,
)
from etude.systems.born_machine.densities import (
    DENSITIES,
)
from etude.systems.born_machine.embeddings import (
    EMBEDDINGS,
    Embedding,
)
from etude.systems.born_machine.evaluator import (
    PerformanceEvaluator,
)
from etude.systems.born_machine.labels import (
    of_label,
)
from etude.systems.born_machine.machine import (
    BornMachine,
    Classifier,
    Generator,
)
from etude.systems.born_machine.marginals import (
    marginal_density,
    pair_matrix,
    site_amplitudes,
    site_matrices,
)
from etude.systems.born_machine.metrics import (
    Moments,
    frechet_distance,
    likelihoods,
    maximum_mean_discrepancy,
    sliced_wasserstein,
)
from etude.systems.born_machine.plots import (
    plot_densities,
    plot_entanglement,
    plot_likelihoods,
    plot_samples,
)
from etude.systems.born_machine.purification import (
    detection_rates,
    detection_thresholds,
    purify,
    purify_by_gibbs,
    purify_by_likelihood,
)
from etude.systems.born_machine.sampling import (
    sample,
    sample_labels,
)
from etude.systems.born_machine.sweep import (
    TwoSiteSweep,
)
from etude.systems.born_machine.training import (
    AdversarialTrainer,
    BornResult,
    ClassificationTrainer,
    GANStyleTrainer,
    GenerativeTrainer,
)

__all__ = [
    "DENSITIES",
    "EMBEDDINGS",
    "AdversarialConfig",
    "AdversarialTrainer",
    "BornMachine",
    "BornMachineConfig",
    "BornResult",
    "ClassificationConfig",
    "ClassificationNLL",
    "ClassificationTrainer",
    "Classifier",
    "ConditionalNLL",
    "Config",
    "CriterionConfig",
    "Critic",
    "CriticConfig",
    "DataHandler",
    "DatasetConfig",
    "DiscriminationConfig",
    "Embedding",
    "EvasionConfig",
    "GANStyleConfig",
    "GANStyleTrainer",
    "GameSamplingConfig",
    "GenerativeConfig",
    "GenerativeNLL",
    "GenerativeTrainer",
    "Generator",
    "JointNLL",
    "MPSInitConfig",
    "MetricsConfig",
    "MixedNLL",
    "Moments",
    "OptimizerSpec",
    "PerformanceEvaluator",
    "PurificationConfig",
    "Samples",
    "SamplingConfig",
    "Scaling",
    "TrackingConfig",
    "TrainerConfig",
    "Truncated",
    "TwoSiteSweep",
    "ascend",
    "canonical",
    "detection_rates",
    "detection_thresholds",
    "entanglement_entropy",
    "evade",
    "fgm",
    "frechet_distance",
    "joint_pgd",
    "left_canonical",
    "likelihoods",
    "marginal_density",
    "maximum_mean_discrepancy",
    "of_label",
    "pair_matrix",
    "pgd",
    "plot_densities",
    "plot_entanglement",
    "plot_likelihoods",
    "plot_samples",
    "purify",
    "purify_by_gibbs",
    "purify_by_likelihood",
    "right_canonical",
    "sample",
    "sample_labels",
    "site_amplitudes",
    "site_matrices",
    "sliced_wasserstein",
    "truncate",
]
