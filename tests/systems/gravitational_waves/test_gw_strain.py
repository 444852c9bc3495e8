"""Strain from files: what GWOSC, gwpy and broken downloads hold; resampling against SciPy."""

import importlib.resources

import h5py
import numpy as np
import pytest
from gw_files import GPS, path_of, strain_of
from scipy import signal

from etude.errors import DataError
from etude.systems.gravitational_waves import Strain, read_strain


def write(path, values, rate=64.0, start=100, duration=None, detector="H1"):
    """A file as GWOSC writes it."""
    with h5py.File(path, "w") as file:
        file["strain/Strain"] = values
        file["strain/Strain"].attrs.update(Xstart=start, Xspacing=1 / rate, Npoints=len(values))
        file["meta/GPSstart"] = start
        file["meta/Duration"] = len(values) / rate if duration is None else duration
        if detector:
            file["meta/Detector"] = detector
    return path


def test_a_file_comes_back_with_its_time_rate_and_detector(tmp_path):
    values = np.random.default_rng(0).standard_normal(640) * 1e-21
    strain = read_strain(write(tmp_path / "x.hdf5", values))
    np.testing.assert_array_equal(strain.values, values)
    assert (strain.detector, strain.sample_rate, strain.start) == ("H1", 64.0, 100.0)
    assert (strain.duration, strain.end) == (10.0, 110.0)
    np.testing.assert_allclose(strain.times[[0, 64, -1]], [100, 101, 110 - 1 / 64])
    part = read_strain(tmp_path / "x.hdf5", start=102.0, end=103.5)
    np.testing.assert_array_equal(part.values, values[128:224])
    assert (part.start, part.end) == (102.0, 103.5)


def test_gw150914_as_gwosc_gave_it():
    strain = strain_of("H1")
    with h5py.File(path_of("H1")) as file:
        np.testing.assert_array_equal(strain.values, file["strain/Strain"][()])
    assert repr(strain) == "Strain(H1, GPS 1126259446 to 1126259478, 131072 samples at 4096 Hz)"
    assert strain.whitened().start == GPS + 2
    assert strain_of("L1", 2048.0).times[16 * 2048] == GPS + 16


