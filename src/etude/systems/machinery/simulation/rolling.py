"""Rolling-element bearings with a fault on a part, in simulated recordings.

Each time that the fault is rolled over, the structure is struck and rings. Rollers slip, so the
impulses are not quite periodic; a fault on the inner race passes through the loaded zone once a
turn, one on a roller with the cage, and are loud there only. What a sensor records depends on the
way from the bearing to it: each bearing has its own. P. D. McFadden and J. D. Smith, J. Sound Vib.
96 (1984) 69; R. B. Randall and J. Antoni, Mech. Syst. Signal Process. 25 (2011) 485.

>>> simulation = RollingSimulation(duration=1.0, bearings_per_class=3)
>>> drawn = simulation.draw(2)
>>> simulation.classes[drawn.label], drawn.signal.shape, drawn.known["speed"]
('inner', (20480,), 20.0)
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import scipy.fft
from jaxtyping import Complex, Float, Float32

import etude as et
from etude.systems.machinery.bearings import BEARINGS, SLIP, Orders
from etude.systems.machinery.quantities import check_positive
from etude.systems.machinery.simulation.drawing import Drawn, block_energy, noisy, rng_of
from etude.systems.machinery.simulation.waves import tone

#: The part that has the fault.
ROLLING_CLASSES = ("healthy", "outer", "inner", "ball")

_FFT: Any = scipy.fft  # twice as fast as that of NumPy, in single precision
_JITTER = 0.01  # standard deviation of the time between impulses, relative
_FLOOR = 0.05  # standard deviation of the noise of the sensor, without a stated ratio
_MODES = 3
_TAIL = 4096  # samples in which the slowest mode dies away


class _Path(NamedTuple):
    """The way of a bearing to its sensor, and what else is its own."""

    poles: Complex[np.ndarray, " modes"]
    gains: Float[np.ndarray, " modes"]
    residue: Float[np.ndarray, " harmonics"]
    rumble: float
    size: float


@dataclass(frozen=True)
class RollingSimulation:
    """Recordings of several bearings of one type, a function of the seed and the index alone.

    Class, bearing, condition and repetition go round with the index, in this order. A condition is
    a speed and a load; all bearings are recorded in all of them.

    Attributes:
        duration: seconds of a recording.
        sample_rate: Hz.
        orders: of the type of bearing.
        bearings_per_class: number of bearings, with one way to the sensor each.
        one_label_each: whether a bearing has one label, as in public data; else each bearing is
            recorded in every state, on the same way.
        conditions: speed of the shaft (Hz) and load (relative) of each condition.
        snr: ratio of the power of everything else to that of the white noise, dB; None: noise of
            the same loudness, 0.05, everywhere.
        seed: of all draws.

    Raises:
        DataError: a quantity that is not above 0, a duration that is no multiple of 0.05 s, or a
            sample rate below 8 kHz, which holds no resonances.
    """

    duration: float = 5.0
    sample_rate: float = 20480.0
    orders: Orders = BEARINGS["NICE"].orders
    bearings_per_class: int = 6
    one_label_each: bool = True
    conditions: tuple[tuple[float, float], ...] = ((20.0, 0.5), (25.0, 1.0), (30.0, 0.75))
    snr: float | None = None
    seed: int = 0

    def __post_init__(self):
        speeds, loads = zip(*self.conditions, strict=True)
        check_positive(
            "RollingSimulation",
            duration=self.duration,
            sample_rate=self.sample_rate,
            bearings_per_class=self.bearings_per_class,
            speed=np.array(speeds),
            load=np.array(loads),
        )
        if self.sample_rate < 8000:
            raise et.DataError(
                f"RollingSimulation: got sample_rate={self.sample_rate:g} Hz, expected 8000 or "
                "more: the structure rings at 1.5 kHz and above. Resample what is simulated."
            )
        if self.samples % self.block:
            raise et.DataError(
                f"RollingSimulation: got duration={self.duration:g} s at {self.sample_rate:g} Hz, "
                f"expected a multiple of {self.block} samples (0.05 s)."
            )

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the states."""
        return ROLLING_CLASSES

    @property
    def samples(self) -> int:
        """Length of a recording."""
        return round(self.duration * self.sample_rate)

    @property
    def block(self) -> int:
        """Samples of 0.05 s, over which the energy of the faults is told."""
        return round(0.05 * self.sample_rate)

    def draw(self, index: int) -> Drawn:
        """The recording of this index."""
        label, turn = index % len(ROLLING_CLASSES), index // len(ROLLING_CLASSES)
        unit, turn = turn % self.bearings_per_class, turn // self.bearings_per_class
        condition = turn % len(self.conditions)
        bearing = unit * len(ROLLING_CLASSES) + label if self.one_label_each else unit
        speed, load = self.conditions[condition]
        rng, path = rng_of(self.seed, 0, index), self._path(bearing)
        time = np.arange(self.samples, dtype=np.float32) / np.float32(self.sample_rate)
        turns = np.float32(speed) * time
        shaft = np.zeros(self.samples, np.float32)
        for k, size in enumerate(path.residue, start=1):
            shaft += np.float32(size) * tone(turns, k, rng.uniform())
        hiss = np.float32(path.rumble) * rng.standard_normal(self.samples + _TAIL, np.float32)
        clean = shaft + self._rung(_FFT.fft(hiss) * self._responses(bearing).sum(0))
        energy = np.full((1, self.samples // self.block), np.inf)
        if label:
            struck = self._impulses(rng, ROLLING_CLASSES[label], speed, path.poles)
            spectrum = np.sum(_FFT.fft(struck) * self._responses(bearing), axis=0)
            fault = np.float32(path.size * load) * self._rung(spectrum)
            energy[0] = block_energy(fault, self.block)
            clean += fault
        signal, noise = noisy(rng, clean, self.snr, _FLOOR)
        known = {"speed": speed, "load": load, "orders": np.array(list(self.orders))}
        return Drawn(signal, label, bearing, condition, known, energy, noise)

    @lru_cache(maxsize=1024)  # noqa: B019 - a frozen value, and small
    def _path(self, bearing: int) -> _Path:
        rng = rng_of(self.seed, 1, bearing)
        top = 0.4 * self.sample_rate
        # One mode in each third of the range of the logarithm, so that no two bearings are alike.
        edges = np.geomspace(1500, top, _MODES + 1)
        frequencies = rng.uniform(edges[:-1], edges[1:])
        damping = rng.uniform(0.015, 0.04, _MODES)
        omega = 2 * np.pi * frequencies / self.sample_rate
        poles = np.exp(omega * (1j * np.sqrt(1 - damping**2) - damping))
        gains = rng.dirichlet(np.ones(_MODES)) * rng.choice([-1, 1], _MODES)
        residue = 0.1 * rng.uniform(0.3, 1, 3) / np.arange(1, 4)
        return _Path(poles, gains, residue, rng.uniform(0.005, 0.01), rng.uniform(0.5, 1.5))

    @lru_cache(maxsize=64)  # noqa: B019 - responses are large: those of the latest bearings
    def _responses(self, bearing: int) -> Complex[np.ndarray, "modes bins"]:
        """The spectrum of the decaying wave of each mode, sum over n of pole^n, with its gain."""
        path = self._path(bearing)
        bins = np.fft.fftfreq(self.samples + _TAIL)
        turned = path.poles[:, None] * np.exp(-2j * np.pi * bins)
        return (path.gains[:, None] / (1 - turned)).astype(np.complex64)

    def _rung(self, spectrum: Complex[np.ndarray, " bins"]) -> Float32[np.ndarray, " n"]:
        """The vibration with this spectrum: of rotating waves, what is seen from the side."""
        wave = _FFT.ifft(spectrum).imag[: self.samples]
        return np.ascontiguousarray(wave, np.float32)

    def _impulses(
        self, rng: np.random.Generator, part: str, speed: float, poles: np.ndarray
    ) -> Complex[np.ndarray, "modes longer"]:
        """Impulses between the samples, as what each mode rings with from the next sample on."""
        rates = self.orders.frequencies(speed)
        rate = {"outer": rates.bpfo, "inner": rates.bpfi, "ball": 2 * rates.bsf}[part]
        rate = float(rate) * rng.uniform(1 - SLIP, 1 + SLIP)
        count = int(self.duration * rate * 1.1) + 8
        gaps = (1 + _JITTER * rng.standard_normal(count)) / rate
        times = np.cumsum(gaps) - rng.uniform() / rate
        times = times[(times >= 0) & (times < self.duration)]
        size = 1 + 0.1 * rng.standard_normal(len(times))
        zone = {"outer": 0.0, "inner": speed, "ball": float(rates.ftf)}[part]
        angle = 2 * np.pi * (zone * times + rng.uniform())
        if part != "outer":
            # Loud in the loaded zone, and a little outside of it.
            size *= np.clip(np.cos(angle), 0.1, None)
        if part == "ball":
            size[::2] *= 0.7  # it strikes the inner and the outer race in turn
        place = times * self.sample_rate
        at = np.ceil(place).astype(int)
        struck = np.zeros((len(poles), self.samples + _TAIL), np.complex64)
        for strike, pole in zip(struck, poles, strict=True):
            np.add.at(strike, at, size * pole ** (at - place))
        return struck
