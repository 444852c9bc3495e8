"""Banks of whitened signals: what the windows of training, validation and test are made of.

>>> from etude.systems.gravitational_waves.curves import noise_curve
>>> curves = 2 * [noise_curve("aLIGO-O4")]
>>> bank = signal_bank(Population(), curves, 8, split="train", duration=1.2, merger=0.8)
>>> bank.signals.shape, bank.signals.dtype
((8, 2458, 2), dtype('float32'))
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float32, Float64

from etude.systems.gravitational_waves.detectors import H1, L1, Detector
from etude.systems.gravitational_waves.injections import whitened_signals
from etude.systems.gravitational_waves.population import Parameters, Population
from etude.systems.gravitational_waves.spectra import PowerSpectrum

SPLITS = ("train", "valid", "test")
Split = Literal["train", "valid", "test"]

_FORMAT = 1  # of the cached files; raise it when signals are computed differently
_CHUNK = 512  # signals between two moves of the progress bar


@dataclass(frozen=True, eq=False)
class SignalBank:
    """Whitened signals without noise, all equally loud, and the binaries they come from.

    Attributes:
        signals: of network signal-to-noise ratio 1 each (of the whole signal, of which the
            window may hold a part): multiply by the ratio that you want.
        snr: of the binaries as they were drawn, in each detector.
        parameters: the binaries as they were drawn.
        sample_rate: Hz.
        merger: seconds from the start of the window to the coalescence, at the geocentre.
    """

    signals: Float32[np.ndarray, "n samples detectors"]
    snr: Float64[np.ndarray, "n detectors"]
    parameters: Parameters
    sample_rate: float
    merger: float

    def __len__(self) -> int:
        return len(self.signals)


def signal_bank(
    population: Population,
    psds: Sequence[PowerSpectrum],
    n: int,
    *,
    split: Split,
    seed: int = 0,
    detectors: Sequence[Detector] = (H1, L1),
    sample_rate: float = 2048.0,
    duration: float = 1.2,
    merger: float = 0.8,
    band: tuple[float, float] = (20.0, 1024.0),
    cache: str | Path | None = None,
    progress: bool = False,
) -> SignalBank:
    """Draws binaries and computes their whitened signals, or reads them where they are cached.

    Args:
        population: what is drawn.
        psds: the power spectral density of the noise of each detector.
        n: number of signals.
        split: "train", "valid" or "test"; each has a random generator of its own, so that no two
            share a binary.
        seed: of all three generators.
        detectors: where the strain is felt.
        sample_rate: Hz.
        duration: of the signals, seconds: that of the windows cut from them, plus the interval in
            which the merger may lie.
        merger: seconds from the start; the latest place of the merger in a window.
        band: Hz.
        cache: folder of the computed banks; the name of a file is a digest of all of the above.
        progress: whether a bar shows how far it is.

    Raises:
        DataError: see `whitened_signals`.
        ValueError: an unknown split, or no signal.

    >>> from etude.systems.gravitational_waves.curves import noise_curve
    >>> curves = 2 * [noise_curve("A+")]
    >>> bank = signal_bank(Population(), curves, 4, split="test", duration=4.0, merger=3.8)
    >>> np.linalg.norm(bank.signals, axis=(1, 2)).round(1).tolist()
    [1.0, 1.0, 1.0, 1.0]
    """
    if split not in SPLITS or n < 1:
        raise ValueError(
            f"signal_bank: split={split!r}, n={n}; expected one of {SPLITS}, and n of 1 or more."
        )
    generators = np.random.SeedSequence(seed).spawn(len(SPLITS))
    rng = np.random.default_rng(generators[SPLITS.index(split)])
    parameters = population.draw(rng, n)
    grid = np.geomspace(max(band[0], 1.0), band[1], 4096)
    configuration = {
        "format": _FORMAT,
        "population": asdict(population),
        "psds": [hashlib.sha256(np.asarray(psd(grid)).tobytes()).hexdigest() for psd in psds],
        "detectors": [detector.name for detector in detectors],
        "window": [n, split, seed, sample_rate, duration, merger, *band],
    }
    digest = hashlib.sha256(json.dumps(configuration).encode()).hexdigest()[:16]
    file = None if cache is None else Path(cache) / f"signals-{split}-{digest}.npz"
    if file is not None and file.exists():
        with np.load(file) as stored:
            return SignalBank(stored["signals"], stored["snr"], parameters, sample_rate, merger)

    chunks = [slice(start, start + _CHUNK) for start in range(0, n, _CHUNK)]
    parts = []
    for chunk in _shown(chunks, f"{split} signals", progress):
        signals, snr = whitened_signals(
            parameters[chunk], psds, detectors, sample_rate, duration, merger, band=band
        )
        signals /= np.linalg.norm(snr, axis=1).astype(np.float32)[:, None, None]
        parts.append((signals, snr))
    signals, snr = (np.concatenate(column) for column in zip(*parts, strict=True))
    if file is not None:
        _save(file, signals=signals, snr=snr)
    return SignalBank(signals, snr, parameters, sample_rate, merger)


def _save(file: Path, **arrays: np.ndarray) -> None:
    """Whole or absent: a run that is killed leaves no half of a bank under the name of a whole."""
    file.parent.mkdir(parents=True, exist_ok=True)
    unfinished = file.with_name(f"{file.stem}.{os.getpid()}.part")
    try:
        with unfinished.open("wb") as opened:
            np.savez(opened, **arrays)
        unfinished.replace(file)
    finally:
        unfinished.unlink(missing_ok=True)


def _shown(chunks: list[slice], title: str, progress: bool):
    from rich.console import Console
    from rich.progress import track

    return track(chunks, title, console=Console(stderr=True), disable=not progress)