@pytest.mark.parametrize(("old", "new"), [(4096.0, 2048.0), (2048.0, 4096.0), (4096.0, 1536.0)])
def test_resampling_agrees_with_scipys_fourier_method(old, new):
    rng = np.random.default_rng(1)
    # periodic and below both Nyquist frequencies, so that the Fourier method is exact
    samples = round(4 * old)
    spectrum = np.zeros(samples // 2 + 1, complex)
    inside = slice(4, round(4 * 0.45 * min(old, new)))
    spectrum[inside] = rng.standard_normal((inside.stop - 4, 2)) @ [1, 1j]
    values = np.fft.irfft(spectrum)
    ours = Strain(values, old, 0.0, "H1").resampled(new)
    theirs = signal.resample(values, round(4 * new))
    assert ours.sample_rate == new
    assert len(ours.values) == len(theirs)
    middle = slice(round(0.2 * new), -round(0.2 * new))  # the ends continue otherwise
    np.testing.assert_allclose(ours.values[middle], theirs[middle], atol=2e-4 * values.std())


def test_nothing_is_folded_back_from_above_the_new_nyquist_frequency():
    times = np.arange(0, 8, 1 / 4096)
    for frequency in (1100.0, 1500.0, 2000.0):
        tone = Strain(np.sin(2 * np.pi * frequency * times), 4096.0, 0.0, "H1").resampled(2048.0)
        assert np.abs(tone.values[200:-200]).max() < 1e-3, frequency


def test_resampling_puts_no_step_at_the_ends():
    drift = Strain(np.linspace(1.0, 3.0, 4 * 4096), 4096.0, 0.0, "H1").resampled(2048.0)
    np.testing.assert_allclose(drift.values, np.linspace(1.0, 3.0, 4 * 4096)[::2], atol=1e-3)
    with pytest.raises(DataError, match="cannot go from 4096 to 2048"):
        Strain(np.zeros(99), 4096.0, 0.0, "H1").resampled(2048.001)


def test_a_gap_is_refused_with_the_longest_stretch_without_one(tmp_path):
    values = np.ones(640)
    values[[100, 500]] = np.nan
    path = write(tmp_path / "gaps.hdf5", values)
    with pytest.raises(DataError, match=r"gaps\.hdf5: 2 of 640.*start=101\.578125, end=107\.8125"):
        read_strain(path)
    assert len(read_strain(path, start=101.578125, end=107.8125).values) == 399
    with pytest.raises(DataError, match=r"short\.hdf5: 640 samples are 10 s.*says 12.* s.*gap"):
        read_strain(write(tmp_path / "short.hdf5", np.ones(640), duration=12))
    with pytest.raises(DataError, match="no finite sample"):
        read_strain(write(tmp_path / "nan.hdf5", np.full(64, np.nan)))


def test_a_file_that_is_cut_short_or_no_hdf5_is_named_with_the_cure(tmp_path):
    whole = write(tmp_path / "whole.hdf5", np.ones(64_000)).read_bytes()
    for name, content in (
        ("cut.hdf5", whole[: len(whole) // 2]),
        ("page.hdf5", b"<html>Not found</html>"),
        ("empty.hdf5", b""),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=rf"{name} cannot be read as HDF5[\s\S]*file again"):
            read_strain(tmp_path / name)
    with pytest.raises(DataError, match="There is no file"):
        read_strain(tmp_path / "absent.hdf5")


def test_what_a_file_does_not_say_is_asked_for(tmp_path):
    path = write(tmp_path / "x.hdf5", np.ones(64), detector=None)
    with pytest.raises(DataError, match=r"which detector.*Pass `detector`"):
        read_strain(path)
    assert read_strain(path, detector="V1").detector == "V1"
    with pytest.raises(DataError, match=r"'strain/strain'.*Did you mean 'strain/Strain'"):
        read_strain(path, "strain/strain")
    with pytest.raises(DataError, match=r"meta/Duration.*shape \(\).*Xstart"):
        read_strain(path, "meta/Duration")
    with pytest.raises(DataError, match=r"inside 100 to 101"):
        read_strain(path, start=99.0, detector="V1")


def test_gwpys_own_layout_is_read_by_channel(tmp_path):
    with h5py.File(tmp_path / "gwpy.h5", "w") as file:
        file["L1:STRAIN"] = np.arange(32, dtype=np.float32)
        file["L1:STRAIN"].attrs.update(x0=968654552.0, dx=1 / 16)
    strain = read_strain(tmp_path / "gwpy.h5", "L1:STRAIN")
    assert (strain.detector, strain.start, strain.sample_rate) == ("L1", 968654552.0, 16.0)
    assert strain.values.dtype == np.float64


def test_a_frame_file_without_gwpy_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "gwpy.io.gwf", None)
    (tmp_path / "H.gwf").write_bytes(b"IGWD")
    with pytest.raises(DataError, match=r"H\.gwf is a frame file.*pip install"):
        read_strain(tmp_path / "H.gwf", "H1:STRAIN")


@pytest.mark.filterwarnings("ignore")  # those of gwpy and astropy, which are not ours
@pytest.mark.parametrize("channel", ["H1:LDAS-STRAIN", "L1:LDAS-STRAIN", "V1:h_16384Hz"])
def test_a_frame_file_and_its_twin_in_hdf5_are_the_same(tmp_path, channel):
    pytest.importorskip("gwpy", reason="frame files are read by gwpy, the extra gwf")
    gwf = pytest.importorskip("gwpy.io.gwf")
    folder = importlib.resources.files("gwpy.testing") / "data"
    frames = folder / "HLV-HW100916-968654552-1.gwf"
    try:
        gwf.get_channel_names(frames)
    except ImportError as error:
        pytest.skip(f"gwpy has no reader of frames here: {error}")
    strain = read_strain(str(frames), channel, sample_rate=4096.0)
    twin = read_strain(str(frames)[:-3] + "hdf", channel, sample_rate=4096.0)
    np.testing.assert_array_equal(strain.values, twin.values)
    assert (strain.start, strain.detector, len(strain.values)) == (968654552.0, channel[:2], 4096)
    with pytest.raises(DataError, match=r"no channel 'H1:LDAS-STRAI'.*Did you mean"):
        read_strain(str(frames), "H1:LDAS-STRAI")
    with pytest.raises(DataError, match=r"no channel ''.*Known: 'H1:LDAS-STRAIN'"):
        read_strain(str(frames))
    (tmp_path / "cut.gwf").write_bytes(frames.read_bytes()[:5000])
    with pytest.raises(DataError, match=r"cut\.gwf cannot be read as a frame file"):
        read_strain(tmp_path / "cut.gwf", channel)
