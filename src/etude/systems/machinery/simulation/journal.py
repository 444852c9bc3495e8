"""Journal bearings with eleven states, in simulated recordings.

The states, amplitudes and rates are those of a public generator of journal-bearing signals; where
it is wrong, this is not: phases are random throughout, a light load (a large Sommerfeld number)
brings whirl and a heavy one starved lubrication, and it is known which windows hold no event.

>>> simulation = JournalSimulation(duration=1.0, seed=3)
>>> drawn = simulation.draw(5)
>>> simulation.classes[drawn.label], drawn.signal.shape
('cavitation', (20480,))
"""

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float32, Int

import etude as et
from etude.systems.machinery.journal import LUBRICATION_LIMITS, JournalBearing
from etude.systems.machinery.quantities import check_positive
from etude.systems.machinery.simulation.drawing import Drawn, block_energy, noisy, rng_of
from etude.systems.machinery.simulation.waves import add_burst, tone

#: Faults of journal bearings and of the shaft in them.
JOURNAL_FAULTS = (
    "misalignment",
    "imbalance",
    "clearance",
    "lubrication",
    "cavitation",
    "wear",
    "oil_whirl",
)

_MIXED = (("misalignment", "imbalance"), ("wear", "lubrication"), ("cavitation", "clearance"))

_CONTENT: tuple[tuple[str, ...], ...] = ((), *((fault,) for fault in JOURNAL_FAULTS), *_MIXED)

#: The states: healthy, each fault, and three pairs of faults.
JOURNAL_CLASSES = tuple("+".join(faults) or "healthy" for faults in _CONTENT)

#: What each state shows in the raw spectrum, for `FrequencyConsistencyLoss`: multiples of the
#: speed, and bands in Hz. To be calibrated on healthy windows, for these have a little of it, too.
JOURNAL_LINES: dict[int, tuple[float | tuple[float, float], ...]] = {
    1: (2.0, 3.0),
    2: (1.0,),
    3: (0.455, 1.0, 2.0),
    4: ((1.0, 6.0),),
    5: ((1500.0, 2500.0),),
    6: ((4000.0, 9000.0),),
    7: (0.45,),
    8: (1.0, 2.0, 3.0),
    9: ((4000.0, 9000.0), (1.0, 6.0)),
    10: ((1500.0, 2500.0), 0.455),
}

#: Levels of severity, each a range of the factor of the amplitudes.
SEVERITIES = {
    "incipient": (0.2, 0.45),
    "mild": (0.45, 0.7),
    "moderate": (0.7, 0.9),
    "severe": (0.9, 1.0),
}

_SPEEDS, _LEAST_LOAD = (0.9, 1.1), 0.1  # of a recording, over those of the simulation
_CLEARANCES = (0.9, 1.1)  # of a machine, over that of the bearing
_WARMER = 40.0  # degrees C of the oil, over 40, at most
_MIDDLE = float(np.prod(LUBRICATION_LIMITS) ** 0.5)  # Sommerfeld number between thin and thick
_ROOM = 1.1  # to the middle, so that what is asked for is drawn in a moment
_FLOOR = 0.03  # standard deviation of the noise of the sensor, without a stated ratio
_MAINS = 50.0  # Hz
_PAIR = 0.7  # factor of the amplitudes of two faults at once
_BURST = 0.008  # seconds of a collapsing bubble
_RAMP = 0.3  # fraction of the recordings in which the fault grows, and by how much


