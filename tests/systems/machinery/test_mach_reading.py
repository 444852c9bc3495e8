"""Files of each laboratory are read as they lie, and what is wrong with one is said by name."""

import h5py
import numpy as np
import pytest
import scipy.io

import etude as et
from etude.systems import machinery
from etude.systems.machinery.reading import Recording, read_recording, read_records, records_of

NOISE = np.random.default_rng(0).normal(size=4000)


def mfpt(path, **changed):
    bearing = {"sr": 97656, "gs": NOISE, "load": 270, "rate": 25, **changed}
    bearing = {name: value for name, value in bearing.items() if value is not None}
    lines = {"BPFO": 81.125, "BPFI": 118.875, "FTF": 14.8375, "BSF": 63.91}
    scipy.io.savemat(path, {"bearing": bearing, **lines})
    return path


def case_western(path, **others):
    scipy.io.savemat(
        path, {"X105_DE_time": NOISE[:, None], "X105_FE_time": -NOISE, "X105RPM": 1797, **others}
    )
    return path


def paderborn(path, names=("force", "speed", "vibration_1")):
    data = {
        "force": np.ones(250),
        "speed": np.full(250, 1500.0),
        "vibration_1": NOISE,
    }
    y = np.array([(name, data[name]) for name in names], [("Name", object), ("Data", object)])
    x = np.zeros(2, [("Name", object), ("Data", object)])
    x[0] = ("HostService", np.arange(4000) / 64_000)
    x[1] = ("Mech_4kHz", np.arange(250) / 4_000)
    scipy.io.savemat(path, {"N15_M07_F10_KA01_1": {"Info": 1, "X": x, "Y": y}})
    return path


def test_mfpt_has_everything_but_its_own_ftf(tmp_path):
    found = read_recording(mfpt(tmp_path / "a.mat", load="270"))
    np.testing.assert_array_equal(found.signal, NOISE.astype(np.float32))
    assert (found.sample_rate, found.speed) == (97656, 25)
    assert found.load == pytest.approx(1201, abs=0.1)  # N
    assert found.orders.frequencies(25).ftf == pytest.approx(81.125 / 8)


def test_case_western_gives_the_drive_end_and_its_speed(tmp_path):
    path = case_western(tmp_path / "105.mat")
    found = read_recording(path, sample_rate=12_000.0)
    np.testing.assert_array_equal(found.signal, NOISE.astype(np.float32))
    assert found.speed == pytest.approx(29.95)
    assert read_recording(path, sample_rate=12e3, channel="FE").signal[0] == -found.signal[0]
    with pytest.raises(et.DataError, match="does not say its sample rate"):
        read_recording(path)
    with pytest.raises(et.DataError, match="no channel 'BA'; it has X105_DE_time"):
        read_recording(path, sample_rate=12e3, channel="BA")


def test_two_recordings_in_one_file_need_a_choice(tmp_path):
    path = case_western(tmp_path / "99.mat", X098_DE_time=2 * NOISE)
    with pytest.raises(et.DataError, match="2 variables for channel 'DE'"):
        read_recording(path, sample_rate=12e3)
    found = read_recording(path, sample_rate=12e3, channel="X098_DE_time")
    assert found.signal[0] == np.float32(2 * NOISE[0])
    assert found.speed is None  # that of the other recording is not its own


def test_paderborn_gives_vibration_rate_and_speed(tmp_path):
    found = read_recording(paderborn(tmp_path / "N15_M07_F10_KA01_1.mat"))
    assert (found.sample_rate, found.speed) == (64_000, 25)
    np.testing.assert_array_equal(found.signal, NOISE.astype(np.float32))
    with pytest.raises(et.DataError, match="no channel 'vibration_1'"):
        read_recording(paderborn(tmp_path / "b.mat", names=("force", "speed")))


def test_plain_matlab_csv_and_npy(tmp_path):
    scipy.io.savemat(tmp_path / "a.mat", {"x": NOISE, "fs": 20480.0, "fault": "usure"})
    assert read_recording(tmp_path / "a.mat").sample_rate == 20480
    np.save(tmp_path / "a.npy", NOISE[:, None])
    np.savetxt(tmp_path / "a.csv", NOISE)
    table = np.stack([np.arange(4000) / 1e3, NOISE], axis=1)
    np.savetxt(tmp_path / "b.csv", table, delimiter=",", header="time,gs", comments="")
    for path, channel in (("a.mat", None), ("a.npy", None), ("a.csv", None), ("b.csv", "gs")):
        rate = None if path == "a.mat" else 20480.0
        found = read_recording(tmp_path / path, sample_rate=rate, channel=channel, speed=25.0)
        np.testing.assert_allclose(found.signal, NOISE, rtol=1e-6)
        assert found.speed == 25
    np.save(tmp_path / "two.npy", np.stack([NOISE, -NOISE]))
    found = read_recording(tmp_path / "two.npy", sample_rate=1e3, channel="1")
    assert found.signal[0] == np.float32(-NOISE[0])


