"""The history: exact numbers, valid JSON, torn lines, going back, a full disk, speed."""

import hashlib
import json
import subprocess

import numpy as np
import pytest
from hypothesis import given, strategies as st
from hypothesis.extra import numpy as hnp

from etude.run.history import History, as_columns
from etude.run.lines import WriteError


def append(history, values, columns, common=None, start=0):
    steps = np.arange(start, start + len(values))
    common = {"phase": "fit", "visit": 0} if common is None else common
    history.append_steps(common, columns, steps, steps // 2, steps + 7, values)


@given(
    values=hnp.arrays(np.float32, st.tuples(st.integers(0, 6), st.integers(0, 3))),
    names=st.lists(st.text(min_size=1), min_size=3, max_size=3, unique=True),
    phase=st.text(),
)
def test_every_float32_returns_exactly_under_any_name(values, names, phase, tmp_path_factory):
    path = tmp_path_factory.mktemp("history") / "history.jsonl"
    columns = [f"train/{name}" for name in names[: values.shape[1]]]
    history = History(path)
    append(history, values, columns, {"phase": phase})
    history.close()
    for line in path.read_bytes().split(b"\n")[:-1]:  # strict: NaN is no JSON
        json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} in JSON"))
    records = History.read(path)
    assert [record["step"] for record in records] == list(range(len(values)))
    assert [record["global_step"] for record in records] == list(range(7, 7 + len(values)))
    assert [record["epoch"] for record in records] == [i // 2 for i in range(len(values))]
    read = [[record[column] for column in columns] for record in records]
    got = np.array(read, np.float32).reshape(values.shape)
    np.testing.assert_array_equal(got, values)


def test_lines_look_as_documented(tmp_path):
    history = History(tmp_path / "history.jsonl")
    append(history, np.array([[0.5, 1], [np.inf, -np.inf]], np.float32), ["train/loss", "100%/x"])
    history.append({"event": "validation", "valid/loss": np.float32("nan"), "matrix": [[1, 2]]})
    history.close()
    assert (tmp_path / "history.jsonl").read_text().splitlines() == [
        '{"phase":"fit","visit":0,"step":0,"epoch":0,"global_step":7,"train/loss":0.5,"100%/x":1}',
        '{"phase":"fit","visit":0,"step":1,"epoch":0,"global_step":8,"train/loss":"inf",'
        '"100%/x":"-inf"}',
        '{"event":"validation","valid/loss":"nan","matrix":[[1,2]]}',
    ]


def test_offset_and_truncate_go_back_to_the_same_bytes(tmp_path):
    history = History(tmp_path / "history.jsonl")
    append(history, np.ones((3, 1), np.float32), ["train/é"])
    mark = history.mark()
    history.flush()
    before = history.path.read_bytes()
    assert mark == {"bytes": len(before), "digest": hashlib.sha256(before).hexdigest()}
    append(history, np.ones((2, 1), np.float32), ["train/é"], start=3)
    assert history.rewind(mark, 2) is None
    assert history.path.read_bytes() == before
    assert history.mark() == mark
    history.append({"event": "again"})
    history.close()
    assert [record.get("step") for record in History.read(history.path)] == [0, 1, 2, None]
    again = History(history.path)
    assert again.rewind(mark, 2) is None
    assert again.mark() == mark
    again.close()


def test_what_differs_from_the_mark_is_sorted_out(tmp_path):
    history = History(tmp_path / "history.jsonl")
    append(history, np.ones((3, 1), np.float32), ["train/x"], start=1)
    mark = history.mark()
    append(history, np.ones((2, 1), np.float32), ["train/x"], start=4)
    history.close()
    lines = history.path.read_bytes().splitlines(keepends=True)
    history.path.write_bytes(b"".join([lines[0], b"{broken\n", *lines[2:]]))
    history = History(history.path)
    said = history.rewind(mark, 10)
    assert said is not None
    assert "line 2 cannot be read; the metrics of 8 of 10 steps are missing" in said
    history.append({"event": "again"})
    new = history.mark()
    history.close()
    content = history.path.read_bytes()
    assert content == lines[0] + lines[2] + b'{"event":"again"}\n'
    assert new == {"bytes": len(content), "digest": hashlib.sha256(content).hexdigest()}


@pytest.mark.parametrize("torn", [b"{", b'{"step":1}', b'{"x":"' + b"y" * 10_000])
def test_a_torn_last_line_is_left_out_and_overwritten(torn, tmp_path):
    path = tmp_path / "history.jsonl"
    path.write_bytes(b'{"step":0}\n' + torn)
    assert History.read(path) == [{"step": 0}]
    history = History(path)
    assert history.mark()["bytes"] == 11
    history.append({"step": 1})
    history.close()
    assert path.read_bytes() == b'{"step":0}\n{"step":1}\n'


@pytest.mark.parametrize("broken", [b'{"st', b"[2]", b'{"x":"\xff"}', b""])
def test_a_broken_line_in_the_middle_is_named_and_left_out(broken, tmp_path):
    path = tmp_path / "history.jsonl"
    path.write_bytes(b'{"step":0}\n' + broken + b'\n{"step":2}\n')
    with pytest.warns(UserWarning, match="history.jsonl: line 2 cannot be read, and left out"):
        assert History.read(path) == [{"step": 0}, {"step": 2}]


def test_columns_that_do_not_fit_are_refused(tmp_path):
    history = History(tmp_path / "history.jsonl")
    with pytest.raises(ValueError, match="got 1 columns"):
        append(history, np.ones((2, 2), np.float32), ["train/loss"])
    history.close()


def test_as_columns_takes_each_metric_with_its_own_steps(tmp_path):
    records = [
        {"global_step": 1, "train/loss": 2.0},
        {"global_step": 2, "train/loss": 1, "train/accuracy": 0.5},
        {"event": "validation", "global_step": 2, "valid/loss": 3.0, "epoch": 1},
    ]
    columns = as_columns(records, "train/")
    assert sorted(columns) == ["train/accuracy", "train/loss"]
    np.testing.assert_array_equal(columns["train/loss"].step, [1, 2])
    np.testing.assert_array_equal(columns["train/loss"].value, [2, 1])
    np.testing.assert_array_equal(columns["train/accuracy"].step, [2])


def test_a_full_disk_is_named_and_nothing_is_lost_after_it(tmp_path):
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(tmp_path)], capture_output=True
    )
    if mounted.returncode != 0:
        pytest.skip("mounting a tmpfs is not allowed here")
    try:
        (tmp_path / "ballast").write_bytes(bytes(40_000))
        history = History(tmp_path / "history.jsonl")
        append(history, np.ones((500, 2), np.float32), ["train/loss", "train/accuracy"])
        with pytest.raises(WriteError, match=r"No space left.*history\.jsonl") as failure:
            history.flush()
        assert failure.value.filename == str(tmp_path / "history.jsonl")
        assert 0 < len(History.read(history.path)) < 500
        (tmp_path / "ballast").unlink()
        history.append({"event": "end"})
        history.close()
        records = History.read(history.path)
        assert [record.get("step") for record in records] == [*range(500), None]
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)