@dataclass(frozen=True)
class JournalSimulation:
    """Recordings of machines on journal bearings, a function of the seed and the index alone.

    Class, severity and machine go round with the index, so that any number of recordings has as
    many of each. Every machine is seen in every state; it has its own gain, clearance and residual
    imbalance. Starved lubrication is drawn in thin films only, whirl in thick ones.

    Attributes:
        duration: seconds of a recording.
        sample_rate: Hz.
        speed: Hz, of the shaft; each recording has its own within 10 %.
        load: N, the largest; each recording has its own, from a tenth of it.
        snr: ratio of the power of everything else to that of the white noise, dB; None: noise of
            the same loudness, 0.03, everywhere.
        machines: number of machines.
        bearing: its shape; the clearance differs from machine to machine.
        seed: of all draws.

    Raises:
        DataError: a quantity that is not above 0, a duration that is no multiple of 0.05 s, a
            sample rate too low for the bursts of cavitation (2.5 kHz), or a load at which this
            bearing, at this speed, has no thin film or no thick one.
    """

    duration: float = 5.0
    sample_rate: float = 20480.0
    speed: float = 60.0
    load: float = 3000.0
    snr: float | None = None
    machines: int = 8
    bearing: JournalBearing = field(
        default_factory=lambda: JournalBearing(radius=0.015, clearance=20e-6, length=0.015)
    )
    seed: int = 0

    def __post_init__(self):
        check_positive(
            "JournalSimulation",
            duration=self.duration,
            sample_rate=self.sample_rate,
            speed=self.speed,
            load=self.load,
            machines=self.machines,
        )
        if self.sample_rate < 6000:
            raise et.DataError(
                f"JournalSimulation: got sample_rate={self.sample_rate:g} Hz, expected 6000 or "
                "more: bubbles collapse at 1.5 to 2.5 kHz. Resample what is simulated."
            )
        _ = self.block
        self._check_films()

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the states."""
        return JOURNAL_CLASSES

    @property
    def samples(self) -> int:
        """Length of a recording."""
        return round(self.duration * self.sample_rate)

    @property
    def block(self) -> int:
        """Samples of 0.05 s, over which the energy of the faults is told."""
        size = round(0.05 * self.sample_rate)
        if self.samples % size:
            raise et.DataError(
                f"JournalSimulation: got duration={self.duration:g} s at {self.sample_rate:g} Hz, "
                f"expected a multiple of {size} samples (0.05 s)."
            )
        return size

    def _check_films(self) -> None:
        """Raises DataError where a machine has no thin film or no thick one to be drawn."""
        narrow, wide = (self._bearing(factor) for factor in _CLEARANCES)
        thinnest = narrow.sommerfeld(_viscosity(_WARMER), self.speed * _SPEEDS[0], self.load)
        thickest = wide.sommerfeld(
            _viscosity(0.0), self.speed * _SPEEDS[1], self.load * _LEAST_LOAD
        )
        thinnest, thickest = float(thinnest) * _ROOM, float(thickest) / _ROOM
        if not thinnest < _MIDDLE < thickest:
            least, most = self.load * thinnest / _MIDDLE, self.load * thickest / _MIDDLE
            raise et.DataError(
                f"JournalSimulation: got load={self.load:g} N at speed={self.speed:g} Hz, expected "
                f"a load of {least:.3g} to {most:.3g} N: with another the film is never thin "
                "enough to starve, or never thick enough to whirl. Change the load, the speed or "
                "the bearing."
            )

    def _bearing(self, factor: float) -> JournalBearing:
        """The bearing with a clearance of its machine's own."""
        shape = self.bearing
        return JournalBearing(shape.radius, shape.clearance * factor, shape.length)

    def draw(self, index: int) -> Drawn:
        """The recording of this index."""
        label = index % len(_CONTENT)
        level = index // len(_CONTENT) % len(SEVERITIES)
        number = index // (len(_CONTENT) * len(SEVERITIES)) % self.machines
        rng, machine = rng_of(self.seed, 0, index), rng_of(self.seed, 1, number)
        gain, wide = machine.uniform(0.8, 1.25), machine.uniform(*_CLEARANCES)
        residue = machine.uniform(0.01, 0.03)
        state = self._operate(rng, _CONTENT[label], wide)
        time = np.arange(self.samples, dtype=np.float32) / np.float32(self.sample_rate)
        turns = np.float32(state["speed"]) * time
        severity = self._severity(rng, level)
        factor = _PAIR if len(_CONTENT[label]) == 2 else 1.0
        known = {**state, "severity": float(severity.mean())}
        parts = [
            np.float32(gain * factor) * severity * self._fault(rng, name, turns, known)
            for name in _CONTENT[label]
        ]
        clean = np.float32(gain) * self._always(rng, time, turns, residue)
        for part in parts:
            clean += part
        signal, noise = noisy(rng, clean, self.snr, _FLOOR * gain)
        energy = np.full((2, self.samples // self.block), np.inf)
        for row, part in zip(energy, parts, strict=False):
            row[:] = block_energy(part, self.block)
        return Drawn(signal, label, number, index, known, energy, noise)

    def _operate(
        self, rng: np.random.Generator, faults: tuple[str, ...], wide: float
    ) -> dict[str, float]:
        """Speed, load, viscosity and Sommerfeld number, such that the faults can occur."""
        bearing = self._bearing(wide)
        while True:
            speed = self.speed * rng.uniform(*_SPEEDS)
            load = self.load * rng.uniform(_LEAST_LOAD, 1.0)
            viscosity = _viscosity(rng.uniform(0, _WARMER))
            sommerfeld = float(bearing.sommerfeld(viscosity, speed, load))
            thin = sommerfeld < _MIDDLE
            if ("lubrication" in faults and not thin) or ("oil_whirl" in faults and thin):
                continue
            return {
                "speed": speed,
                "load": load,
                "viscosity": viscosity,
                "sommerfeld": sommerfeld,
            }

    def _severity(self, rng: np.random.Generator, level: int) -> Float32[np.ndarray, " n"]:
        """The factor of the amplitudes over time: level, or growing in 3 of 10 recordings."""
        low, high = list(SEVERITIES.values())[level]
        start = rng.uniform(low, high)
        end = min(start + _RAMP, 1.0) if rng.uniform() < _RAMP else start
        return np.linspace(start, end, self.samples, dtype=np.float32)

    def _always(
        self,
        rng: np.random.Generator,
        time: Float32[np.ndarray, " n"],
        turns: Float32[np.ndarray, " n"],
        residue: float,
    ) -> Float32[np.ndarray, " n"]:
        """What every machine has: a little imbalance and misalignment, mains, and drift."""
        phases = rng.uniform(size=4)
        return (
            np.float32(residue * rng.uniform(0.7, 1.3)) * tone(turns, 1, phases[0])
            + np.float32(residue / 3) * tone(turns, 2, phases[1])
            + np.float32(rng.uniform(0.01, 0.015)) * tone(time, _MAINS, phases[2])
            + np.float32(0.01) * tone(time, rng.uniform(0.5, 1.0), phases[3])
        )

    def _fault(
        self,
        rng: np.random.Generator,
        name: str,
        turns: Float32[np.ndarray, " n"],
        state: dict[str, float],
    ) -> Float32[np.ndarray, " n"]:
        """One fault at full severity."""
        loaded = 0.6 + 0.4 * state["load"] / self.load
        film = np.clip((state["sommerfeld"] / 0.316) ** 0.5, 0.6, 1.6)
        seconds = turns / np.float32(state["speed"])

        def tones(*lines: tuple[float, float]) -> Float32[np.ndarray, " n"]:
            waves = (np.float32(size) * tone(turns, k, rng.uniform()) for k, size in lines)
            return sum(waves, np.zeros(self.samples, np.float32))

        if name == "misalignment":
            return tones((2, 0.35 * loaded), (3, 0.20 * loaded))
        if name == "imbalance":
            return tones((1, 0.5 * (state["speed"] / self.speed) ** 2))
        if name == "clearance":
            return tones((rng.uniform(0.43, 0.48), 0.25), (1, 0.18), (2, 0.10))
        if name == "oil_whirl":
            order = rng.uniform(0.42, 0.48)
            swell = 1 + np.float32(0.2) * tone(turns, order / 2, rng.uniform())
            return tones((order, 0.40 * film)) * swell
        if name == "wear":
            hiss = np.float32(0.25 * loaded) * rng.standard_normal(self.samples, np.float32)
            return hiss + tones((1, 0.12), (2, 0.06))
        if name == "lubrication":
            size = 0.30 / film
            slip = np.float32(size) * tone(seconds, rng.uniform(2, 5), rng.uniform())
            for _ in range(round(rng.integers(1, 5) * self.duration / 5)):
                self._burst(rng, slip, size, (400.0, 900.0), 0.03, 150.0)
            return slip
        bubbles = np.zeros(self.samples, np.float32)
        # 3 to 7 in five seconds on average, so that many a second holds none.
        for _ in range(rng.poisson((2 + 5 * state["severity"]) * self.duration / 5)):
            self._burst(rng, bubbles, 0.6, (1500.0, 2500.0), _BURST, 100.0)
        return bubbles

    def _burst(
        self,
        rng: np.random.Generator,
        signal: Float32[np.ndarray, " n"],
        size: float,
        band: tuple[float, float],
        seconds: float,
        decay: float,
    ) -> None:
        """Adds a wave that dies away, at a random time."""
        time = np.arange(round(seconds * self.sample_rate)) / self.sample_rate
        wave = np.sin(2 * np.pi * (rng.uniform(*band) * time + rng.uniform()))
        wave *= size * np.exp(-decay * time) * np.hanning(len(time))
        add_burst(signal, int(rng.integers(self.samples)), wave.astype(np.float32))


def _viscosity(warmer: float) -> float:
    """Pa s, of an oil so many degrees C above 40."""
    return 0.03 * np.exp(-0.03 * warmer)


def journal_faults(labels: Int[np.ndarray, " n"]) -> Float32[np.ndarray, "n 7"]:
    """Which of `JOURNAL_FAULTS` each state has, 0 or 1: labels for a multi-label head.

    >>> journal_faults(np.array([0, 8])).astype(int).tolist()
    [[0, 0, 0, 0, 0, 0, 0], [1, 1, 0, 0, 0, 0, 0]]
    """
    table = [[fault in faults for fault in JOURNAL_FAULTS] for faults in _CONTENT]
    return np.array(table, np.float32)[labels]
