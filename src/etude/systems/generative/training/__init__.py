"""The seed's API: a trainer that keeps its place, its configurations and its callbacks."""

from etude.optim import OptimizerConfig, SchedulerConfig
from etude.systems.generative.training.callbacks import (
    BaseCallback,
    Logger,
    MetricsLogger,
    ProgressBarCallback,
    TensorBoardLoggerCallback,
    TensorBoardLoggerConfig,
    WandbLoggerCallback,
    WandbLoggerConfig,
)
from etude.systems.generative.training.config import TrainingConfig
from etude.systems.generative.training.distributed import DistributedTrainer
from etude.systems.generative.training.models import ModelConfig, create_model
from etude.systems.generative.training.objective import Batch, LossFn, Metrics
from etude.systems.generative.training.sampling import NoSamplerError
from etude.systems.generative.training.state import TrainingState
from etude.systems.generative.training.trainer import Trainer

__all__ = [
    "BaseCallback",
    "Batch",
    "DistributedTrainer",
    "Logger",
    "LossFn",
    "Metrics",
    "MetricsLogger",
    "ModelConfig",
    "NoSamplerError",
    "OptimizerConfig",
    "ProgressBarCallback",
    "SchedulerConfig",
    "TensorBoardLoggerCallback",
    "TensorBoardLoggerConfig",
    "Trainer",
    "TrainingConfig",
    "TrainingState",
    "WandbLoggerCallback",
    "WandbLoggerConfig",
    "create_model",
]
