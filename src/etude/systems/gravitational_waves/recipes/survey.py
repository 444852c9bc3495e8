"""A mock search: injections in hours of noise, noise alone, and what a search makes of them.

As in the challenge MLGWSC-1 (arXiv:2209.11146), data set 1: binaries without spin, uniform in the
volume of their chirp distance, one every 24 to 30 s, in the noise of a known curve. A matched
filter searches exactly the same data.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from jaxtyping import Float32, Float64

from etude.systems.gravitational_waves.bank import SPLITS
from etude.systems.gravitational_waves.curves import noise_curve
from etude.systems.gravitational_waves.pipeline.background import HOUR, Background
from etude.systems.gravitational_waves.pipeline.coincidence import coincidences, slide_background
from etude.systems.gravitational_waves.pipeline.matched_filter import (
    DetectorTriggers,
    MatchedFilter,
)
from etude.systems.gravitational_waves.pipeline.network import Sliding
from etude.systems.gravitational_waves.pipeline.sensitivity import (
    chirp_volumes,
    efficiency,
    sensitive_distance,
)
from etude.systems.gravitational_waves.pipeline.templates import template_bank
from etude.systems.gravitational_waves.pipeline.timing import CONFIDENCE, Timing, calibrate
from etude.systems.gravitational_waves.pipeline.triggers import Triggers, loudest_near
from etude.systems.gravitational_waves.population import (
    CHIRP_MASS_OF_NEUTRON_STARS,
    Parameters,
    Population,
)
from etude.systems.gravitational_waves.simulation import simulate_stream

#: False alarms per hour at which a search is judged; the first one is the headline.
RATES = (1.0, 10.0, 100.0)
#: Network SNR, the edges of the bins of the efficiency.
EDGES = np.array([4.0, 6.0, 7.0, 8.0, 9.0, 10.0, 12.0, 15.0, 20.0])
#: Seconds between a merger and its trigger at most, and of a cluster.
TOLERANCE, CLUSTER = 0.3, 0.5
_RATE = 2048.0  # Hz
_FARTHEST = 300.0  # Mpc, chirp distance
_SLIDES = 20


@dataclass(frozen=True, eq=False)
class Piece:
    """A stretch of whitened strain, and the mergers in it.

    Attributes:
        values: whitened; in float32, which holds unit variance well.
        start: GPS time of the first sample.
        times: GPS times of the mergers.
        parameters: the binaries; None in noise alone.
        snr: optimal network SNR of each.
    """

    values: Float32[np.ndarray, "samples detectors"]
    start: float
    times: Float64[np.ndarray, " n"]
    parameters: Parameters | None
    snr: Float64[np.ndarray, " n"]

    @property
    def span(self) -> tuple[float, float]:
        """GPS times of start and end."""
        return self.start, self.start + len(self.values) / _RATE


@dataclass(frozen=True)
class Survey:
    """A mock search of a noise curve.

    Attributes:
        curve: name of the noise curve of both detectors.
        foreground: hours with injections.
        background: hours of noise alone, of the network.
        slid: hours of noise alone that the matched filter slides in time.
        seed: seed of all draws.
        split: draws of different splits are independent.
        piece: seconds of data that are held as one.
        band: band of the whitened data, Hz.
    """

    curve: str = "aLIGO-O4"
    foreground: float = 3.0
    background: float = 4.0
    slid: float = 1.0
    seed: int = 0
    split: str = "test"
    piece: float = 1800.0
    band: tuple[float, float] = (20.0, 1024.0)

    def judge(
        self, statistic: Callable[[Any], Any], window: float, stride: float
    ) -> dict[str, float]:
        """What a network finds, as `verdict` says, and how well it tells the times.

        Foreground and background are clustered alike. The times of the triggers are calibrated in
        noise of the validation split, see `calibrate`; `time_bias` (signed median) and
        `time_error` (90 % are nearer) are seconds between the injections that are found at the
        first rate and their triggers.

        Args:
            statistic: how signal-like windows are, a function of a batch of them.
            window: length of a window, seconds.
            stride: seconds between windows.
        """
        sliding = Sliding(statistic, _RATE, window, stride, merger=0.0)
        timing = self._timing(sliding)

        def search(piece: Piece) -> Triggers:
            return timing.triggers(sliding.triggers(piece.values, piece.start), CLUSTER)

        slides = [search(piece) for piece in pieces(self, injected=False)]
        background = Background.of(slides, len(slides) * self.piece)
        injected = pieces(self, injected=True)
        triggers = [search(piece) for piece in injected]
        near = [
            loudest_near(found, piece.times, TOLERANCE)
            for found, piece in zip(triggers, injected, strict=True)
        ]
        loud = background.threshold(RATES[0] / HOUR)
        late = np.concatenate(
            [
                lateness(found[found.statistic > loud], piece.times)
                for found, piece in zip(triggers, injected, strict=True)
            ]
        )
        bias = float(np.median(late)) if len(late) else float("nan")
        error = float(np.quantile(np.abs(late), CONFIDENCE)) if len(late) else float("nan")
        found = verdict(np.concatenate(near), background, injected)
        return {**found, "time_bias": bias, "time_error": error}

    def _timing(self, sliding: Sliding) -> Timing:
        """The times of the search's triggers, calibrated in a minute of noise of its own."""
        psds = (noise_curve(self.curve),) * 2
        key = np.random.SeedSequence(self.seed, spawn_key=(SPLITS.index("valid"), 2))
        noise_rng, signal_rng = np.random.default_rng(key).spawn(2)
        stream = simulate_stream(noise_rng, psds, 64.0).whitened(psds, self.band)
        values = sliding.values(stream.values)
        return calibrate(
            sliding,
            stream.values,
            psds,
            signal_rng,
            float(np.median(values)),
            float(values.max()),  # what noise exceeds about once a minute
            band=self.band,
        )


