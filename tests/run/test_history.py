"""The history: exact numbers, valid JSON, torn lines, going back, a full disk, speed."""

import hashlib
import json
import pickle
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, strategies as st
from hypothesis.extra import numpy as hnp

from etude.errors import ColumnError, ConfigurationError, EtudeError, RunError
from etude.run import History, Run
from etude.run.history_writers import HistoryFile, HistoryInMemory, PackedHistory, read_file
from etude.run.json_lines import WriteError


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
    history = HistoryFile(path)
    append(history, values, columns, {"phase": phase})
    history.close()
    for line in path.read_bytes().split(b"\n")[:-1]:  # strict: NaN is no JSON
        json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} in JSON"))
    records = read_file(path)
    assert [record["step"] for record in records] == list(range(len(values)))
    assert [record["global_step"] for record in records] == list(range(7, 7 + len(values)))
    assert [record["epoch"] for record in records] == [i // 2 for i in range(len(values))]
    read = [[record[column] for column in columns] for record in records]
    got = np.array(read, np.float32).reshape(values.shape)
    np.testing.assert_array_equal(got, values)


def test_lines_look_as_documented(tmp_path):
    history = HistoryFile(tmp_path / "history.jsonl")
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
    history = HistoryFile(tmp_path / "history.jsonl")
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
    assert [record.get("step") for record in read_file(history.path)] == [0, 1, 2, None]
    again = HistoryFile(history.path)
    assert again.rewind(mark, 2) is None
    assert again.mark() == mark
    again.close()


def test_what_differs_from_the_mark_is_sorted_out(tmp_path):
    history = HistoryFile(tmp_path / "history.jsonl")
    append(history, np.ones((3, 1), np.float32), ["train/x"], start=1)
    mark = history.mark()
    append(history, np.ones((2, 1), np.float32), ["train/x"], start=4)
    history.close()
    lines = history.path.read_bytes().splitlines(keepends=True)
    history.path.write_bytes(b"".join([lines[0], b"{broken\n", *lines[2:]]))
    history = HistoryFile(history.path)
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
    assert read_file(path) == [{"step": 0}]
    history = HistoryFile(path)
    assert history.mark()["bytes"] == 11
    history.append({"step": 1})
    history.close()
    assert path.read_bytes() == b'{"step":0}\n{"step":1}\n'


@pytest.mark.parametrize("broken", [b'{"st', b"[2]", b'{"x":"\xff"}', b""])
def test_a_broken_line_in_the_middle_is_named_and_left_out(broken, tmp_path):
    path = tmp_path / "history.jsonl"
    path.write_bytes(b'{"step":0}\n' + broken + b'\n{"step":2}\n')
    with pytest.warns(UserWarning, match="history.jsonl: line 2 cannot be read, and left out"):
        assert read_file(path) == [{"step": 0}, {"step": 2}]


def test_columns_that_do_not_fit_are_refused(tmp_path):
    history = HistoryFile(tmp_path / "history.jsonl")
    with pytest.raises(ValueError, match="got 1 columns"):
        append(history, np.ones((2, 2), np.float32), ["train/loss"])
    history.close()


RECORDS = [
    {"event": "phase_begin", "phase": "fit", "global_step": 0},
    {"phase": "fit", "step": 1, "global_step": 1, "train/loss": 2.0},
    {"phase": "fit", "step": 2, "global_step": 2, "train/loss": 1, "train/accuracy": 0.5},
    {"phase": "fit", "step": 2, "global_step": 2, "valid/loss": 3.0, "valid/matrix": [[1, 0]]},
    {"event": "evaluation", "split": "test", "metrics": {"accuracy": 0.9}},
]


def of(records):
    """A history as it is before anything is written to a disk."""
    written = HistoryInMemory()
    for record in records:
        written.append(record)
    return History(written)


def test_columns_take_each_metric_with_its_own_steps():
    history = of(RECORDS)
    assert history.names == ("train/loss", "train/accuracy", "valid/loss")
    np.testing.assert_array_equal(history["train/loss"].step, [1, 2])
    np.testing.assert_array_equal(history["train/loss"].value, [2, 1])
    np.testing.assert_array_equal(history["train/accuracy"].step, [2])
    assert history.validations == [RECORDS[3]]
    assert history.events == [RECORDS[0], RECORDS[4]]
    with pytest.raises(ColumnError, match=r"^The history has no column 'train/los'. Did you mean"):
        history["train/los"]
    with pytest.raises(KeyError, match="Nothing was recorded"):
        of([])["train/loss"]
    assert issubclass(ColumnError, EtudeError)


def test_a_history_is_the_sequence_of_its_records():
    history = of(RECORDS)
    assert len(history) == 5
    assert history[-1] == RECORDS[-1]
    assert history[1:3] == RECORDS[1:3]
    assert [*history] == history == of(RECORDS) == RECORDS
    assert history != RECORDS[1:]
    assert of([]) == []
    assert not of([])
    with pytest.raises(IndexError):
        history[5]


def test_the_summary_leaves_out_nan_and_adds_what_evaluations_found():
    nan = {"global_step": 3, "train/loss": float("nan")}
    rows = {
        one.name: one
        for one in of([*RECORDS, nan, {**nan, "train/bad": nan["train/loss"]}]).summary()
    }
    assert list(rows) == [
        "test/accuracy",
        "train/accuracy",
        "train/bad",
        "train/loss",
        "valid/loss",
    ]
    assert (rows["train/loss"].lowest, rows["train/loss"].highest) == (1, 2)
    assert rows["train/loss"].count == 4
    assert np.isnan([rows["train/loss"].last, rows["train/bad"].lowest]).all()
    assert rows["test/accuracy"].last == 0.9


def test_the_csv_has_every_step_and_validation(tmp_path):
    of(RECORDS).to_csv(tmp_path / "all.csv")
    assert (tmp_path / "all.csv").read_text().splitlines() == [
        "phase,visit,step,epoch,global_step,train/loss,train/accuracy,valid/loss",
        "fit,,1,,1,2.0,,",
        "fit,,2,,2,1,0.5,",
        "fit,,2,,2,,,3.0",
    ]


def test_pandas_gets_the_same_table():
    pandas = pytest.importorskip("pandas")
    frame = of(RECORDS).to_pandas()
    assert isinstance(frame, pandas.DataFrame)
    assert frame["train/loss"].dropna().tolist() == [2, 1]
    assert frame["global_step"].tolist() == [1, 2, 2]


def test_without_pandas_the_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ConfigurationError, match="needs the package pandas: pip install pandas"):
        of(RECORDS).to_pandas()


