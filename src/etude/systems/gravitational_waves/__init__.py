"""Gravitational waves: simulated and real strain, and detectors of compact binaries in it.

The strain of two detectors is whitened, encoded, turned into spikes and classified; the judge is
the matched filter on the same injections.
"""

from etude.systems.gravitational_waves.curves import (
    CURVES as CURVES,
    NoiseCurve as NoiseCurve,
    noise_curve as noise_curve,
)
from etude.systems.gravitational_waves.glitches import (
    GLITCHES as GLITCHES,
    Glitches as Glitches,
    draw_glitch as draw_glitch,
    glitch_stream as glitch_stream,
)
from etude.systems.gravitational_waves.noise import coloured_noise as coloured_noise
from etude.systems.gravitational_waves.spectra import (
    PowerSpectrum as PowerSpectrum,
    Spectrum as Spectrum,
    estimate_psd as estimate_psd,
    optimal_snr as optimal_snr,
    whiten as whiten,
    whitening_filter as whitening_filter,
)
from etude.systems.gravitational_waves.strain import Strain as Strain, read_strain as read_strain
