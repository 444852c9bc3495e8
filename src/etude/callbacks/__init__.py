"""Callbacks: what happens beside the training: stopping, saving, showing, recording.

Packages that a logger needs are imported when training begins, not before.
"""

from etude.callbacks.base import (
    Callback as Callback,
    Event as Event,
    Exchange as Exchange,
    Reason as Reason,
    Request as Request,
    Save as Save,
    Show as Show,
    StepMetrics as StepMetrics,
    Stop as Stop,
)
from etude.callbacks.checkpointing import ModelCheckpoint as ModelCheckpoint
from etude.callbacks.gradients import GradientMonitor as GradientMonitor
from etude.callbacks.learning_rate import LearningRateMonitor as LearningRateMonitor
from etude.callbacks.live_plot import LivePlot as LivePlot
from etude.callbacks.log_csv import CSVLogger as CSVLogger
from etude.callbacks.log_mlflow import MLflowLogger as MLflowLogger
from etude.callbacks.log_tensorboard import TensorBoardLogger as TensorBoardLogger
from etude.callbacks.log_trackio import TrackioLogger as TrackioLogger
from etude.callbacks.log_wandb import WandbLogger as WandbLogger
from etude.callbacks.loggers import Logger as Logger
from etude.callbacks.profiler import Profiler as Profiler
from etude.callbacks.progress import Progress as Progress
from etude.callbacks.selection import Selection as Selection
from etude.callbacks.stopping import EarlyStopping as EarlyStopping
from etude.callbacks.timing import Timing as Timing
from etude.callbacks.writer import Picture as Picture, Scalars as Scalars