def test_other_rates_are_resampled_to_one(tmp_path):
    time = np.arange(20_000) / 97656
    path = mfpt(tmp_path / "a.mat", gs=np.sin(2 * np.pi * 5000 * time))
    found = read_recording(path, resample_to=48828.0)
    assert (len(found.signal), found.sample_rate) == (10_000, 48828)
    expected = np.sin(2 * np.pi * 5000 * time[::2])
    np.testing.assert_allclose(found.signal[100:-100], expected[100:-100], atol=1e-3)


def text(path, content):
    path.write_text(content)
    return path


def cut(path):
    """A file of which the second half is missing."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


def saved(path, values):
    np.save(path, values)
    return path


def mat(path, **variables):
    scipy.io.savemat(path, variables)
    return path


HOLED = np.where(np.arange(4000) == 7, np.nan, NOISE)


@pytest.mark.parametrize(
    ("make", "settings", "said"),
    [
        (lambda f: f / "a.mat", {}, "There is no file"),
        (lambda f: text(f / "a.wav", ""), {}, "of no kind that can be read"),
        (lambda f: text(f / "a.mat", "nothing"), {}, "cannot be read as a MATLAB file"),
        (lambda f: cut(mfpt(f / "a.mat")), {}, "cannot be read as a MATLAB file"),
        (lambda f: mat(f / "a.mat", y=NOISE), {}, "another structure: it has y"),
        (lambda f: mfpt(f / "a.mat", gs=None), {}, "bearing has no field 'gs'"),
        (lambda f: mfpt(f / "a.mat", sr=None), {}, "bearing has no field 'sr'"),
        (lambda f: mfpt(f / "a.mat", rate=0), {}, "speed=0"),
        (lambda f: mfpt(f / "a.mat", rate="fast"), {}, "bearing.rate is 'fast'"),
        (lambda f: mfpt(f / "a.mat"), {"sample_rate": 48828.0}, "the file says 97656 Hz"),
        (lambda f: mfpt(f / "a.mat", sr=0), {}, "sample_rate=0"),
        (lambda f: mfpt(f / "a.mat", gs=0 * NOISE), {}, "a.mat: the channel is silent"),
        (lambda f: mfpt(f / "a.mat", gs=HOLED), {}, "not finite, the first at 7"),
        (lambda f: mfpt(f / "a.mat", gs=np.ones((4000, 2))), {}, r"shape \(4000, 2\)"),
        (lambda f: saved(f / "a.npy", NOISE.reshape(2, -1)), {"sample_rate": 1e3}, "(2, 2000)"),
        (lambda f: saved(f / "a.npy", np.array(["a"])), {"sample_rate": 1e3}, "real numbers"),
        (lambda f: saved(f / "a.npy", NOISE), {"sample_rate": 1e3, "channel": "1"}, "no channel"),
        (lambda f: text(f / "a.csv", ""), {"sample_rate": 1e3}, "holds no sample"),
        (lambda f: text(f / "a.csv", "1,2\n3,4"), {"sample_rate": 1e3}, "2 channels: 0, 1"),
        (lambda f: text(f / "a.csv", "1\ntwo"), {"sample_rate": 1e3}, "row 2: .*'two'"),
        (lambda f: text(f / "a.csv", "1\n2"), {}, "does not say its sample rate"),
        (
            lambda f: text(f / "a.csv", "time,gs\n1,2"),
            {"sample_rate": 1e3, "channel": "g"},
            "Did you mean 'gs'|Known: 'gs'",
        ),
    ],
    ids=range(22),
)
def test_files_that_cannot_be_read_are_refused_by_name(tmp_path, make, settings, said):
    with pytest.raises(et.DataError, match=said):
        read_recording(make(tmp_path), **settings)


def test_version_7_3_is_named(tmp_path):
    head = b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM"
    (tmp_path / "a.mat").write_bytes(head + bytes(600))
    with pytest.raises(et.DataError, match=r"version 7\.3"):
        read_recording(tmp_path / "a.mat")


def test_recordings_of_several_rates_are_not_mixed():
    slow = Recording("a", NOISE.astype(np.float32), 1e3, speed=20.0, load=5.0)
    fast = Recording("b", NOISE.astype(np.float32), 2e3, speed=20.0)
    with pytest.raises(et.DataError, match=r"1000, 2000 Hz.*learns the rate"):
        records_of([slow, fast], [0, 1], ("a", "b"))
    records = records_of([slow, fast], [0, 1], ("a", "b"), sample_rate=1000.0, bearings=["x", "x"])
    assert [len(signal) for signal in records.signals] == [4000, 2000]
    assert sorted(records.metadata) == ["speed"]  # not every load is known
    assert records.groups.bearing.tolist() == [0, 0]
    assert len(set(records.groups.condition)) == 2
    assert len(records.windows(1000)) == 6


def seed_file(path, **changed):
    sets = {"signals": NOISE.reshape(4, 1, 1000), "labels": [0, 1, 2, 0], **changed}
    with h5py.File(path, "w") as file:
        file.attrs.update(num_classes=11, sampling_rate=20480)
        for name, values in sets.items():
            if values is not None:
                file[f"val/{name}"] = values
    return path


def test_the_data_set_of_the_seed_is_read(tmp_path):
    records = read_records(seed_file(tmp_path / "a.h5"), "val")
    assert records.signals.shape == (4, 1000)
    assert (records.sample_rate, len(records.classes)) == (20480, 11)
    assert records.labels.tolist() == [0, 1, 2, 0]


@pytest.mark.parametrize(
    ("changed", "part", "said"),
    [
        ({}, "train", "no group 'train'. Known: 'val'"),
        ({"signals": None}, "val", "no data set val/signals. Known: 'labels'"),
        ({"signals": NOISE.reshape(4, 2, 500)}, "val", "one channel each"),
        ({"labels": [0, 1]}, "val", "2 entries of labels for 4"),
        ({"labels": [0, 1, 2, 11]}, "val", "expected 0 to 10"),
    ],
    ids=["group", "signals", "channels", "labels", "classes"],
)
def test_data_sets_of_another_form_are_refused(tmp_path, changed, part, said):
    with pytest.raises(et.DataError, match=said):
        read_records(seed_file(tmp_path / "a.h5", **changed), part)
    (tmp_path / "b.h5").write_text("nothing")
    with pytest.raises(et.DataError, match="cannot be read as HDF5"):
        read_records(tmp_path / "b.h5")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("acc\n1,5\n2,5\n", r"row 2: \['1', '5'\] has 2 fields, expected 1.*decimals commas"),
        ("1\n\n3\n", "row 2.* has 0 fields"),
        ("a,a\n1,2\n", "2 columns 'a'"),
    ],
    ids=["commas", "blank", "names"],
)
def test_tables_that_would_lose_numbers_are_refused(tmp_path, text, words):
    (tmp_path / "x.csv").write_text(text)
    with pytest.raises(et.DataError, match=words):
        machinery.read_recording(
            tmp_path / "x.csv", sample_rate=10.0, channel="a" * ("a,a" in text) or None
        )


def test_a_large_offset_does_not_take_the_place_of_the_vibration(tmp_path):
    wave = np.sin(np.arange(4000) / 3)
    np.save(tmp_path / "x.npy", wave + 1e8)
    found = machinery.read_recording(tmp_path / "x.npy", sample_rate=1000.0).signal
    np.testing.assert_allclose(found, wave - wave.mean(), atol=1e-6)


def test_measured_speeds_of_one_state_are_one_condition():
    wave = np.sin(np.arange(4000) / 3).astype(np.float32)
    speeds = [25.0, 25.001, 24.999, 29.5, 29.51]
    recordings = [machinery.Recording(f"{s}", wave, 1000.0, s, 100.0) for s in speeds]
    groups = machinery.records_of(recordings, [0] * 5, ("a",), bearings=["one"] * 5).groups
    assert np.unique(groups.condition).tolist() == [0, 1]
    assert groups.condition[:3].tolist() == [groups.condition[0]] * 3


def test_recordings_are_not_resampled_upwards():
    wave = np.sin(np.arange(4000) / 3).astype(np.float32)
    two = [machinery.Recording("slow", wave, 4000.0), machinery.Recording("fast", wave, 8000.0)]
    with pytest.raises(et.DataError, match="a recording is at 4000 Hz: what it lacks above 2000"):
        machinery.records_of(two, [0, 1], ("a", "b"), sample_rate=8000.0)
