"""Machine faults from vibration: bearings, signals, physics that trains, and splits that hold.

Recordings come from files (`read_recording`, `read_records`) or are simulated (`simulate`), are cut
into windows that inherit what they belong to, and are split at a stated level (`split_by`).
Functions of signals run on the device; losses by physics have a gradient through the class
probabilities.

>>> from etude.systems import machinery
>>> simulated = machinery.simulate(machinery.RollingSimulation(duration=0.5), per_class=12)
>>> windows = simulated.records.windows(5120)
>>> split = machinery.split_by(windows.groups, "bearing", labels=windows.labels)
>>> print(split.describe(windows.groups))
bearing-wise split: 16/4/4 bearings, 32/8/8 conditions, 32/8/8 recordings, 64/16/16 windows.
"""

from etude.systems.machinery.bearings import (BEARINGS, Bearing, Frequencies, Geometry, Orders, SLIP, bearing, with_slip,)
from etude.systems.machinery.downloads import (MFPT_CLASSES, mfpt,)
from etude.systems.machinery.journal import (FLOW, JournalBearing, LUBRICATION, lubrication_regime,)
from etude.systems.machinery.losses import (FrequencyConsistencyLoss, PhysicalConstraintLoss, PhysicsInformedLoss, SommerfeldConsistencyLoss, TemporalSmoothnessLoss, expected_penalty,)
from etude.systems.machinery.models import (AbstractNetwork, CNN1D, HybridNetwork, ResNet1D, SpectrogramCNN, WDCNN,)
from etude.systems.machinery.reading import (Recording, read_recording, read_records, records_of,)
from etude.systems.machinery.records import (Records, Windows,)
from etude.systems.machinery.rule import (EnvelopeRule,)
from etude.systems.machinery.signals import (FEATURES, Kurtogram, Spectrum, TimeFrequency, analytic_signal, cepstrum_prewhitening, cwt, decibels, envelope, fast_kurtogram, features, log_spectrogram, prominence, resample, scalogram, spectrogram, squared_envelope_spectrum, stft, wigner_ville,)
from etude.systems.machinery.simulation import (JOURNAL_CLASSES, JOURNAL_FAULTS, JOURNAL_LINES, JournalSimulation, ROLLING_CLASSES, RollingSimulation, SEVERITIES, Simulated, Traces, journal_faults, simulate,)
from etude.systems.machinery.splits import (GroupSplit, Groups, LEVELS, Leak, Level, Purity, purity, split_by,)
from etude.systems.machinery.training import (CNNTrainer, CallbackList, Comparison, DistillationTrainer, EarlyStopping, LearningRateScheduler, MixedPrecisionTrainer, ModelCheckpoint, MultiTFRTrainer, PINNTrainer, PINNTrainingState, ProgressiveResizingTrainer, ResizableSignalDataset, Settings, SpectrogramTrainer, Trainer, TrainingState, check_mixed_precision_support, compare_teacher_student, enable_mixed_precision, metric_name, multi_label_loss, resize,)

__all__ = ["AbstractNetwork", "BEARINGS", "Bearing", "CNN1D", "CNNTrainer", "CallbackList", "Comparison", "DistillationTrainer", "EarlyStopping", "EnvelopeRule", "FEATURES", "FLOW", "Frequencies", "FrequencyConsistencyLoss", "Geometry", "GroupSplit", "Groups", "HybridNetwork", "JOURNAL_CLASSES", "JOURNAL_FAULTS", "JOURNAL_LINES", "JournalBearing", "JournalSimulation", "Kurtogram", "LEVELS", "LUBRICATION", "Leak", "LearningRateScheduler", "Level", "MFPT_CLASSES", "MixedPrecisionTrainer", "ModelCheckpoint", "MultiTFRTrainer", "Orders", "PINNTrainer", "PINNTrainingState", "PhysicalConstraintLoss", "PhysicsInformedLoss", "ProgressiveResizingTrainer", "Purity", "ROLLING_CLASSES", "Recording", "Records", "ResNet1D", "ResizableSignalDataset", "RollingSimulation", "SEVERITIES", "SLIP", "Settings", "Simulated", "SommerfeldConsistencyLoss", "SpectrogramCNN", "SpectrogramTrainer", "Spectrum", "TemporalSmoothnessLoss", "TimeFrequency", "Traces", "Trainer", "TrainingState", "WDCNN", "Windows", "analytic_signal", "bearing", "cepstrum_prewhitening", "check_mixed_precision_support", "compare_teacher_student", "cwt", "decibels", "enable_mixed_precision", "envelope", "expected_penalty", "fast_kurtogram", "features", "journal_faults", "log_spectrogram", "lubrication_regime", "metric_name", "mfpt", "multi_label_loss", "prominence", "purity", "read_recording", "read_records", "records_of", "resample", "resize", "scalogram", "simulate", "spectrogram", "split_by", "squared_envelope_spectrum", "stft", "wigner_ville", "with_slip",]
