"""What vibrations are made of."""

import numpy as np
from jaxtyping import Float32


def tone(turns: Float32[np.ndarray, " n"], order: float, phase: float) -> Float32[np.ndarray, " n"]:
    """A sine of unit amplitude at a multiple of the speed of a shaft.

    >>> tone(np.float32([0.0, 0.125]), 2.0, 0.0).round(6).tolist()
    [0.0, 1.0]
    """
    return np.sin(np.float32(2 * np.pi) * (np.float32(order) * turns + np.float32(phase)))


def add_burst(
    signal: Float32[np.ndarray, " n"], start: int, burst: Float32[np.ndarray, " m"]
) -> None:
    """Adds a short wave to a signal in place; what is past the end is lost.

    >>> signal = np.zeros(3, np.float32)
    >>> add_burst(signal, 1, np.ones(5, np.float32))
    >>> signal.tolist()
    [0.0, 1.0, 1.0]
    """
    room = signal[start : start + len(burst)]
    room += burst[: len(room)]
