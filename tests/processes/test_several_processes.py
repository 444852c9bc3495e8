"""One training in several processes: the same as in one, and every way to end."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from etude.run import History, Run

sys.path.insert(0, str(Path(__file__).parent))
from joined import JOBS, run

DATA = ("resident", "rows", "hosted", "fsdp")


def _same(one: dict, other: dict, tolerance: float = 1e-4) -> None:
    for name, values in one["model"].items():
        size = np.abs(values).max()
        np.testing.assert_allclose(other["model"][name], values, atol=tolerance * size)
    assert one["metrics"] == pytest.approx(other["metrics"], rel=tolerance)
    assert one["losses"] == pytest.approx(other["losses"], rel=tolerance)


def test_two_processes_train_as_one_does(tmp_path):
    (tmp_path / "alone").mkdir()
    alone = JOBS["resident"](tmp_path / "alone", 0)  # on the two devices of this process
    first, second = run("resident", tmp_path / "both", processes=2, devices=1)
    assert (first.code, second.code) == (0, 0), first.out + second.out
    _same(alone, first.told)
    assert first.told["model"] == second.told["model"]
    history = History.open(tmp_path / "both/run")
    assert history["train/loss"].value.tolist() == first.told["losses"]


@pytest.mark.slow
@pytest.mark.parametrize("kind", DATA)
def test_two_processes_with_two_devices_each(tmp_path, kind):
    (alone,) = run(kind, tmp_path / "alone", processes=1, devices=4)
    ends = run(kind, tmp_path / "both", processes=2, devices=2)
    assert [end.code for end in (alone, *ends)] == [0, 0, 0], ends[0].out + ends[1].out
    for end in ends:
        _same(alone.told, end.told)
    # The checkpoint is whole, whichever process had which part.
    with Run.open(tmp_path / "both/run", lock=False) as opened:
        arrays = opened.checkpoints.restore().arrays
    kept = {name: arrays[f"0/best['{name}']"].tolist() for name in ("a", "b")}
    assert kept == ends[0].told["model"]


@pytest.mark.slow
@pytest.mark.parametrize("how", ["SIGTERM-0", "SIGTERM-1", "SIGINT-1", "SIGHUP-0"])
def test_a_signal_to_one_saves_once_and_ends_all(tmp_path, how):
    ends = run(how, tmp_path, processes=2, devices=1)
    assert [end.code for end in ends] == [3, 3], ends[0].out + ends[1].out
    assert "The state is saved in" in ends[0].told["error"]
    assert "Process 0 saves the state" in ends[1].told["error"]
    steps = {end.told["error"].split(" at step ")[1].split(".")[0] for end in ends}
    (step,) = steps
    with Run.open(tmp_path / "run", lock=False) as opened:
        assert opened.checkpoints.names()[-1].startswith(f"{int(step):09d}-")
    # Two processes go on, each time as far as the other; and one with as many devices.
    (tmp_path / "step").write_text(json.dumps(int(step)))
    shutil.copytree(tmp_path / "run", tmp_path / "copy/run")
    (tmp_path / "copy/step").write_text(json.dumps(int(step)))
    both = run("resumed", tmp_path / "copy", processes=2, devices=1)
    assert [end.code for end in both] == [0, 0], both[0].out + both[1].out
    # One process with as many devices goes on, to where one that was never interrupted comes.
    (tmp_path / "step").write_text(json.dumps(int(step)))
    (resumed,) = run("resumed", tmp_path, processes=1, devices=2)
    (alone,) = run("stepped", tmp_path, processes=1, devices=2)
    assert (resumed.code, alone.code) == (0, 0), resumed.out + alone.out
    _same(alone.told, resumed.told, 1e-3)
    for end in both:
        _same(alone.told, end.told, 1e-3)
        assert end.told["records"] == resumed.told["records"]


@pytest.mark.slow
@pytest.mark.parametrize("killed", [0, 1])
def test_a_killed_process_ends_the_other(tmp_path, killed):
    # `run` waits for a limited time: the default of the service would leave the other for 100 s.
    ends = run(f"SIGKILL-{killed}", tmp_path, processes=2, devices=1, limit=120)
    assert ends[killed].code == -9
    assert ends[1 - killed].code not in (0, 3)
    (tmp_path / "step").write_text(json.dumps(_newest(tmp_path)))
    ends = run("resumed", tmp_path, processes=3, devices=1)
    # The rows of 16 do not divide by three: other processes are refused, two go on.
    assert [end.code for end in ends] == [2, 2, 2]
    assert "not divisible by the 3 devices" in ends[0].told["error"]
    ends = run("resumed", tmp_path, processes=2, devices=1)
    assert [end.code for end in ends] == [0, 0], ends[0].out


def _newest(folder) -> int:
    with Run.open(folder / "run", lock=False) as opened:
        return int(opened.checkpoints.names()[-1].split("-")[0])


@pytest.mark.slow
@pytest.mark.parametrize("what", ["seed", "loss", "data", "model", "order"])
def test_processes_that_differ_are_refused_in_all(tmp_path, what):
    ends = run(f"other {what}", tmp_path, processes=2, devices=1)
    assert [end.code for end in ends] == [2, 2], ends[0].out + ends[1].out
    for end in ends:
        assert end.told["kind"] == "ConfigurationError"
        assert "The processes of this training do not agree" in end.told["error"]


@pytest.mark.slow
def test_time_ends_all_at_one_step(tmp_path):
    first, second = run("limited", tmp_path, processes=2, devices=1)
    assert first.told["reason"] == second.told["reason"] == "TIME", first.out + second.out
    assert first.told["losses"] == second.told["losses"]


@pytest.mark.slow
def test_callbacks_run_in_the_first_process_and_count_in_all(tmp_path):
    first, second = run("watched", tmp_path, processes=2, devices=1)
    assert len(first.told["calls"]) == 3, first.out
    assert second.told["calls"] == []
    assert first.told["reason"] == second.told["reason"] == "CALLBACK"
    assert first.told["losses"] == second.told["losses"]


@pytest.mark.slow
def test_a_process_that_fails_alone_ends_the_other(tmp_path):
    first, second = run("raising", tmp_path, processes=2, devices=1, limit=100)
    assert (first.code, second.code) == (1, 1), first.out + second.out
    assert "ZeroDivisionError: in a callback" in first.out
    assert "process 0 has failed" in second.out
    assert "ZeroDivisionError" in second.out


@pytest.mark.slow
def test_a_run_that_is_finished_and_another_fit(tmp_path):
    ends = run("finished again", tmp_path, processes=2, devices=1)
    assert [end.code for end in ends] == [0, 0], ends[0].out + ends[1].out
    for end in ends:
        first, again, other = end.told["models"]
        assert first == again == other
    assert ends[0].told == ends[1].told


@pytest.mark.slow
def test_a_second_signal_is_noticed_too(tmp_path):
    ends = run("signalled twice", tmp_path, processes=2, devices=1)
    assert [end.code for end in ends] == [0, 0], ends[0].out + ends[1].out
    for end in ends:
        assert [text.split(" at ")[0] for text in end.told["interrupted"]] == [
            "Interrupted by SIGTERM"
        ] * 2


@pytest.mark.slow
def test_other_files_under_the_same_name_are_refused(tmp_path):
    for number in (0, 1):
        (end,) = run(f"made {number}", tmp_path, processes=1, devices=2)
        assert end.code == 0, end.out
    ends = run("other files", tmp_path, processes=2, devices=1)
    assert [end.code for end in ends] == [2, 2], ends[0].out + ends[1].out
    assert "checkpoint" in ends[1].told["error"]


@pytest.mark.slow
def test_the_first_process_decides_on_a_rescue(tmp_path):
    first, second = run("rescued", tmp_path, processes=2, devices=1)
    assert (first.code, second.code) == (0, 0), first.out + second.out
    assert "help" in first.told["reasons"]
    assert first.told == second.told


@pytest.mark.slow
def test_a_roll_back_is_of_all(tmp_path):
    first, second = run("rolled back", tmp_path, processes=2, devices=1)
    assert first.told["rollbacks"] > 0, first.out + second.out
    assert first.told == second.told


@pytest.mark.slow
def test_what_several_processes_cannot_do(tmp_path):
    for end in run("refused", tmp_path, processes=2, devices=1):
        assert "got no mesh" in end.told["no mesh"]
        assert "leaves out devices" in end.told["part"]
        assert "one process" in end.told["population"]
