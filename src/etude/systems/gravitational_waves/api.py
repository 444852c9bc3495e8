"""The public names of `etude.systems.gravitational_waves`: one explicit list."""

from etude.systems.gravitational_waves.bank import (
    SignalBank,
    signal_bank,
)
from etude.systems.gravitational_waves.chirps import (
    chirp_filters,
)
from etude.systems.gravitational_waves.curves import (
    CURVES,
    NoiseCurve,
    noise_curve,
)
from etude.systems.gravitational_waves.detectors import (
    DETECTORS,
    H1,
    L1,
    V1,
    Detector,
    gmst,
)
from etude.systems.gravitational_waves.downloads import (
    gw150914,
)
from etude.systems.gravitational_waves.encoder import (
    CPCEncoder,
    Features,
)
from etude.systems.gravitational_waves.glitches import (
    GLITCHES,
    Glitches,
    draw_glitch,
    glitch_stream,
)
from etude.systems.gravitational_waves.injections import (
    project,
    rescale_to_snr,
    responses_and_delays,
    whitened_quadratures,
    whitened_signals,
)
from etude.systems.gravitational_waves.losses import (
    Predictors,
    calculate_fixed_cpc_loss,
    cpc_loss,
    neighbour_info_nce,
)
from etude.systems.gravitational_waves.network import (
    SpikingNetwork,
)
from etude.systems.gravitational_waves.noise import (
    coloured_noise,
)
from etude.systems.gravitational_waves.population import (
    Parameters,
    Population,
)
from etude.systems.gravitational_waves.reading import (
    read_strain,
)
from etude.systems.gravitational_waves.simulation import (
    inject,
    injection_times,
    simulate_stream,
)
from etude.systems.gravitational_waves.spectra import (
    PowerSpectrum,
    Spectrum,
    estimate_psd,
    optimal_snr,
    whiten,
    whitening_filter,
)
from etude.systems.gravitational_waves.spiking import (
    SNNClassifier,
    SpikeBridge,
)
from etude.systems.gravitational_waves.strain import (
    Strain,
)
from etude.systems.gravitational_waves.streams import (
    Injections,
    Stream,
    split_by_time,
)
from etude.systems.gravitational_waves.training import (
    UnifiedTrainer,
    create_composite_loss,
)
from etude.systems.gravitational_waves.waveforms import (
    polarizations,
)
from etude.systems.gravitational_waves.windows import (
    Mixed,
    Mixing,
)

__all__ = [
    "CURVES",
    "DETECTORS",
    "GLITCHES",
    "H1",
    "L1",
    "V1",
    "CPCEncoder",
    "Detector",
    "Features",
    "Glitches",
    "Injections",
    "Mixed",
    "Mixing",
    "NoiseCurve",
    "Parameters",
    "Population",
    "PowerSpectrum",
    "Predictors",
    "SNNClassifier",
    "SignalBank",
    "Spectrum",
    "SpikeBridge",
    "SpikingNetwork",
    "Strain",
    "Stream",
    "UnifiedTrainer",
    "calculate_fixed_cpc_loss",
    "chirp_filters",
    "coloured_noise",
    "cpc_loss",
    "create_composite_loss",
    "draw_glitch",
    "estimate_psd",
    "glitch_stream",
    "gmst",
    "gw150914",
    "inject",
    "injection_times",
    "neighbour_info_nce",
    "noise_curve",
    "optimal_snr",
    "polarizations",
    "project",
    "read_strain",
    "rescale_to_snr",
    "responses_and_delays",
    "signal_bank",
    "simulate_stream",
    "split_by_time",
    "whiten",
    "whitened_quadratures",
    "whitened_signals",
    "whitening_filter",
]
