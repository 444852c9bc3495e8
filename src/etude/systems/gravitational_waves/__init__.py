"""Gravitational waves of merging black holes, found by a contrastive encoder and spiking neurons.

Signals, noise and real strain; the networks and their three phases of training; and the measures
of the field, with a matched filter on the same injections as the ceiling.
"""

from etude.systems.gravitational_waves.bank import SignalBank, signal_bank
from etude.systems.gravitational_waves.curves import (
    CURVES,
    NoiseCurve,
    noise_curve,
)
from etude.systems.gravitational_waves.detectors import DETECTORS, H1, L1, V1, Detector, gmst
from etude.systems.gravitational_waves.glitches import (
    GLITCHES,
    Glitches,
    draw_glitch,
    glitch_stream,
)
from etude.systems.gravitational_waves.injections import (
    project,
    rescale_to_snr,
    whitened_signals,
)
from etude.systems.gravitational_waves.noise import coloured_noise
from etude.systems.gravitational_waves.population import Parameters, Population
from etude.systems.gravitational_waves.spectra import (
    PowerSpectrum,
    Spectrum,
    estimate_psd,
    optimal_snr,
    whiten,
    whitening_filter,
)
from etude.systems.gravitational_waves.strain import Strain, read_strain
from etude.systems.gravitational_waves.waveforms import polarizations
from etude.systems.gravitational_waves.windows import Mixed, Mixing

__all__ = [
    "CURVES",
    "DETECTORS",
    "GLITCHES",
    "H1",
    "L1",
    "V1",
    "Detector",
<<<<<<< HEAD
    "Glitches",
=======
    "Mixed",
    "Mixing",
>>>>>>> gw-signals
    "NoiseCurve",
    "Parameters",
    "Population",
    "PowerSpectrum",
    "SignalBank",
    "Spectrum",
    "Strain",
    "coloured_noise",
    "draw_glitch",
    "estimate_psd",
    "glitch_stream",
    "gmst",
    "noise_curve",
    "optimal_snr",
    "polarizations",
    "project",
    "read_strain",
    "rescale_to_snr",
    "signal_bank",
    "whiten",
    "whitened_signals",
    "whitening_filter",
]
