"""Generative models, every family through one `fit`.

>>> import jax, jax.numpy as jnp, optax
>>> import etude as et
>>> from etude.systems import generative
>>> model = generative.VAE.create(jax.random.key(0), (4,), latent=2, hidden=(8,))
>>> learner = et.Learner(et.Gradient(generative.Bound()), optax.adam(1e-3))
>>> phase = et.Phase("fit", learner, et.ArrayData(jnp.ones((8, 4)), 4), et.Steps(2))
>>> et.Trainer(model, phase, progress=False).fit().model.sample(jax.random.key(1), 2).shape
(2, 4)
"""

from etude.systems.generative.adversarial import Adversarial
from etude.systems.generative.bounds import Bound, log_likelihood, log_mean_exp
from etude.systems.generative.convolutional import PictureDecoder, PictureEncoder
from etude.systems.generative.denoisers import Denoiser, TimePerceptron
from etude.systems.generative.densities import (
    DENSITIES,
    Checkerboard,
    Density,
    Gaussian2D,
    Gaussians,
    Moons,
    Ring,
)
from etude.systems.generative.diffusion import Denoising, Diffusion
from etude.systems.generative.energy import Contrastive, DenoisingScore, EnergyModel
from etude.systems.generative.exact import (
    NegativeLogLikelihood,
    bits_per_dim,
    dequantised,
)
from etude.systems.generative.flows import Affine, Autoregressive, Coupling, Flow, Spline
from etude.systems.generative.gan import GAN
from etude.systems.generative.langevin import Langevin
from etude.systems.generative.likelihoods import Bernoulli, Gaussian, Likelihood
from etude.systems.generative.made import MADE
from etude.systems.generative.masked import MaskedPerceptron
from etude.systems.generative.matching import ContinuousFlow, FlowMatching
from etude.systems.generative.metrics import (
    Estimate,
    frechet_distance,
    frechet_value,
    mean_discrepancy,
    memorised,
    precision,
    recall,
    sliced_distance,
    sliced_wasserstein,
)
from etude.systems.generative.perceptron import Perceptron
from etude.systems.generative.plots import picture_grid
from etude.systems.generative.quantised import VQVAE, CodePrior, Quantisation
from etude.systems.generative.schedules import Schedule
from etude.systems.generative.space import DataSpace
from etude.systems.generative.spectral import SpectralNorm
from etude.systems.generative.training import (
    BaseCallback,
    Batch,
    DistributedTrainer,
    Logger,
    LossFn,
    Metrics,
    MetricsLogger,
    ModelConfig,
    NoSamplerError,
    OptimizerConfig,
    ProgressBarCallback,
    SchedulerConfig,
    TensorBoardLoggerCallback,
    TensorBoardLoggerConfig,
    Trainer,
    TrainingConfig,
    TrainingState,
    WandbLoggerCallback,
    WandbLoggerConfig,
    create_model,
)
from etude.systems.generative.transformer import CausalTransformer
from etude.systems.generative.unet import UNet
from etude.systems.generative.vae import VAE, Posterior
from etude.systems.generative.wasserstein import WassersteinMMD, squared_mmd
from etude.systems.generative.watching import Samples, figure_of

__all__ = [
    "DENSITIES",
    "GAN",
    "MADE",
    "VAE",
    "VQVAE",
    "Adversarial",
    "Affine",
    "Autoregressive",
    "BaseCallback",
    "Batch",
    "Bernoulli",
    "Bound",
    "CausalTransformer",
    "Checkerboard",
    "CodePrior",
    "ContinuousFlow",
    "Contrastive",
    "Coupling",
    "DataSpace",
    "Denoiser",
    "Denoising",
    "DenoisingScore",
    "Density",
    "Diffusion",
    "DistributedTrainer",
    "EnergyModel",
    "Estimate",
    "Flow",
    "FlowMatching",
    "Gaussian",
    "Gaussian2D",
    "Gaussians",
    "Langevin",
    "Likelihood",
    "Logger",
    "LossFn",
    "MaskedPerceptron",
    "Metrics",
    "MetricsLogger",
    "ModelConfig",
    "Moons",
    "NegativeLogLikelihood",
    "NoSamplerError",
    "OptimizerConfig",
    "Perceptron",
    "PictureDecoder",
    "PictureEncoder",
    "Posterior",
    "ProgressBarCallback",
    "Quantisation",
    "Ring",
    "Samples",
    "Schedule",
    "SchedulerConfig",
    "SpectralNorm",
    "Spline",
    "TensorBoardLoggerCallback",
    "TensorBoardLoggerConfig",
    "TimePerceptron",
    "Trainer",
    "TrainingConfig",
    "TrainingState",
    "UNet",
    "WandbLoggerCallback",
    "WandbLoggerConfig",
    "WassersteinMMD",
    "bits_per_dim",
    "create_model",
    "dequantised",
    "figure_of",
    "frechet_distance",
    "frechet_value",
    "log_likelihood",
    "log_mean_exp",
    "mean_discrepancy",
    "memorised",
    "picture_grid",
    "precision",
    "recall",
    "sliced_distance",
    "sliced_wasserstein",
    "squared_mmd",
]
