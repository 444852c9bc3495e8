"""Waveforms and injections per core and second, and what the interpolation of waveforms costs.

`python -m benchmarks.waveforms` prints the tables.
"""

import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from benchmarks.tables import section, table
from etude.systems.gravitational_waves import (
    Parameters,
    Population,
    noise_curve,
    polarizations,
    project,
    whitened_signals,
)

RATE = 2048.0


def report(quick: bool = False) -> str:
    """The tables, in Markdown."""
    binaries = Population().draw(np.random.default_rng(0), 128 if quick else 1024)
    return "\n".join([_rates(binaries, 1 if quick else 3), _mismatch(binaries[:64])])


def _rates(binaries: Parameters, repeats: int) -> str:
    curves = 2 * [noise_curve("aLIGO-O4")]
    rows = []
    for duration in (1.0, 2.0, 4.0):
        frequencies = np.fft.rfftfreq(round(duration * RATE), 1 / RATE)
        where = {"duration": duration, "merger": 0.75 * duration}

        def interpolated(frequencies: np.ndarray = frequencies) -> Any:
            return polarizations(binaries, frequencies)

        def raw(where: dict[str, float] = where) -> Any:
            return project(binaries, sample_rate=RATE, **where)

        def whitened(where: dict[str, float] = where) -> Any:
            return whitened_signals(binaries, curves, sample_rate=RATE, **where)

        rates = [_rate(f, len(binaries), repeats) for f in (interpolated, raw, whitened)]
        direct = _rate(lambda f=frequencies: _ripple(binaries[:64], f[f >= 20]), 64, repeats)
        rows.append([f"{duration:g} s", *(f"{rate:.0f}" for rate in [direct, *rates])])
    head = ["window", "ripplegw alone", "polarizations", "project", "whitened_signals"]
    notes = [
        "Per second of one core, so that other work on the machine does not count; project and "
        "whitened_signals use every core.",
        "Those two: both detectors, and a second of padding before the window.",
    ]
    return section("Waveforms per core and second, at 2048 Hz", table(head, rows), notes)


def _mismatch(binaries: Parameters) -> str:
    frequencies = np.arange(20.0, 1024.0, 0.5)
    weight = 1 / noise_curve("aLIGO-O4").psd(frequencies)
    ours, _ = polarizations(binaries, frequencies)
    exact, _ = _ripple(binaries, frequencies)
    overlap = np.sum(ours.conj() * exact * weight, axis=1).real
    norms = [np.sum(np.abs(x) ** 2 * weight, axis=1) for x in (ours, exact)]
    mismatch = 1 - overlap / np.sqrt(norms[0] * norms[1])
    loudness = np.abs(np.sqrt(norms[0] / norms[1]) - 1)
    rows = [
        ["mismatch", f"{np.median(mismatch):.1e}", f"{mismatch.max():.1e}"],
        ["relative error of the SNR", f"{np.median(loudness):.1e}", f"{loudness.max():.1e}"],
    ]
    return section("Interpolation against ripplegw", table(["", "median", "largest"], rows))


def _rate(function: Callable[[], Any], count: int, repeats: int) -> float:
    function()  # compiles
    times = []
    for _ in range(repeats):
        start = time.process_time()
        function()
        times.append(time.process_time() - start)
    return count / min(times)


_COMPILED: dict[int, Any] = {}


def _ripple(binaries: Parameters, frequencies: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The model itself at every frequency, in one batch."""
    polarizations(binaries[:1], frequencies)  # imports ripplegw without its side effect
    import ripplegw

    model = ripplegw.waveform("IMRPhenomD", f_ref=20.0)
    total = binaries.mass_1 + binaries.mass_2
    values = {
        "M_c": binaries.chirp_mass,
        "eta": binaries.mass_1 * binaries.mass_2 / total**2,
        "s1_z": binaries.spin_1z,
        "s2_z": binaries.spin_2z,
        "d_L": binaries.distance,
        "phase_c": binaries.phase,
        "iota": binaries.inclination,
    }
    with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):
        if len(frequencies) not in _COMPILED:
            _COMPILED[len(frequencies)] = jax.jit(jax.vmap(model, in_axes=(None, 0)))
        strain = _COMPILED[len(frequencies)](frequencies, values)
        return np.asarray(strain["p"]), np.asarray(strain["c"])


if __name__ == "__main__":
    print(report())
