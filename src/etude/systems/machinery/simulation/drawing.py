"""What a simulated recording is, and the parts that all simulations share."""

from collections.abc import Mapping
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Float32


class Drawn(NamedTuple):
    """A simulated recording.

    Attributes:
        signal: one channel.
        label: index into the classes of the simulation.
        bearing: number of the bearing, or of the machine.
        condition: number of the condition, for all bearings.
        known: metadata.
        energy: of each component of the fault in each block; infinite without one.
        noise: variance of the white noise.
    """

    signal: Float32[np.ndarray, " samples"]
    label: int
    bearing: int
    condition: int
    known: Mapping[str, float | Float[np.ndarray, "..."]]
    energy: Float[np.ndarray, "components blocks"]
    noise: float


@runtime_checkable
class Simulation(Protocol):
    """What can be simulated: recordings that are a function of their index."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, through which the index goes round."""
        ...

    @property
    def sample_rate(self) -> float:
        """Hz."""
        ...

    @property
    def samples(self) -> int:
        """Length of a recording."""
        ...

    @property
    def block(self) -> int:
        """Samples over which the energy of a fault is told."""
        ...

    def draw(self, index: int) -> Drawn:
        """The recording of this index."""
        ...


def rng_of(seed: int, kind: int, number: int) -> np.random.Generator:
    """The generator of one recording or machine, whatever was drawn before.

    >>> float(rng_of(0, 0, 7).uniform()) == float(rng_of(0, 0, 7).uniform())
    True
    """
    seeds = np.random.SeedSequence(seed, spawn_key=(kind, number))
    return np.random.Generator(np.random.SFC64(seeds))


def noisy(
    rng: np.random.Generator, clean: Float32[np.ndarray, " n"], snr: float | None, floor: float
) -> tuple[Float32[np.ndarray, " n"], float]:
    """The signal with white noise, and the variance of the noise.

    Args:
        rng: generator of the noise.
        clean: signal.
        snr: power of the signal over that of the noise, dB.
        floor: standard deviation of the noise where no ratio is stated.

    >>> signal, variance = noisy(np.random.default_rng(0), np.ones(8, np.float32), 10.0, 1.0)
    >>> round(variance, 6)
    0.1
    """
    power = float(np.mean(np.square(clean)))
    variance = floor**2 if snr is None else power * 10 ** (-snr / 10)
    noise = np.float32(variance**0.5) * rng.standard_normal(len(clean), np.float32)
    return clean + noise, variance


def block_energy(signal: Float32[np.ndarray, " n"], block: int) -> Float32[np.ndarray, " blocks"]:
    """The sum of the squares of each block.

    >>> block_energy(np.float32([1, 1, 2, 0]), 2).tolist()
    [2.0, 4.0]
    """
    return np.square(signal.reshape(-1, block)).sum(1)
