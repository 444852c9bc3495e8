"""Waveforms of compact binaries in the frequency domain: IMRPhenomD, by ripplegw, in bulk.

Amplitude and unwrapped phase are smooth, so they are computed at a few hundred frequencies and
interpolated to the thousands that are wanted.

>>> from etude.systems.gravitational_waves.population import Population
>>> binaries = Population().draw(np.random.default_rng(0), 2)
>>> plus, cross = polarizations(binaries, np.arange(0.0, 1024.0))
>>> plus.shape, bool(plus[0, 0] == 0), bool(np.abs(plus[0, 30]) > 1e-24)
((2, 1024), True, True)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import jax
import numpy as np
from jaxtyping import Complex128, Float64

from etude.systems.gravitational_waves.population import Parameters

SOLAR_MASS_IN_SECONDS = 4.925491025543576e-06  # G M / c^3
_CUTOFF = 0.2  # of IMRPhenomD, times the total mass
_NODES = 192  # see benchmarks/waveforms.py
_BATCH = 32  # binaries per call of the compiled model: one shape, so one compilation
_ROLL_ON = 0.75  # a waveform rises between this fraction of its lowest frequency and the whole


def polarizations(
    parameters: Parameters,
    frequencies: Float64[np.ndarray, " frequencies"],
    low_frequency: float = 20.0,
) -> tuple[Complex128[np.ndarray, "n frequencies"], Complex128[np.ndarray, "n frequencies"]]:
    """The two polarisations of the strain of each binary, per Hz, coalescing at time zero.

    Conventions are those of the LIGO Algorithm Library (and of NumPy's Fourier transform): the
    strain is loudest up to 16 G M / c^3, 5 ms for GW150914, before the "coalescence" at zero.

    Args:
        parameters: the binaries; sky position and polarisation angle play no part here.
        frequencies: Hz, in any order; where they are 0, negative, or above the model's cutoff at
            ``0.2 c^3 / (G M)``, the strain is zero.
        low_frequency: Hz; complete from here on, rising smoothly from 3/4 of it.

    Raises:
        ValueError: no positive `low_frequency`, or a binary that ends below it.
    """
    wave = amplitude_and_phase(parameters, frequencies, low_frequency)
    strain = wave.amplitude * np.exp(1j * wave.phase)
    cos = np.cos(parameters.inclination)[:, None]
    return (1 + cos**2) / 2 * strain, -1j * cos * strain


@dataclass(frozen=True, eq=False)
class Wave:
    """Waves over frequency, as seen along the orbital axis (where plus is i times cross).

    Attributes:
        amplitude: strain per Hz.
        phase: unwrapped phase, rad.
        time: seconds at which each frequency arrives; coalescence is at zero.
    """

    amplitude: Float64[np.ndarray, "n frequencies"]
    phase: Float64[np.ndarray, "n frequencies"]
    time: Float64[np.ndarray, "n frequencies"]


def amplitude_and_phase(
    parameters: Parameters,
    frequencies: Float64[np.ndarray, " frequencies"],
    low_frequency: float = 20.0,
) -> Wave:
    """What `polarizations` is made of; the same arguments and errors."""
    cutoff = _CUTOFF / ((parameters.mass_1 + parameters.mass_2) * SOLAR_MASS_IN_SECONDS)
    if not low_frequency > 0:
        raise ValueError(f"low_frequency={low_frequency}; expected a positive frequency, in Hz.")
    if np.any(cutoff <= low_frequency):
        heavy = np.argmin(cutoff)
        raise ValueError(
            f"Binary {heavy} of {parameters.mass_1[heavy]:g} + {parameters.mass_2[heavy]:g} solar "
            f"masses ends at {cutoff[heavy]:.3g} Hz, below low_frequency={low_frequency:g} Hz. "
            "Lower low_frequency, or draw lighter binaries."
        )
    lowest = _ROLL_ON * low_frequency
    top = max(np.max(frequencies, initial=0.0), low_frequency)
    # Two frequencies very close together come first: the model rounds its cutoff to a multiple of
    # their difference. The others are evenly spaced in log f.
    nodes = np.append(lowest * (1 - 1e-6), np.geomspace(lowest, top, _NODES))
    clipped = np.minimum(nodes, (cutoff - 4e-6 * lowest)[:, None])
    amplitude, phase = _at_nodes(parameters, clipped)
    time = np.gradient(phase, np.log(nodes[1:]), axis=1) / (-2 * np.pi * nodes[1:])

    inside = (frequencies >= lowest) & (frequencies > 0)
    interpolate = _interpolation(nodes[1:], np.where(inside, frequencies, lowest))
    rise = np.clip((frequencies - lowest) / (low_frequency - lowest), 0, 1)
    kept = np.sin(np.pi / 2 * rise) ** 2 * (frequencies < cutoff[:, None])
    return Wave(interpolate(amplitude) * kept, interpolate(phase), interpolate(time))


def _at_nodes(parameters: Parameters, frequencies: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Amplitude and phase, each [n, nodes], of frequencies [n, 1 + nodes]."""
    total = parameters.mass_1 + parameters.mass_2
    values = np.stack(
        [
            parameters.chirp_mass,
            parameters.mass_1 * parameters.mass_2 / total**2,
            parameters.spin_1z,
            parameters.spin_2z,
        ],
        axis=1,
    )
    # The last batch is filled up with copies, so that every call has the same shape.
    n = len(parameters)
    rows = np.resize(np.arange(n), -(-n // _BATCH) * _BATCH).reshape(-1, _BATCH)
    model = _model()
    with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):
        parts = [model(frequencies[row], values[row]) for row in rows]
        amplitude, phase = (np.concatenate([np.asarray(p[i]) for p in parts])[:n] for i in (0, 1))
    loudness = 1 / parameters.distance
    turned = phase + 2 * parameters.phase[:, None]
    return amplitude[:, 1:] * loudness[:, None], turned[:, 1:]


@lru_cache(maxsize=1)
def _model() -> Callable[..., Any]:
    """IMRPhenomD at 1 Mpc, compiled: (frequencies, masses and spins) to (amplitude, phase)."""
    x64 = jax.config.read("jax_enable_x64")
    try:
        # Its tables are made when it is imported, so 64 bit must be on; and it leaves it on.
        jax.config.update("jax_enable_x64", True)
        import ripplegw
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "Waveforms need the package ripplegw: pip install 'etude[gw]'."
        ) from error
    finally:
        jax.config.update("jax_enable_x64", x64)
    waveform: Any = ripplegw.waveform("IMRPhenomD", f_ref=20.0)

    def one(frequencies: jax.Array, values: jax.Array) -> tuple[jax.Array, jax.Array]:
        names = ("M_c", "eta", "s1_z", "s2_z")
        arguments = {**dict(zip(names, values, strict=True)), "d_L": 1.0, "phase_c": 0.0}
        return waveform.amplitude(frequencies, arguments), waveform.phase(frequencies, arguments)

    return jax.jit(jax.vmap(one))


def _interpolation(
    nodes: Float64[np.ndarray, " nodes"], points: Float64[np.ndarray, " points"]
) -> Callable[[np.ndarray], np.ndarray]:
    """From values [n, nodes] to values [n, points]: cubic polynomials in log f."""
    step = np.log(nodes[-1] / nodes[0]) / (len(nodes) - 1)
    position = np.log(points / nodes[0]) / step
    first = np.clip(np.floor(position).astype(int) - 1, 0, len(nodes) - 4)
    u = position - first
    weights = (
        -(u - 1) * (u - 2) * (u - 3) / 6,
        u * (u - 2) * (u - 3) / 2,
        -u * (u - 1) * (u - 3) / 2,
        u * (u - 1) * (u - 2) / 6,
    )

    def interpolate(values: np.ndarray) -> np.ndarray:
        out = np.zeros((len(values), len(points)))
        for offset, weight in enumerate(weights):
            out += values[:, first + offset] * weight
        return out

    return interpolate
