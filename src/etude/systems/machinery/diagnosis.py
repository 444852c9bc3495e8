"""What a rule and a trained network say of one recording.

>>> import jax
>>> from etude.systems.machinery import EnvelopeNetwork, RollingSimulation
>>> simulation = RollingSimulation(duration=2.0)
>>> recording = Recording("mine", simulation.draw(1).signal, 20480.0, 20.0)
>>> trained = Trained(("healthy", "outer", "inner"), ("BPFO", "BPFI"), 20480.0, 2048)
>>> network = EnvelopeNetwork(3, key=jax.random.key(0))
>>> found = diagnose(network, trained, recording, simulation.orders)
>>> found.said, found.windows.shape
('outer', (20, 3))
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

import etude as et
from etude.predictions import in_parts
from etude.systems.machinery.bearings import BEARINGS, SLIP, Orders
from etude.systems.machinery.reading import Recording
from etude.systems.machinery.records import normalised
from etude.systems.machinery.rule import EnvelopeRule
from etude.systems.machinery.signals import Spectrum, squared_envelope_spectrum

_SHORT = 0.98  # of the sample rate of the training, below which a recording is refused
_FLAT = 1e-4  # of the range of a recording, below which a window is silent
_OTHER = 3.0  # times the speed of the training, beyond which a speed is in another unit

_PER_MINUTE = "Is it in revolutions per minute? Those are {:.4g} Hz. "


@dataclass(frozen=True)
class Trained:
    """What a network was trained on.

    Attributes:
        classes: names of the states, the healthy one first.
        faults: the characteristic frequency of each further class.
        sample_rate: Hz.
        window: samples of a window.
        speed: Hz, of the shaft, where it was the same in all of the training; a window of another
            recording then holds as many turns. None: speeds differed.
        orders: of the bearing.
    """

    classes: tuple[str, ...]
    faults: tuple[str, ...]
    sample_rate: float
    window: int
    speed: float | None = None
    orders: Orders = BEARINGS["NICE"].orders


class Diagnosis(NamedTuple):
    """What was found in a recording.

    Attributes:
        said: the class that the envelope rule says.
        levels: dB by which the lines of each fault stand out of the envelope spectrum.
        windows: probabilities by the network, which its temperature calibrates.
        duration: seconds of a window.
        spectrum: of the squared envelope of the whole recording.
        known: whether the network was trained on a bearing with these orders.
    """

    said: str
    levels: Float[np.ndarray, " faults"]
    windows: Float[np.ndarray, "windows classes"]
    duration: float
    spectrum: Spectrum
    known: bool


def diagnose(network: Any, trained: Trained, recording: Recording, orders: Orders) -> Diagnosis:
    """The verdict of `EnvelopeRule` on the recording, and of the network on its windows.

    Args:
        network: one of ours, of one label for each signal.
        trained: what it was trained on.
        recording: with the speed of its shaft.
        orders: of its bearing.

    Raises:
        DataError: no speed, one that is thrice that of the training or a third, a sample rate below
            that of the training, a recording that is shorter than a window or silent in one, or
            what `EnvelopeRule` refuses.
    """
    if recording.speed is None:
        raise et.DataError(
            f"{recording.name} does not say the speed of the shaft. Give it in Hz (--speed), "
            "revolutions per minute divided by 60."
        )
    if recording.sample_rate < _SHORT * trained.sample_rate:
        raise et.DataError(
            f"{recording.name} is sampled at {recording.sample_rate:g} Hz, the network was trained "
            f"at {trained.sample_rate:g} Hz: what it looks for above "
            f"{recording.sample_rate / 2:g} Hz is not in the recording. Is the rate right? Record "
            "faster, or train at a lower rate."
        )
    ratio = 1.0 if trained.speed is None else recording.speed / trained.speed
    if not 1 / _OTHER <= ratio <= _OTHER:
        raise et.DataError(
            f"{recording.name}: a speed of {recording.speed:g} Hz is {ratio:.3g} times that of the "
            f"training, {trained.speed:g} Hz: its windows would be of another kind. "
            + (_PER_MINUTE.format(recording.speed / 60) if ratio > 1 else "")
            + "Train at its speed."
        )
    same = recording.resampled(trained.sample_rate)
    length = trained.window
    if trained.speed is not None:
        length = round(length * trained.speed / recording.speed)
    count = len(same.signal) // length
    if count == 0:
        raise et.DataError(
            f"{recording.name} has {len(same.signal)} samples at {trained.sample_rate:g} Hz, fewer "
            f"than a window of {length}. Record at least {length / trained.sample_rate:.3g} s."
        )
    cut = same.signal[: count * length].reshape(count, length)
    for number in np.flatnonzero(np.ptp(cut, axis=1) < _FLAT * np.ptp(same.signal)):
        raise et.DataError(
            f"{recording.name} is silent from {number * length / trained.sample_rate:.3f} s on, "
            "for a whole window. Cut that out: nothing can be said of it."
        )
    rule = EnvelopeRule(trained.faults)
    one = same.signal[None], trained.sample_rate, np.array([recording.speed]), np.array([[*orders]])
    levels = np.asarray(rule.levels(*one))[0]
    windows = normalised(cut)
    return Diagnosis(
        trained.classes[0 if levels.max() < rule.threshold else 1 + int(levels.argmax())],
        levels,
        in_parts(network.probabilities, windows),
        length / trained.sample_rate,
        squared_envelope_spectrum(same.signal, trained.sample_rate),
        bool(np.allclose([*orders], [*trained.orders], rtol=SLIP, atol=0)),
    )
