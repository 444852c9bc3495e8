"""Signals on the device: spectra over time, envelopes, bands, whitening, features.

Each function takes signals with time last and any axes before it, and works inside `jax.jit`,
with the sample rate a number known when it is compiled.
"""

from etude.systems.machinery.signals.envelopes import (
    Spectrum as Spectrum,
    analytic_signal as analytic_signal,
    envelope as envelope,
    squared_envelope_spectrum as squared_envelope_spectrum,
)
from etude.systems.machinery.signals.kurtogram import (
    Kurtogram as Kurtogram,
    fast_kurtogram as fast_kurtogram,
)
from etude.systems.machinery.signals.lines import (
    background as background,
    peak_power as peak_power,
    prominence as prominence,
)
from etude.systems.machinery.signals.resampling import (
    resample as resample,
)
from etude.systems.machinery.signals.spectrograms import (
    TimeFrequency as TimeFrequency,
    decibels as decibels,
    log_spectrogram as log_spectrogram,
    spectrogram as spectrogram,
    stft as stft,
)
from etude.systems.machinery.signals.statistics import (
    FEATURES as FEATURES,
    features as features,
)
from etude.systems.machinery.signals.wavelets import (
    cwt as cwt,
    scalogram as scalogram,
)
from etude.systems.machinery.signals.whitening import (
    cepstrum_prewhitening as cepstrum_prewhitening,
)
from etude.systems.machinery.signals.wigner import (
    wigner_ville as wigner_ville,
)
