"""The archive of recordings is the one published, and is unpacked whole or not at all."""

import hashlib
import io
import tarfile

import numpy as np
import pytest
import scipy.io

import etude as et
from etude.systems.machinery import downloads as module
from etude.systems.machinery.splits import purity

NAMES = {
    "train": ["baseline_1", "baseline_2"]
    + [f"OuterRaceFault_{i}" for i in (1, 2)]
    + [f"OuterRaceFault_vload_{i}" for i in range(1, 6)]
    + [f"InnerRaceFault_vload_{i}" for i in range(1, 6)],
    "test": ["baseline_3", "OuterRaceFault_3"]
    + [f"{race}RaceFault_vload_{i}" for race in ("Outer", "Inner") for i in (6, 7)],
}


def packed(path, monkeypatch, names=NAMES):
    """An archive of short recordings, as if it were the one published."""
    path.parent.mkdir(parents=True)
    rng = np.random.default_rng(0)
    with tarfile.open(path, "w:gz") as archive:
        for part, files in names.items():
            for name in files:
                slow = "vload" in name
                bearing = {
                    "sr": 48_828 if slow else 97_656,
                    "gs": rng.normal(size=500 if slow else 1000),
                    "load": str(50 * int(name[-1])) if slow else 270,
                    "rate": 25,
                }
                content = io.BytesIO()
                scipy.io.savemat(content, {"bearing": bearing})
                member = tarfile.TarInfo(f"package/data/real_bearings/{part}/{name}.mat")
                member.size = content.tell()
                content.seek(0)
                archive.addfile(member, content)
    monkeypatch.setattr(module, "SHA256", hashlib.sha256(path.read_bytes()).hexdigest())


def test_parts_are_read_at_one_rate_and_divided_by_recordings(tmp_path, monkeypatch):
    packed(tmp_path / "mfpt" / module.ARCHIVE, monkeypatch)
    records, split = module.mfpt(tmp_path)
    assert np.bincount(records.labels[split.train]).tolist() == [2, 7, 5]
    assert np.bincount(records.labels[split.test]).tolist() == [1, 3, 2]
    assert records.sample_rate == 48_828
    assert {len(signal) for signal in records.signals} == {500}
    (tmp_path / "mfpt" / module.ARCHIVE).unlink()  # no longer needed
    assert len(module.mfpt(tmp_path).records) == 20


def test_the_published_division_keeps_recordings_apart_and_nothing_more(tmp_path, monkeypatch):
    packed(tmp_path / "mfpt" / module.ARCHIVE, monkeypatch)
    records, split = module.mfpt(tmp_path)
    split.check(records.groups)
    assert purity(records.groups, records.labels).pure == 3
    assert {leak.level: len(leak.shared) for leak in split.leaks(records.groups)} == {
        "condition": 2,  # healthy and outer race at 270 lb
        "bearing": 3,
    }


def test_another_archive_or_half_of_one_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "mfpt" / module.ARCHIVE
    packed(path, monkeypatch, {"train": NAMES["train"], "test": NAMES["test"][:2]})
    with pytest.raises(et.DataError, match="2 recordings of test, expected 6"):
        module.mfpt(tmp_path)
    assert [file.name for file in path.parent.iterdir()] == [module.ARCHIVE]
    path.write_bytes(b"something else")
    with pytest.raises(et.DataError, match="is not the published file"):
        module.mfpt(tmp_path)


def test_without_a_network_the_place_for_the_archive_is_named(tmp_path, monkeypatch):
    failed = module.subprocess.CompletedProcess([], 1, "", "tried\nno route")
    monkeypatch.setattr(module.subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(et.DataError, match=r"no route.*Put it into .*mfpt by hand"):
        module.mfpt(tmp_path)
