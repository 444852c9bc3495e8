"""Fetching GW150914: from a stand-in for the open science center, never from the network."""

import hashlib
import io
import urllib.error
from email.message import Message

import pytest
from gw_files import path_of

from etude.engine.errors import DataError
from etude.systems.gravitational_waves import downloads, gw150914

CONTENT = {"H1": b"Hanford" * 50_000, "L1": b"Livingston" * 40_000}
NAMES = {
    "H1": "H-H1_LOSC_4_V2-1126259446-32.hdf5",
    "L1": "L-L1_LOSC_4_V2-1126259446-32.hdf5",
}


class Response(io.BytesIO):
    def __init__(self, content: bytes):
        super().__init__(content)
        self.headers = Message()
        self.headers["Content-Length"] = str(len(content))


@pytest.fixture
def center(monkeypatch):
    """A center whose files have the right digests; returns the addresses asked for."""
    asked = []

    def answer(address, timeout):
        asked.append(address)
        return Response(CONTENT[address.rsplit("/", 1)[1][2:4]])

    monkeypatch.setattr(urllib.request, "urlopen", answer)
    published = {key: (NAMES[key], hashlib.sha256(CONTENT[key]).hexdigest()) for key in CONTENT}
    monkeypatch.setattr(downloads, "FILES", published)
    return asked


def test_both_files_are_fetched_once(tmp_path, center):
    paths = gw150914(tmp_path)
    assert {key: path.read_bytes() for key, path in paths.items()} == CONTENT
    assert [path.name for path in paths.values()] == list(NAMES.values())
    assert center == [f"https://gwosc.org/s/events/GW150914/{name}" for name in NAMES.values()]
    assert sorted(p.name for p in (tmp_path / "gw150914").iterdir()) == sorted(NAMES.values())
    assert gw150914(tmp_path) == paths
    assert len(center) == 2  # found the second time


def test_the_variable_and_the_cache_folder_are_used(tmp_path, center, monkeypatch):
    monkeypatch.setenv("ETUDE_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert gw150914()["H1"].parent == tmp_path / "data" / "gw150914"
    monkeypatch.delenv("ETUDE_DATA")
    assert gw150914()["L1"].parent == tmp_path / "cache" / "etude" / "gw150914"


@pytest.mark.parametrize("content", [b"<html>Please log in</html>", CONTENT["H1"][:1000], b""])
def test_what_is_not_the_published_file_is_not_kept(tmp_path, center, monkeypatch, content):
    monkeypatch.setattr(urllib.request, "urlopen", lambda *a, **k: Response(content))
    with pytest.raises(DataError, match=r"not the published file.*SHA-256.*try again"):
        gw150914(tmp_path)
    assert list((tmp_path / "gw150914").iterdir()) == []


def test_a_damaged_file_on_disk_is_told(tmp_path, center):
    gw150914(tmp_path)["L1"].write_bytes(b"damaged")
    with pytest.raises(DataError, match=r"L-L1.*is not the published file.*Delete it"):
        gw150914(tmp_path)


def test_offline_it_says_where_to_put_the_files(tmp_path, center, monkeypatch):
    def offline(address, timeout):
        raise urllib.error.URLError("Name or service not known")

    monkeypatch.setattr(urllib.request, "urlopen", offline)
    with pytest.raises(DataError, match=r"H-H1.*offline\?.*L-L1.*by hand.*ETUDE_DATA"):
        gw150914(tmp_path)


def test_a_connection_that_breaks_leaves_nothing(tmp_path, center, monkeypatch):
    class Breaking(Response):
        def read(self, size=-1, /):
            if self.tell() > 100_000:
                raise ConnectionResetError("reset by peer")
            return super().read(size)

    monkeypatch.setattr(urllib.request, "urlopen", lambda *a, **k: Breaking(CONTENT["H1"]))
    with pytest.raises(DataError, match="reset by peer"):
        gw150914(tmp_path)
    assert list((tmp_path / "gw150914").iterdir()) == []


def test_the_digests_are_those_of_the_published_files():
    for detector, (name, digest) in downloads.FILES.items():
        path = path_of(detector)
        assert path.name == name
        assert hashlib.sha256(path.read_bytes()).hexdigest() == digest
