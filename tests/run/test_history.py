"""The history: exact numbers, torn files, going back, damage, a full disk, long trainings."""

import csv
import hashlib
import pickle
import subprocess
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, strategies as st
from hypothesis.extra import numpy as hnp

from etude.errors import ColumnError, ConfigurationError, EtudeError, RunError
from etude.run import History, Run
from etude.run.append_file import WriteError
from etude.run.history_writers import HistoryCopy, HistoryFile, HistoryInMemory, read_file
from etude.run.stretches import Stretch


def append(history, values, columns, start=1, phase="fit", visit=0):
    """Rows of consecutive steps; the global step is seven ahead."""
    history.append_steps(Stretch(phase, visit, start, start + 7, 2, tuple(columns)), values)


def event(what, step, phase="fit", visit=0):
    place = {"phase": phase, "visit": visit, "step": step, "epoch": 0, "global_step": step + 7}
    return {**place, "event": what}


@dataclass(frozen=True)
class Written:
    """What lies on the disk."""

    path: Path

    def read(self):
        return read_file(self.path)


def records(path):
    return [*History(Written(path))]


@given(
    values=st.sampled_from([np.float32, np.float64]).flatmap(
        lambda dtype: hnp.arrays(dtype, st.tuples(st.integers(1, 6), st.integers(1, 3)))
    ),
    names=st.lists(st.text(min_size=1), min_size=3, max_size=3, unique=True),
    phase=st.text(),
    cut=st.integers(0, 6),
)
def test_every_bit_returns_under_any_name(values, names, phase, cut, tmp_path_factory):
    path = tmp_path_factory.mktemp("history") / "history.jsonl"
    columns = [f"train/{name}" for name in names[: values.shape[1]]]
    written = HistoryFile(path)
    append(written, values[:cut], columns, phase=phase)
    append(written, values[cut:], columns, start=1 + min(cut, len(values)), phase=phase)
    written.close()
    history = History(Written(path))
    for index, name in enumerate(columns):
        column = history[name]
        assert column.value.dtype == values.dtype
        assert column.value.tobytes() == values[:, index].tobytes()
        assert column.step.tolist() == list(range(8, 8 + len(values)))
    assert [record["step"] for record in history] == list(range(1, 1 + len(values)))
    assert [record["epoch"] for record in history] == [i // 2 for i in range(len(values))]
    history.to_csv(path.with_name("all.csv"))
    with path.with_name("all.csv").open(encoding="utf-8", newline="") as file:
        table = [*csv.reader(file)][1:]
    cells = np.array([row[5:] for row in table], values.dtype).reshape(values.shape)
    np.testing.assert_array_equal(cells, values)


def test_the_files_look_as_documented(tmp_path):
    history = HistoryFile(tmp_path / "history.jsonl")
    append(history, np.array([[0.5, 1], [np.inf, -np.inf]], np.float32), ["train/loss", "x"])
    history.append({"event": "validation", "valid/loss": np.float32("nan"), "matrix": [[1, 2]]})
    history.close()
    assert (tmp_path / "history.jsonl").read_text().splitlines() == [
        '{"stretch":{"phase":"fit","visit":0,"step":1,"global_step":8,"per_epoch":2,'
        '"columns":["train/loss","x"],"dtype":"<f4","at":0},"check":1085415846}',
        '{"event":"validation","valid/loss":"nan","matrix":[[1,2]]}',
    ]
    rows = np.fromfile(tmp_path / "history.bin", "<f4").reshape(2, 2)
    np.testing.assert_array_equal(rows, [[0.5, 1], [np.inf, -np.inf]])


def story(history, steps):
    """Steps in chunks of so many, a validation, a rescue in between, and other metrics after it."""
    for start in range(1, 7, steps):
        append(history, np.full((steps, 1), start, np.float32), ["train/x"], start)
    history.append(event("rescue", 6))
    append(history, np.ones((2, 2), np.float64), ["train/x", "train/y"], 7, "mend")
    history.append(event("phase_end", 8, "mend"))
    append(history, np.full((1, 1), 9, np.float32), ["train/x"], 9)


def test_lines_stand_between_the_steps_and_chunks_leave_no_trace(tmp_path):
    for steps, name in [(3, "a"), (1, "b")]:
        (tmp_path / name).mkdir()
        history = HistoryFile(tmp_path / name / "history.jsonl")
        append(history, np.ones((6, 1), np.float32), ["train/x"]) if steps == 1 else story(
            history, 3
        )
        history.close()
    whole = tmp_path / "a/history.jsonl"
    found = records(whole)
    assert [record["step"] for record in found] == [1, 2, 3, 4, 5, 6, 6, 7, 8, 8, 9]
    assert [record.get("event") for record in found[6:10:3]] == ["rescue", "phase_end"]
    assert found[7] == {"phase": "mend", "visit": 0, "step": 7, "epoch": 3, "global_step": 14,
                        "train/x": 1.0, "train/y": 1.0}  # fmt: skip
    history = History(Written(whole))
    assert history[-1] == found[-1] == history[10]
    assert history[5:8] == found[5:8]
    assert history["train/x"].value.dtype == np.float64  # of both
    assert history["train/y"].step.tolist() == [14, 15]
    # One stretch, however its steps came.
    assert len((tmp_path / "b/history.jsonl").read_text().splitlines()) == 1
    memory = HistoryInMemory()
    story(memory, 2)
    assert [r["step"] for r in History(memory)] == [r["step"] for r in found]


def test_going_back_gives_the_same_bytes(tmp_path):
    history = HistoryFile(tmp_path / "history.jsonl")
    append(history, np.ones((3, 1), np.float32), ["train/é"])
    mark = history.mark()
    history.flush()
    before = history.path.read_bytes()
    assert mark["digest"] == hashlib.sha256(before).hexdigest()
    assert mark["rows"]["bytes"] == 12
    append(history, np.ones((2, 1), np.float32), ["train/é"], start=4)
    history.append(event("again", 5))
    assert history.rewind(mark, 10) is None
    assert history.path.read_bytes() == before
    assert history.mark() == mark
    # What goes on after it belongs to the same stretch, also in another process.
    for again in (False, True):
        one = HistoryFile(history.path) if again else history
        assert one.rewind(mark, 10) is None
        append(one, np.ones((1, 1), np.float32), ["train/é"], start=4)
        one.close()
        assert one.path.read_bytes() == before
        assert one.path.with_suffix(".bin").stat().st_size == 16


def test_what_differs_from_the_mark_is_sorted_out(tmp_path):
    history = HistoryFile(tmp_path / "history.jsonl")
    story(history, 3)
    mark = history.mark()
    append(history, np.ones((2, 1), np.float32), ["train/x"], start=10)
    history.close()
    lines = history.path.read_bytes().splitlines(keepends=True)
    assert b"mend" in lines[2]
    history.path.write_bytes(b"".join([*lines[:2], b"{broken\n", *lines[3:]]))
    history = HistoryFile(history.path)
    said = history.rewind(mark, 16)
    assert said is not None
    assert "bytes, and had 594; line 3 cannot be read; the metrics of 9 of 16 steps" in said
    append(history, np.full((1, 1), 10, np.float32), ["train/x"], start=10)
    history.close()
    # The steps whose head is lost are gone, and do not pass for those of the stretch before.
    assert [record["step"] for record in records(history.path)] == [1, 2, 3, 4, 5, 6, 6, 8, 9, 10]
    values = History(Written(history.path))["train/x"].value
    np.testing.assert_array_equal(values, [1, 1, 1, 4, 4, 4, 9, 10])


def test_rows_without_their_head_are_no_ones(tmp_path):
    history = HistoryFile(tmp_path / "history.jsonl")
    story(history, 3)
    history.close()
    lines = history.path.read_bytes().splitlines(keepends=True)
    history.path.write_bytes(b"".join([b"{broken\n", *lines[1:]]))
    with pytest.warns(UserWarning, match="line 1 cannot be read, and left out"):
        assert [record["step"] for record in records(history.path)] == [6, 7, 8, 8, 9]


@pytest.mark.parametrize("torn", [b"{", b'{"step":1}', b'{"x":"' + b"y" * 10_000])
def test_a_torn_last_line_is_left_out_and_overwritten(torn, tmp_path):
    path = tmp_path / "history.jsonl"
    path.write_bytes(b'{"step":0}\n' + torn)
    history = HistoryFile(path)
    assert records(history.path) == [{"step": 0}]
    assert history.mark()["bytes"] == 11
    history.append({"step": 1})
    history.close()
    assert path.read_bytes() == b'{"step":0}\n{"step":1}\n'


def test_a_torn_row_is_left_out_and_cut_off(tmp_path):
    history = HistoryFile(tmp_path / "history.jsonl")
    append(history, np.ones((2, 3), np.float64), ["a/a", "a/b", "a/c"])
    mark = history.mark()
    append(history, np.ones((1, 3), np.float64), ["a/a", "a/b", "a/c"], start=3)
    history.close()
    rows = tmp_path / "history.bin"
    rows.write_bytes(rows.read_bytes()[:-7])
    assert [record["step"] for record in records(history.path)] == [1, 2]
    again = HistoryFile(history.path)
    assert again.rewind(mark, 9) is None
    again.close()
    assert rows.stat().st_size == 48


@pytest.mark.parametrize("broken", [b'{"st', b"[2]", b'{"x":"\xff"}', b"", b'{"stretch":[]}'])
def test_a_broken_line_in_the_middle_is_named_and_left_out(broken, tmp_path):
    path = tmp_path / "history.jsonl"
    path.write_bytes(b'{"step":0}\n' + broken + b'\n{"step":2}\n')
    with pytest.warns(UserWarning, match="history.jsonl: line 2 cannot be read, and left out"):
        assert records(path) == [{"step": 0}, {"step": 2}]


def test_a_flipped_bit_in_a_head_never_gives_other_steps(tmp_path):
    history = HistoryFile(tmp_path / "history.jsonl")
    append(history, np.array([[0.5, 1], [2, 3]], np.float32), ["train/loss", "x"])
    history.append(event("phase_end", 2))
    history.close()
    content, before = history.path.read_bytes(), records(history.path)
    for bit in range(8 * content.index(b"\n") + 8):
        damaged = bytearray(content)
        damaged[bit // 8] ^= 1 << bit % 8
        history.path.write_bytes(damaged)
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            found = records(history.path)
        assert told, bit
        assert all(record in before for record in found), bit


def test_a_phase_may_have_the_name_of_a_number():
    record = {"event": "phase_end", "phase": "nan", "global_step": 1, "valid/loss": float("inf")}
    assert of([record]) == [record]


def test_columns_that_do_not_fit_are_refused(tmp_path):
    history = HistoryFile(tmp_path / "history.jsonl")
    with pytest.raises(ValueError, match="got 1 columns"):
        append(history, np.ones((2, 2), np.float32), ["train/loss"])
    history.close()


def test_a_million_steps_are_opened_without_being_read(tmp_path):
    with Run.create(tmp_path / "run", {}, seed=0) as run:
        values = np.arange(5_000_000, dtype=np.float32).reshape(-1, 5)
        append(run.history, values, [f"train/{name}" for name in "abcde"])
        run.history.append(event("phase_end", 1_000_000))
    history = History.open(tmp_path / "run")
    assert len(history) == 1_000_001
    assert history[999_999]["train/e"] == 4_999_999
    np.testing.assert_array_equal(history["train/c"].value, values[:, 2])
    (tmp_path / "run/history.bin").write_bytes(b"")  # as a resume would
    with pytest.raises(RunError, match=r"history\.bin was cut since it was opened"):
        history["train/a"]


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
        append(run.history, np.full((3000, 2), np.nan, np.float32), ["train/a", "train/b"])
        path = run.history.path
    opened, copied = History.open(tmp_path / "run"), History(HistoryCopy.of(path))
    assert copied == opened  # NaN is the same NaN
    path.unlink()
    path.with_suffix(".bin").unlink()
    assert len(copied["train/b"].value) == 3000  # unpacked now, which is not pickled
    content = pickle.dumps(copied)
    assert len(content) < 30_000
    assert pickle.loads(content) == copied
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
        (tmp_path / "ballast").write_bytes(bytes(50_000))
        history = HistoryFile(tmp_path / "history.jsonl")
        append(history, np.ones((2500, 2), np.float32), ["train/loss", "train/accuracy"])
        with pytest.raises(WriteError, match=r"No space left.*history\.bin") as failure:
            history.flush()
        assert failure.value.filename == str(tmp_path / "history.bin")
        assert 0 < len(records(history.path)) < 2500
        (tmp_path / "ballast").unlink()
        history.append({"event": "end"})
        history.close()
        assert [record.get("step") for record in records(history.path)] == [None, *range(1, 2501)]
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def two_phases(folder):
    """A run of two phases, the second without the metric `train/m`."""
    history = HistoryFile(folder / "history.jsonl")
    append(history, np.ones((3, 2), np.float32), ["train/loss", "train/m"], phase="a")
    history.append(event("phase_end", 3, phase="a"))
    head = Stretch("b", 0, 1, 11, 2, ("train/loss",))
    history.append_steps(head, np.full((4, 1), 9, np.float32))
    history.append({**event("phase_end", 4, phase="b"), "global_step": 14})
    history.close()
    return folder / "history.jsonl", folder / "history.bin"


def losses(path):
    blocks = [part for part in read_file(path) if not isinstance(part, dict)]
    return [record["train/loss"] for block in blocks for record in block.records()]


def test_rows_whose_head_is_missing_are_not_those_of_the_phase_before(tmp_path):
    lines, _ = two_phases(tmp_path)
    assert losses(lines) == [1, 1, 1, 9, 9, 9, 9]
    lines.write_bytes(b"".join(lines.read_bytes().splitlines(keepends=True)[:2]))
    assert losses(lines) == [1, 1, 1]


@pytest.mark.parametrize("left", [None, 0, 28])
def test_rows_that_are_missing_are_told(tmp_path, left):
    lines, rows = two_phases(tmp_path)
    if left is None:
        rows.unlink()
    else:
        rows.write_bytes(rows.read_bytes()[:left])
    with pytest.warns(UserWarning, match=r"history\.bin lacks the metrics of \d steps"):
        assert losses(lines) == [1, 1, 1, 9][: {None: 0, 0: 0, 28: 4}[left]]