def lateness(
    triggers: Triggers, times: Float64[np.ndarray, " n"], reach: float = 1.0
) -> Float64[np.ndarray, " found"]:
    """Seconds from each merger to the loudest trigger within `reach`, of those that have one.

    >>> lateness(Triggers(np.array([1.5, 1.75]), np.array([5.0, 4.0])), np.array([1.25, 9.0]))
    array([0.25])
    """
    late = []
    for time in times:
        near = triggers[np.abs(triggers.time - time) <= reach]
        if len(near):
            late.append(near.loudest[0] - time)
    return np.asarray(late, np.float64)


@lru_cache(maxsize=2)
def matched_filter(survey: Survey) -> dict[str, float]:
    """What a matched filter finds in the same data: the ceiling.

    Its templates have no spin, as the injections; see `template_bank` for what they miss.
    """
    psd = noise_curve(survey.curve)
    bank = template_bank(psd, np.random.default_rng(survey.seed), band=survey.band)
    engine = MatchedFilter(bank, psd, band=survey.band)

    def search(piece: Piece) -> tuple[DetectorTriggers, DetectorTriggers]:
        first, second = (
            engine.triggers(np.ascontiguousarray(piece.values[:, k], np.float64), piece.start)
            for k in range(2)
        )
        return first, second

    slides = [
        slide_background(*search(piece), span=piece.span, count=_SLIDES)
        for piece in pieces(survey, injected=False)[
            : max(round(survey.slid * HOUR / survey.piece), 1)
        ]
    ]
    background = Background(
        np.sort(np.concatenate([slide.statistics for slide in slides])),
        sum(slide.duration for slide in slides),
    )
    found = []
    for piece in pieces(survey, injected=True):
        triggers = coincidences(*search(piece), span=piece.span).triggers()
        found.append(loudest_near(triggers, piece.times, TOLERANCE))
    return verdict(np.concatenate(found), background, pieces(survey, injected=True))


def verdict(
    loudest: Float64[np.ndarray, " n"], background: Background, injected: list[Piece]
) -> dict[str, float]:
    """Sensitive distances (Mpc, with one-sigma interval), and the efficiency at the first rate.

    Args:
        loudest: statistic of the loudest trigger near each injection.
        background: what the same search finds in noise alone.
        injected: the pieces that it searched.
    """
    mass = np.concatenate([piece.parameters.chirp_mass for piece in injected if piece.parameters])
    snr = np.concatenate([piece.snr for piece in injected])
    farthest = _FARTHEST * (mass.max() / CHIRP_MASS_OF_NEUTRON_STARS) ** (5 / 6)
    volumes = chirp_volumes(mass, farthest)
    results: dict[str, float] = {"injections": float(len(mass))}
    for rate in RATES:
        found = loudest > background.threshold(rate / HOUR)
        distance = sensitive_distance(found, volumes)
        results[f"distance_{rate:g}"] = distance.value
        results[f"distance_{rate:g}_low"] = distance.low
        results[f"distance_{rate:g}_high"] = distance.high
    first = loudest > background.threshold(RATES[0] / HOUR)
    curve = efficiency(first, snr, EDGES)
    for low, hits, total in zip(EDGES, curve.found, curve.total, strict=False):
        results[f"found_{low:g}"], results[f"total_{low:g}"] = float(hits), float(total)
    return {**results, "found": float(first.mean())}


@lru_cache(maxsize=4)
def pieces(survey: Survey, *, injected: bool) -> list[Piece]:
    """The whitened data, with injections or without."""
    population = Population(maximal_spin=0.0, distances=(5.0, _FARTHEST)) if injected else None
    hours = survey.foreground if injected else survey.background
    seeds = np.random.SeedSequence(
        survey.seed, spawn_key=(SPLITS.index(survey.split), int(injected))
    )
    curve, found = noise_curve(survey.curve), []
    for seed in seeds.spawn(max(round(hours * HOUR / survey.piece), 1)):
        # Whitening takes two seconds at either end.
        stream = simulate_stream(
            np.random.default_rng(seed), (curve, curve), survey.piece + 4.0, population
        ).whitened((curve, curve), survey.band)
        mergers = stream.injections
        found.append(
            Piece(
                stream.values.astype(np.float32),
                stream.start,
                np.zeros(0) if mergers is None else mergers.times,
                None if mergers is None else mergers.parameters,
                np.zeros(0) if mergers is None else mergers.network_snr,
            )
        )
    return found
