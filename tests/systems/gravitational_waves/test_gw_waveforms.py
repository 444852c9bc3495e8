"""IMRPhenomD in bulk against the LIGO Algorithm Library (lalsimulation of lalsuite 7.26)."""

import subprocess
import sys

import numpy as np
import pytest

from etude.systems.gravitational_waves import Parameters, Population, polarizations
from etude.systems.gravitational_waves.waveforms import (
    SOLAR_MASS_IN_SECONDS,
    amplitude_and_phase,
)

FREQUENCIES = np.array([25.0, 60.0, 150.0, 300.0])

# SimInspiralChooseFDWaveform(m1, m2, s1z, s2z, d, inclination, phase, f_min=15, f_ref=20,
# deltaF=1/8, IMRPhenomD): (parameters, plus, cross) at FREQUENCIES.
LAL = [
    (
        (36.0, 29.0, 0.0, 0.0, 410.0, 0.0, 0.0),
        [
            -1.5681767890321363e-23 - 6.2216606060673e-23j,
            1.9083312315157323e-23 - 6.252084246818078e-24j,
            2.3611985567314603e-24 + 7.571257865741062e-24j,
            -1.6579544294307845e-24 + 1.1452196664010233e-24j,
        ],
        [
            -6.2216606060673e-23 + 1.5681767890321363e-23j,
            -6.252084246818078e-24 - 1.9083312315157323e-23j,
            7.571257865741062e-24 - 2.3611985567314603e-24j,
            1.1452196664010233e-24 + 1.6579544294307845e-24j,
        ],
    ),
    (
        (8.0, 6.0, 0.5, -0.3, 200.0, 1.1, 0.7),
        [
            -1.5421785775917343e-24 + 2.3884631812523982e-23j,
            8.264326854025595e-24 - 1.4866016871454173e-24j,
            -1.4152950740650096e-24 - 2.289466907086193e-24j,
            -1.054111815426588e-24 + 2.8946454955622064e-25j,
        ],
        [
            1.797052684429713e-23 + 1.1603177199817845e-24j,
            -1.1185022961759043e-24 - 6.217986056726176e-24j,
            -1.72256900737942e-24 + 1.064852006960834e-24j,
            2.177898532873696e-25 + 7.9310180808738625e-25j,
        ],
    ),
    (
        (45.0, 12.0, -0.8, 0.6, 900.0, 2.5, 2.0),
        [
            -3.99189256641033e-24 + 1.571682293348535e-23j,
            -3.397003593625814e-24 + 2.1561193755238113e-24j,
            8.76125157438512e-25 + 1.3692183102599828e-24j,
            -5.187457480479026e-26 + 1.230505236310292e-25j,
        ],
        [
            -1.5338279809154175e-23 - 3.8957469592174225e-24j,
            -2.104188767900635e-24 - 3.315186017698579e-24j,
            -1.3362403872248513e-24 + 8.55023491039044e-25j,
            -1.2008682480570003e-25 - 5.0625164303503793e-26j,
        ],
    ),
]


def binary(*first_seven: float) -> Parameters:
    return Parameters(*(np.array([x]) for x in (*first_seven, 0.0, 0.0, 0.0)))


@pytest.mark.parametrize(("parameters", "plus", "cross"), LAL, ids=["GW150914", "light", "uneven"])
def test_waveform_is_that_of_lal(parameters, plus, cross):
    ours = polarizations(binary(*parameters), FREQUENCIES)
    scale = np.abs(plus)
    np.testing.assert_allclose(ours[0][0] / scale, np.array(plus) / scale, atol=2e-3)
    np.testing.assert_allclose(ours[1][0] / scale, np.array(cross) / scale, atol=2e-3)


def test_early_inspiral_is_newtonian():
    # |h| = sqrt(5/24) / pi^(2/3) (G Mc)^(5/6) f^(-7/6) / (c^(3/2) D), face-on, and the time to
    # coalescence 5/256 (pi f)^(-8/3) (G Mc / c^3)^(-5/3): Maggiore, Gravitational Waves I, ch. 4.
    light = Parameters.of(1.4, 1.4, 100.0)
    f = np.array([10.0, 15.0])
    wave = amplitude_and_phase(light, f, low_frequency=5.0)
    mass = light.chirp_mass[0] * SOLAR_MASS_IN_SECONDS
    distance = 100.0 * 3.0856775814913673e22 / 299792458.0
    expected = np.sqrt(5 / 24) / np.pi ** (2 / 3) * mass ** (5 / 6) * f ** (-7 / 6) / distance
    np.testing.assert_allclose(wave.amplitude[0], expected, rtol=0.01)
    time = 5 / 256 * (np.pi * f) ** (-8 / 3) * mass ** (-5 / 3)
    np.testing.assert_allclose(-wave.time[0], time, rtol=0.03)


def test_interpolation_costs_nothing_visible():
    binaries = Population().draw(np.random.default_rng(1), 64)
    frequencies = np.arange(20.0, 1024.0, 0.5)
    fine = polarizations(binaries, frequencies)[0]
    # An odd upper end moves all nodes.
    moved = polarizations(binaries, np.append(frequencies, 1391.7))[0][:, :-1]
    overlap = np.sum(fine.conj() * moved, axis=1).real
    norms = np.linalg.norm(fine, axis=1) * np.linalg.norm(moved, axis=1)
    assert np.max(1 - overlap / norms) < 1e-8


def test_zero_negative_repeated_and_unordered_frequencies_are_harmless():
    binaries = Population().draw(np.random.default_rng(2), 3)
    frequencies = np.array([0.0, 100.0, 100.0, -30.0, 0.0, 50.0, 1e5, 100.0])
    plus, cross = polarizations(binaries, frequencies)
    assert np.all(np.isfinite(plus))
    assert np.all(np.isfinite(cross))
    assert np.all(plus[:, [0, 3, 4, 6]] == 0)
    assert np.all(plus[:, [1, 5]] != 0)
    np.testing.assert_array_equal(plus[:, 1], plus[:, 2])
    np.testing.assert_array_equal(plus[:, 1], plus[:, 7])
    alone, _ = polarizations(binaries, np.array([0.0]))
    assert np.all(alone == 0)


def test_a_binary_does_not_depend_on_its_company():
    binaries = Population().draw(np.random.default_rng(3), 70)  # more than one batch
    frequencies = np.linspace(20.0, 500.0, 50)
    together = polarizations(binaries, frequencies)[1]
    np.testing.assert_allclose(polarizations(binaries[66:68], frequencies)[1], together[66:68])


def test_binary_that_ends_below_the_band_is_refused():
    with pytest.raises(ValueError, match=r"Binary 0 of 3000 \+ 3000 .* ends at 6.77 Hz"):
        polarizations(Parameters.of(3000.0, 3000.0), FREQUENCIES)


@pytest.mark.parametrize("flag", ["False", pytest.param("True", marks=pytest.mark.slow)])
def test_precision_of_jax_is_left_as_it_was(flag):
    # ripplegw 0.4.1 turns on 64 bit for the whole process when it is imported.
    program = f"""
import jax, numpy as np
jax.config.update("jax_enable_x64", {flag})
from etude.systems.gravitational_waves import Population, polarizations
plus, _ = polarizations(Population().draw(np.random.default_rng(0), 1), np.array([50.0]))
import ripplegw
assert jax.config.jax_enable_x64 is {flag}
assert jax.numpy.ones(1).dtype == ("float64" if {flag} else "float32")
assert plus.dtype == "complex128" and abs(plus[0, 0]) > 0
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=300)