def test_a_copy_is_that_of_its_training_and_small_when_pickled(tmp_path):
    with Run.create(tmp_path / "run", {}, seed=0) as run:
        append(run.history, np.zeros((3000, 2), np.float32), ["train/a", "train/b"])
        path = run.history.path
    opened, packed = History.open(tmp_path / "run"), History(PackedHistory.of(path))
    path.unlink()
    assert len(packed["train/b"].value) == 3000  # unpacked now, which is not pickled
    content = pickle.dumps(packed)
    assert len(content) < 30_000
    assert pickle.loads(content) == packed == opened
    assert History.open(tmp_path / "run") == []
    with pytest.raises(RunError, match=r"is not there.*Runs beside it: run"):
        History.open(tmp_path / "runs")


def test_a_full_disk_is_named_and_nothing_is_lost_after_it(tmp_path):
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(tmp_path)], capture_output=True
    )
    if mounted.returncode != 0:
        pytest.skip("mounting a tmpfs is not allowed here")
    try:
        (tmp_path / "ballast").write_bytes(bytes(40_000))
        history = HistoryFile(tmp_path / "history.jsonl")
        append(history, np.ones((500, 2), np.float32), ["train/loss", "train/accuracy"])
        with pytest.raises(WriteError, match=r"No space left.*history\.jsonl") as failure:
            history.flush()
        assert failure.value.filename == str(tmp_path / "history.jsonl")
        assert 0 < len(read_file(history.path)) < 500
        (tmp_path / "ballast").unlink()
        history.append({"event": "end"})
        history.close()
        records = read_file(history.path)
        assert [record.get("step") for record in records] == [*range(500), None]
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)
