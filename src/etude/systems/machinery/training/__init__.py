"""Trainers by the names of the seed, each of which composes phases over the engine."""

from etude.systems.machinery.training.calibrating import calibration as calibration
from etude.systems.machinery.training.callbacks import (
    CallbackList as CallbackList,
    EarlyStopping as EarlyStopping,
    ModelCheckpoint as ModelCheckpoint,
    metric_name as metric_name,
)
from etude.systems.machinery.training.cnn import CNNTrainer as CNNTrainer
from etude.systems.machinery.training.comparing import (
    Comparison as Comparison,
    compare_teacher_student as compare_teacher_student,
)
from etude.systems.machinery.training.distillation import DistillationTrainer as DistillationTrainer
from etude.systems.machinery.training.mixed_precision import (
    MixedPrecisionTrainer as MixedPrecisionTrainer,
    check_mixed_precision_support as check_mixed_precision_support,
    enable_mixed_precision as enable_mixed_precision,
)
from etude.systems.machinery.training.multi_tfr import MultiTFRTrainer as MultiTFRTrainer
from etude.systems.machinery.training.objective import multi_label_loss as multi_label_loss
from etude.systems.machinery.training.pinn import PINNTrainer as PINNTrainer
from etude.systems.machinery.training.progressive import (
    ProgressiveResizingTrainer as ProgressiveResizingTrainer,
)
from etude.systems.machinery.training.rates import LearningRateScheduler as LearningRateScheduler
from etude.systems.machinery.training.resizing import (
    ResizableSignalDataset as ResizableSignalDataset,
    resize as resize,
)
from etude.systems.machinery.training.settings import TrainerSettings as TrainerSettings
from etude.systems.machinery.training.spectrogram import SpectrogramTrainer as SpectrogramTrainer
from etude.systems.machinery.training.state import (
    PINNTrainingState as PINNTrainingState,
    TrainingState as TrainingState,
)
from etude.systems.machinery.training.stateful import Trainer as Trainer
