"""Banks of whitened signals: what the windows of training, validation and test are made of.

>>> from etude.systems.gravitational_waves.curves import noise_curve
>>> curve = noise_curve("aLIGO-O4")
>>> bank = signal_bank(Population(), [curve], 8, split="train", duration=1.25, merger=0.82)
>>> bank.signals.shape, bank.signals.dtype
((8, 2560, 2, 1), dtype('float32'))
"""

from __future__ import annotations

import hashlib
import json
import uuid
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import jax
import numpy as np
from jaxtyping import Array, Float32, Float64, Key

from etude.systems.gravitational_waves.injections import whitened_quadratures
from etude.systems.gravitational_waves.population import Parameters, Population
from etude.systems.gravitational_waves.spectra import PowerSpectrum

SPLITS = ("train", "valid", "test")
Split = Literal["train", "valid", "test"]

_FORMAT = 1  # of the cached files; raise it when signals are computed differently
_CHUNK = 512  # signals between two moves of the progress bar


@dataclass(frozen=True, eq=False)
class SignalBank:
    """Whitened waves without noise, face-on and overhead, and the binaries they come from.

    Where the detectors are and how the binary is turned is drawn when a window is made, so few
    binaries make very many signals.

    Attributes:
        signals: the two quadratures of a wave, for the spectrum of each detector or for one that
            all detectors share; of signal-to-noise ratio 1 (of the whole wave, of which the
            window may hold a part; the root mean square over the spectra).
        snr: signal-to-noise ratio of each binary as it was drawn, but face-on and overhead.
        parameters: the binaries as they were drawn.
        sample_rate: Hz.
        merger: seconds from the start of the window to the coalescence.
    """

    signals: Float32[np.ndarray, "n samples quadratures psds"]
    snr: Float64[np.ndarray, "n psds"]
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
    duration: float,
    merger: float,
    sample_rate: float = 2048.0,
    band: tuple[float, float] = (20.0, 1024.0),
    cache: str | Path | None = None,
    progress: bool = False,
) -> SignalBank:
    """Draws binaries and computes their whitened signals, or reads them where they are cached.

    Args:
        population: what is drawn.
        psds: the power spectral density of the noise of each detector, or one of all.
        n: number of signals.
        split: "train", "valid" or "test"; each has a random generator of its own, so that no two
            share a binary.
        seed: seed of all three generators.
        duration: length of the signals, seconds; `Mixing.room` says which it needs.
        merger: seconds from the start to the coalescence; `Mixing.room` says which it needs.
        sample_rate: Hz.
        band: Hz.
        cache: folder of the computed banks; the name of a file is a digest of the binaries drawn
            and of all else that the signals depend on. A damaged file is replaced.
        progress: whether a bar shows how far it is.

    Raises:
        DataError: see `whitened_quadratures`.
        ValueError: an unknown split, or no signal.

    >>> from etude.systems.gravitational_waves.curves import noise_curve
    >>> heavy = Population(masses=(30.0, 50.0))
    >>> bank = signal_bank(heavy, [noise_curve("A+")], 2, split="test", duration=4.0, merger=3.8)
    >>> np.linalg.norm(bank.signals[..., 0], axis=1).round(2).tolist()
    [[1.0, 1.0], [1.0, 1.0]]
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
        "binaries": {name: _digest(column) for name, column in parameters.columns().items()},
        "psds": [_digest(np.asarray(psd(grid))) for psd in psds],
        "window": [sample_rate, duration, merger, *band],
    }
    digest = hashlib.sha256(json.dumps(configuration).encode()).hexdigest()[:16]
    file = None if cache is None else Path(cache) / f"signals-{split}-{digest}.npz"
    if file is not None and (stored := _read(file)) is not None:
        return SignalBank(*stored, parameters, sample_rate, merger)

    chunks = [slice(start, start + _CHUNK) for start in range(0, n, _CHUNK)]
    parts = []
    for chunk in _shown(chunks, f"{split} signals", progress):
        signals, snr = whitened_quadratures(
            parameters[chunk], psds, sample_rate, duration, merger, band
        )
        signals /= np.sqrt(np.mean(snr**2, axis=1)).astype(np.float32)[:, None, None, None]
        parts.append((signals, snr))
    signals, snr = (np.concatenate(column) for column in zip(*parts, strict=True))
    if file is not None:
        _save(file, signals=signals, snr=snr)
    return SignalBank(signals, snr, parameters, sample_rate, merger)


def split_key(seed: int, split: Split) -> Key[Array, ""]:
    """The key of what is drawn to judge a network on a split: of no training, no other split.

    >>> bool(split_key(0, "valid") == split_key(0, "test"))
    False
    """
    # Phases of training fold in the checksum of their name first, which is none of this purpose.
    key = jax.random.fold_in(jax.random.key(seed), zlib.crc32(b"gravitational waves: judging"))
    return jax.random.fold_in(key, SPLITS.index(split))


def _digest(values: np.ndarray) -> str:
    return hashlib.sha256(values.tobytes()).hexdigest()


def _read(file: Path) -> tuple[np.ndarray, np.ndarray] | None:
    """Signals and their SNR; None if there is no such file, or it is damaged."""
    try:
        with file.open("rb") as opened, np.load(opened) as stored:
            return stored["signals"], stored["snr"]
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile):
        return None


def _save(file: Path, signals: np.ndarray, snr: np.ndarray) -> None:
    """Whole or absent, whoever is killed and however many write it at once."""
    file.parent.mkdir(parents=True, exist_ok=True)
    unfinished = file.with_name(f"{file.stem}.{uuid.uuid4().hex}.part")
    try:
        with unfinished.open("wb") as opened:
            np.savez(opened, signals=signals, snr=snr)
        unfinished.replace(file)
    finally:
        unfinished.unlink(missing_ok=True)


def _shown(chunks: list[slice], title: str, progress: bool):
    from rich.console import Console
    from rich.progress import track

    return track(chunks, title, console=Console(stderr=True), disable=not progress)
