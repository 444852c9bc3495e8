"""Streams made up: Gaussian noise, and signals injected into it or into real strain.

>>> from etude.systems.gravitational_waves.curves import noise_curve
>>> curve = noise_curve("aLIGO-O4")
>>> rng = np.random.default_rng(0)
>>> stream = simulate_stream(rng, (curve, curve), duration=96.0, population=Population())
>>> stream.values.shape, len(stream.injections.times)
((196608, 2), 2)
>>> stream.whitened((curve, curve))
Stream(H1 L1, GPS 1262304020 to 1262304112, 2 injections)
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float64

import etude as et
from etude.systems.gravitational_waves.detectors import H1, L1, Detector, gmst
from etude.systems.gravitational_waves.injections import project, rescale_to_snr
from etude.systems.gravitational_waves.noise import coloured_noise
from etude.systems.gravitational_waves.population import Parameters, Population
from etude.systems.gravitational_waves.spectra import PowerSpectrum, optimal_snr
from etude.systems.gravitational_waves.strain import Strain
from etude.systems.gravitational_waves.streams import (
    AFTER_MERGER,
    BEFORE_MERGER,
    Injections,
    Stream,
    check_spectra,
)

_BATCH = 32  # injections at a time, 25 MB of strain


def injection_times(
    rng: np.random.Generator,
    start: float,
    end: float,
    spacing: float = 24.0,
    window: float = 6.0,
    margin: float = 30.0,
) -> Float64[np.ndarray, " n"]:
    """GPS times that follow each other by `spacing` and up to `window` seconds more.

    As in the Machine Learning Gravitational-Wave Search Challenge, arXiv:2209.11146.

    Args:
        rng: generator of the draws.
        start: GPS time, seconds.
        end: GPS time, seconds.
        spacing: least seconds from one to the next.
        window: seconds; each follows at random within.
        margin: seconds without a time at either end.

    >>> injection_times(np.random.default_rng(0), 0.0, 120.0).round(1)
    array([33.8, 59.4, 83.7])
    """
    most = max(int((end - start - 2 * margin) / spacing) + 1, 0)
    gaps = rng.uniform(spacing, spacing + window, most)
    times = start + margin - spacing + np.cumsum(gaps)
    return times[times < end - margin]


def inject(
    strains: tuple[Strain, ...],
    psds: Sequence[PowerSpectrum],
    parameters: Parameters,
    times: Float64[np.ndarray, " n"],
    detectors: Sequence[Detector] = (H1, L1),
    network_snr: Float64[np.ndarray, " n"] | None = None,
) -> Stream:
    """Adds signals to strain, real or simulated.

    Args:
        strains: one per detector, in the order of `detectors`; they stay as they are.
        psds: spectra of their noise, one per detector; the signal-to-noise ratios refer to them.
        parameters: the binaries.
        times: GPS times at which they merge, as seen at the centre of the Earth.
        detectors: where the strains were taken.
        network_snr: move each binary to the distance at which it has this ratio; None: leave it.

    Raises:
        DataError: strains that do not fit together or to the detectors, or a time outside.

    >>> from etude.systems.gravitational_waves.curves import noise_curve
    >>> quiet = tuple(Strain(np.zeros(32 * 2048), 2048.0, 0.0, name) for name in ("H1", "L1"))
    >>> curves, binary = 2 * [noise_curve("A+")], Parameters.of(36.0, 29.0)
    >>> at, loud = np.array([28.0]), np.array([12.0])
    >>> inject(quiet, curves, binary, at, network_snr=loud).injections.network_snr.round(6)
    array([12.])
    """
    stream = Stream(strains)
    check_spectra(strains, psds)
    names = [detector.name for detector in detectors]
    if names != [strain.detector for strain in strains]:
        raise et.DataError(
            f"inject: strains of {stream!r} for detectors {names}; bring them in order."
        )
    if np.any((times < stream.start) | (times >= stream.end)):
        raise et.DataError(
            f"inject: mergers from {times.min():.12g} to {times.max():.12g}; expected all inside "
            f"{stream.start:.12g} to {stream.end:.12g}."
        )
    order = np.argsort(times)
    parameters, times = parameters[order], times[order]
    target = None if network_snr is None else network_snr[order]
    rate = stream.sample_rate
    firsts = np.floor((times - stream.start - BEFORE_MERGER) * rate).astype(int)
    mergers = times - stream.start - firsts / rate
    sums = [strain.values.copy() for strain in strains]
    snr = np.zeros((len(times), len(detectors)))
    distances = parameters.distance.copy()
    for low in range(0, len(times), _BATCH):
        part = slice(low, low + _BATCH)
        signals = project(
            parameters[part],
            detectors,
            rate,
            BEFORE_MERGER + AFTER_MERGER,
            mergers[part],
            gmst(times[part]),
        )
        for i, psd in enumerate(psds):
            snr[part, i] = optimal_snr(signals[..., i], rate, psd, (20.0, min(1024.0, rate / 2)))
        if target is not None:
            moved = rescale_to_snr(parameters[part], snr[part], target[part])
            louder = parameters.distance[part] / moved.distance
            signals *= louder[:, None, None]
            snr[part] *= louder[:, None]
            distances[part] = moved.distance
        for first, signal in zip(firsts[part], signals, strict=True):
            skipped = max(-first, 0)  # what lies before the stream
            for values, felt in zip(sums, signal.T, strict=True):
                place = values[first + skipped : first + len(felt)]
                place += felt[skipped : skipped + len(place)]
    done = tuple(replace(strain, values=x) for strain, x in zip(strains, sums, strict=True))
    return Stream(done, Injections(times, parameters.at(distances), snr))


def simulate_stream(
    rng: np.random.Generator,
    psds: Sequence[PowerSpectrum],
    duration: float,
    population: Population | None = None,
    snr: tuple[float, float] | None = None,
    detectors: Sequence[Detector] = (H1, L1),
    sample_rate: float = 2048.0,
    start: float = 1262304018.0,
    spacing: float = 24.0,
    window: float = 6.0,
) -> Stream:
    """Gaussian noise of any length, independent in each detector, with injections.

    Streams that must be independent, as those of training and test, take spawned generators:
    ``rng_train, rng_test = np.random.default_rng(seed).spawn(2)``.

    Args:
        rng: draws noise, binaries and times.
        psds: spectra of the noise, one per detector.
        duration: length of the stream, seconds.
        population: what binaries are drawn from; None: noise alone.
        snr: range of the network signal-to-noise ratio, uniform; None: as the population has it.
        detectors: where on the Earth the strain is felt.
        sample_rate: Hz.
        start: GPS time of the first sample, seconds.
        spacing: seconds, see `injection_times`.
        window: seconds, see `injection_times`.

    >>> from etude.systems.gravitational_waves.curves import noise_curve
    >>> simulate_stream(np.random.default_rng(0), 2 * [noise_curve("A+")], 8.0)
    Stream(H1 L1, GPS 1262304018 to 1262304026, 0 injections)
    """
    check_spectra(detectors, psds)
    *noises, times_rng, signal_rng = rng.spawn(len(detectors) + 2)
    strains = tuple(
        Strain(coloured_noise(noise, psd, duration, sample_rate), sample_rate, start, detector.name)
        for noise, psd, detector in zip(noises, psds, detectors, strict=True)
    )
    if population is None:
        return Stream(strains)
    times = injection_times(times_rng, start, start + duration, spacing, window)
    binaries = population.draw(signal_rng, len(times))
    target = None if snr is None else signal_rng.uniform(*snr, len(times))
    return inject(strains, psds, binaries, times, detectors, target)
