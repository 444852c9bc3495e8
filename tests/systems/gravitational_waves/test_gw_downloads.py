"""Fetching GW150914: from a stand-in for the open science center, never from the network."""

import hashlib
import http.server
import threading
from typing import NamedTuple

import pytest
from gw_files import path_of

from etude.errors import DataError
from etude.systems.gravitational_waves import downloads, gw150914

CONTENT = {"H1": b"Hanford" * 50_000, "L1": b"Livingston" * 40_000}
NAMES = {
    "H1": "H-H1_LOSC_4_V2-1126259446-32.hdf5",
    "L1": "L-L1_LOSC_4_V2-1126259446-32.hdf5",
}


class Center(NamedTuple):
    asked: list[str]
    #: other contents than the right ones, by detector
    sent: dict[str, bytes]
    #: {"length": n}: the length that is announced
    announced: dict[str, int]


@pytest.fixture
def center(monkeypatch):
    """A center on this machine whose files have the right digests; the names asked for."""
    asked = []

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            name = self.path.rsplit("/", 1)[1]
            asked.append(name)
            body = sent.get(name[2:4], CONTENT[name[2:4]])
            self.send_response(200)
            self.send_header("Content-Length", str(announced.get("length", len(body))))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    sent, announced = {}, {}
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setattr(downloads, "ADDRESS", f"http://127.0.0.1:{server.server_port}/")
    published = {key: (NAMES[key], hashlib.sha256(CONTENT[key]).hexdigest()) for key in CONTENT}
    monkeypatch.setattr(downloads, "FILES", published)
    yield Center(asked, sent, announced)
    server.shutdown()
    server.server_close()
    thread.join()


def test_both_files_are_fetched_once(tmp_path, center):
    paths = gw150914(tmp_path)
    assert {key: path.read_bytes() for key, path in paths.items()} == CONTENT
    assert [path.name for path in paths.values()] == list(NAMES.values())
    assert center.asked == list(NAMES.values())
    assert sorted(p.name for p in (tmp_path / "gw150914").iterdir()) == sorted(NAMES.values())
    assert gw150914(tmp_path) == paths
    assert len(center.asked) == 2  # found the second time


def test_the_variable_and_the_cache_folder_are_used(tmp_path, center, monkeypatch):
    monkeypatch.setenv("ETUDE_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert gw150914()["H1"].parent == tmp_path / "data" / "gw150914"
    monkeypatch.delenv("ETUDE_DATA")
    assert gw150914()["L1"].parent == tmp_path / "cache" / "etude" / "gw150914"


@pytest.mark.parametrize("content", [b"<html>Please log in</html>", CONTENT["H1"][:1000], b""])
def test_what_is_not_the_published_file_is_not_kept(tmp_path, center, content):
    center.sent["H1"] = content
    with pytest.raises(DataError, match=r"not the published file.*SHA256.*try again"):
        gw150914(tmp_path)
    assert list((tmp_path / "gw150914").iterdir()) == []


def test_a_damaged_file_on_disk_is_told(tmp_path, center):
    gw150914(tmp_path)["L1"].write_bytes(b"damaged")
    with pytest.raises(DataError, match=r"L-L1.*is not the published file.*Delete it"):
        gw150914(tmp_path)


def test_offline_it_says_where_to_put_the_file(tmp_path, center, monkeypatch):
    monkeypatch.setattr(downloads, "ADDRESS", "http://127.0.0.1:9/")
    with pytest.raises(DataError, match=r"H-H1.*offline\?.*H-H1.*by hand"):
        gw150914(tmp_path)


def test_a_connection_that_breaks_leaves_nothing(tmp_path, center):
    center.announced["length"] = 10**6
    with pytest.raises(DataError, match="could not be fetched"):
        gw150914(tmp_path)
    assert list((tmp_path / "gw150914").iterdir()) == []


def test_the_digests_are_those_of_the_published_files():
    for detector, (name, digest) in downloads.FILES.items():
        path = path_of(detector)
        assert path.name == name
        assert hashlib.sha256(path.read_bytes()).hexdigest() == digest
