"""Callbacks: what happens beside the training: stopping, saving, showing, recording."""

from etude.callbacks.base import (
    Callback as Callback,
    Event as Event,
    Reason as Reason,
    Request as Request,
    Save as Save,
    StepMetrics as StepMetrics,
    Stop as Stop,
)
from etude.callbacks.checkpointing import ModelCheckpoint as ModelCheckpoint
from etude.callbacks.learning_rate import LearningRateMonitor as LearningRateMonitor
from etude.callbacks.progress import Progress as Progress
from etude.callbacks.stopping import EarlyStopping as EarlyStopping
