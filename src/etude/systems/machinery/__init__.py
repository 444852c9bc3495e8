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

from etude.systems.machinery.bearings import (
    BEARINGS,
    SLIP,
    Bearing,
    Frequencies,
    Geometry,
    Orders,
    bearing,
    with_slip,
)
from etude.systems.machinery.downloads import (
    MFPT_CLASSES,
    mfpt,
)
from etude.systems.machinery.journal import (
    FLOW,
    LUBRICATION,
    JournalBearing,
    lubrication_regime,
)
from etude.systems.machinery.losses import (
    FrequencyConsistencyLoss,
    PhysicalConstraintLoss,
    PhysicsInformedLoss,
    SommerfeldConsistencyLoss,
    TemporalSmoothnessLoss,
    expected_penalty,
)
from etude.systems.machinery.models import (
    CNN1D,
    WDCNN,
    AbstractNetwork,
    HybridNetwork,
    ResNet1D,
    SpectrogramCNN,
)
from etude.systems.machinery.reading import (
    Recording,
    read_recording,
    read_records,
    records_of,
)
from etude.systems.machinery.records import (
    Records,
    Windows,
)
from etude.systems.machinery.rule import (
    EnvelopeRule,
)
from etude.systems.machinery.signals import (
    FEATURES,
    Kurtogram,
    Spectrum,
    TimeFrequency,
    analytic_signal,
    cepstrum_prewhitening,
    cwt,
    decibels,
    envelope,
    fast_kurtogram,
    features,
    log_spectrogram,
    prominence,
    resample,
    scalogram,
    spectrogram,
    squared_envelope_spectrum,
    stft,
    wigner_ville,
)
from etude.systems.machinery.simulation import (
    JOURNAL_CLASSES,
    JOURNAL_FAULTS,
    JOURNAL_LINES,
    ROLLING_CLASSES,
    SEVERITIES,
    JournalSimulation,
    RollingSimulation,
    Simulated,
    Traces,
    journal_faults,
    simulate,
)
from etude.systems.machinery.splits import (
    LEVELS,
    Groups,
    GroupSplit,
    Leak,
    Level,
    Purity,
    purity,
    split_by,
)

__all__ = [
    "BEARINGS",
    "CNN1D",
    "FEATURES",
    "FLOW",
    "JOURNAL_CLASSES",
    "JOURNAL_FAULTS",
    "JOURNAL_LINES",
    "LEVELS",
    "LUBRICATION",
    "MFPT_CLASSES",
    "ROLLING_CLASSES",
    "SEVERITIES",
    "SLIP",
    "WDCNN",
    "AbstractNetwork",
    "Bearing",
    "EnvelopeRule",
    "Frequencies",
    "FrequencyConsistencyLoss",
    "Geometry",
    "GroupSplit",
    "Groups",
    "HybridNetwork",
    "JournalBearing",
    "JournalSimulation",
    "Kurtogram",
    "Leak",
    "Level",
    "Orders",
    "PhysicalConstraintLoss",
    "PhysicsInformedLoss",
    "Purity",
    "Recording",
    "Records",
    "ResNet1D",
    "RollingSimulation",
    "Simulated",
    "SommerfeldConsistencyLoss",
    "SpectrogramCNN",
    "Spectrum",
    "TemporalSmoothnessLoss",
    "TimeFrequency",
    "Traces",
    "Windows",
    "analytic_signal",
    "bearing",
    "cepstrum_prewhitening",
    "cwt",
    "decibels",
    "envelope",
    "expected_penalty",
    "fast_kurtogram",
    "features",
    "journal_faults",
    "log_spectrogram",
    "lubrication_regime",
    "mfpt",
    "prominence",
    "purity",
    "read_recording",
    "read_records",
    "records_of",
    "resample",
    "scalogram",
    "simulate",
    "spectrogram",
    "split_by",
    "squared_envelope_spectrum",
    "stft",
    "wigner_ville",
    "with_slip",
]
