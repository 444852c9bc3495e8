"""Populations against their distributions (Kolmogorov-Smirnov tests of SciPy)."""

import numpy as np
import pytest
from scipy import stats

from etude.systems.gravitational_waves import Parameters, Population
from etude.systems.gravitational_waves.population import CHIRP_MASS_OF_NEUTRON_STARS

N = 20_000
UNIFORM = Population().draw(np.random.default_rng(0), N)


@pytest.mark.parametrize(
    ("values", "low", "high"),
    [
        (np.sin(UNIFORM.declination), -1, 1),  # cos-uniform, not uniform
        (np.cos(UNIFORM.inclination), -1, 1),
        (UNIFORM.right_ascension, 0, 2 * np.pi),
        (UNIFORM.polarization, 0, np.pi),
        (UNIFORM.phase, 0, 2 * np.pi),
        (UNIFORM.spin_1z, -0.9, 0.9),
        (np.append(UNIFORM.mass_1, UNIFORM.mass_2)[::2], 5, 50),
    ],
)
def test_isotropic_and_uniform(values, low, high):
    assert stats.kstest(values, stats.uniform(low, high - low).cdf).pvalue > 1e-3


def test_uniform_in_the_volume():
    shell = Population(distances=(500.0, 1500.0), distance="luminosity")
    distance = shell.draw(np.random.default_rng(1), N).distance
    cubes = stats.uniform(500.0**3, 1500.0**3 - 500.0**3)
    assert stats.kstest(distance**3, cubes.cdf).pvalue > 1e-3


def test_chirp_distance_makes_masses_equally_loud():
    # The Newtonian amplitude goes as Mc^(5/6) / D.
    loudness = UNIFORM.chirp_mass ** (5 / 6) / UNIFORM.distance
    chirp_distance = CHIRP_MASS_OF_NEUTRON_STARS ** (5 / 6) / loudness
    cubes = stats.uniform(130.0**3, 350.0**3 - 130.0**3)
    assert stats.kstest(chirp_distance**3, cubes.cdf).pvalue > 1e-3
    assert abs(stats.spearmanr(loudness, UNIFORM.chirp_mass).statistic) < 0.03


def test_same_generator_same_binaries():
    again = Population().draw(np.random.default_rng(0), N)
    for name, column in UNIFORM.columns().items():
        np.testing.assert_array_equal(column, again.columns()[name])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"masses": (50.0, 5.0)}, "masses=.*expected 0 < low <= high"),
        ({"distances": (0.0, 5.0)}, "distances=.*expected 0 < low <= high"),
        ({"maximal_spin": 1.5}, r"maximal_spin=1\.5"),
    ],
)
def test_impossible_population_is_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        Population(**wrong)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"mass_1": 5.0, "mass_2": 10.0}, "sort the two masses"),
        ({"mass_1": 5.0, "mass_2": float("nan")}, "mass_2 holds values that are not finite"),
        ({"mass_1": 5.0, "mass_2": 4.0, "distance": -1.0}, "distance must be positive"),
        ({"mass_1": 5.0, "mass_2": 4.0, "spin_2z": 1.1}, "spin_2z must be within"),
        ({"mass_1": 5.0, "mass_2": 4.0, "inclinaton": 1.1}, "Did you mean 'inclination'"),
    ],
)
def test_impossible_binary_is_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        Parameters.of(**wrong)
