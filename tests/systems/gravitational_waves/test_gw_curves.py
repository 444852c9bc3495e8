"""Noise curves: against the full tables, and against the ranges their documents are named by."""

from importlib import resources

import numpy as np
import pytest

from etude.errors import DataError
from etude.systems.gravitational_waves import CURVES, noise_curve

# The full tables of bilby 2.8.2 and, for O3, of lalsuite 7.26.16, log-log interpolated.
FREQUENCIES = np.array([20.0, 50.0, 100.0, 300.0, 1000.0])
FULL = {
    "aLIGOZeroDetHighPower": [1.9143e-23, 5.0262e-24, 3.9886e-24, 3.7360e-24, 5.4141e-24],
    "aLIGO-O3": [3.9547e-23, 8.5092e-24, 5.6197e-24, 6.0155e-24, 1.2768e-23],
    "aLIGO-O4": [4.3745e-23, 5.4971e-24, 3.9262e-24, 3.0423e-24, 4.5674e-24],
    "A+": [1.2237e-23, 2.9096e-24, 1.8663e-24, 1.5444e-24, 2.7178e-24],
    "aLIGO-early": [2.1432e-22, 3.5057e-23, 1.1177e-23, 8.4105e-24, 1.8032e-23],
}


@pytest.mark.parametrize("name", CURVES)
def test_the_thinned_table_is_the_full_one_within_a_hundredth(name):
    np.testing.assert_allclose(noise_curve(name).asd_at(FREQUENCIES), FULL[name], rtol=0.0101)


@pytest.mark.parametrize(
    ("name", "megaparsecs"), [("aLIGO-O3", 120), ("aLIGO-O4", 190), ("aLIGOZeroDetHighPower", 200)]
)
def test_two_neutron_stars_are_heard_as_far_as_the_document_says(name, megaparsecs):
    # B. Allen et al., Phys. Rev. D 85 (2012) 122006: SNR 8, over sky and orientation a 1/2.2648.
    sun, megaparsec = 4.925491e-6, 3.0856776e22 / 299792458.0  # in seconds
    f = np.geomspace(10, 1 / (6**1.5 * np.pi * 2.8 * sun), 20_000)
    integral = np.trapezoid(f ** (-7 / 3) / noise_curve(name).psd(f), f)
    chirp_mass = 1.4 * 2**-0.2 * sun
    horizon = np.sqrt(5 / 6 * np.pi ** (-4 / 3) * chirp_mass ** (5 / 3) * integral) / 8
    assert horizon / 2.2648 / megaparsec == pytest.approx(megaparsecs, rel=0.03)


@pytest.mark.parametrize("name", CURVES)
def test_every_table_names_document_source_and_licence(name):
    folder = resources.files("etude.systems.gravitational_waves") / "curves"
    head = [
        line for line in (folder / f"{name}.txt").read_text().splitlines() if line.startswith("#")
    ]
    for word in ("Document: LIGO-", "Source: ", "Licence: "):
        assert any(word in line for line in head), word


def test_nothing_is_known_outside_the_table():
    curve = noise_curve("aLIGO-O4")
    outside = np.array([0.0, 5.0, 1e4])
    assert np.all(np.isinf(curve.psd(outside)))
    assert np.all(np.isfinite(curve.psd(curve.frequencies)))


def test_a_power_law_is_interpolated_exactly(tmp_path):
    path = tmp_path / "mine.txt"
    path.write_text("# made up\n10 1e-22\n1000 1e-24  # a comment\n")
    curve = noise_curve(path)
    assert curve.name == "mine"
    np.testing.assert_allclose(curve.asd_at(np.array([10.0, 100.0, 1000.0])), [1e-22, 1e-23, 1e-24])
    np.testing.assert_allclose(curve(np.array([100.0])), 1e-46)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("10 1e-44\n1000 1e-46\n", "power spectral.*square root"),
        ("1000 1e-24\n10 1e-22\n", "increasing.*Sort"),
        ("0 1e-20\n10 1e-22\n", "positive"),
        ("10 nan\n100 1e-23\n", "finite"),
        ("10 1e-22 1e-22\n100 1e-23 1e-23\n", "two columns"),
        ("10 1e-22\n100\n", "two numbers"),
        ("frequency asd\n10 1e-22\n", "two numbers"),
        ("", "two columns"),
    ],
)
def test_a_bad_table_is_refused_with_its_name_and_the_cure(tmp_path, text, complaint):
    path = tmp_path / "bad.txt"
    path.write_text(text)
    with pytest.raises(DataError, match=rf"bad\.txt[\s\S]*{complaint}"):
        noise_curve(path)


def test_an_unknown_name_suggests_known_ones():
    with pytest.raises(DataError, match="Did you mean 'aLIGO-O4'"):
        noise_curve("aLIGO-O5")
