"""The run directory: what is in it, what is refused and with which cure, and its lock."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from etude.errors import LockedError, RunError
from etude.run import History, Run


def test_a_new_run_tells_what_it_ran_on(tmp_path):
    config = {"learner": {"rate": 1e-3, "name": "étude"}, "epochs": 3}
    with Run.create(tmp_path / "runs" / "a", config, seed=7) as run:
        assert run.config == config
        about = json.loads((run.path / "environment.json").read_text())
    assert about["seed"] == 7
    assert about["versions"]["jax"] == jax.__version__
    assert about["versions"]["numpy"] == np.__version__
    assert len(about["devices"]) == jax.device_count()
    here = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True)
    assert (about["git"] or {"commit": ""})["commit"] == here.stdout.strip()
    assert (run.path / "checkpoints").is_dir()
    assert run.figures.is_dir()


def test_what_was_written_is_there_when_opened_again(tmp_path):
    with Run.create(tmp_path / "a", None, seed=0) as run:
        run.history.append({"event": "begin"})
        run.timing.append("fit", 1, "train", 1, 0.5)
        run.checkpoints.save("first", {"w": np.ones(2)}, {"offset": run.history.mark()})
    with Run.open(tmp_path / "a", lock=False) as run:
        assert run.config == {}
        assert History.open(run.path) == [{"event": "begin"}]
        assert run.checkpoints.restore().arrays["w"].tolist() == [1, 1]
        with pytest.raises(RunError, match="opened for reading"):
            _ = run.history


def test_an_old_run_is_replaced_only_on_request(tmp_path):
    folder = tmp_path / "a"
    with Run.create(folder, {"old": 1}, seed=0) as run:
        run.checkpoints.save("first", {}, {})
    with pytest.raises(RunError, match=r"trainer.resume\(\).*another name, or .*overwrite=True"):
        Run.create(folder, {}, seed=0)
    with Run.create(folder, {"new": 2}, seed=0, overwrite=True) as run:
        assert run.config == {"new": 2}
        assert run.checkpoints.names() == []


def test_a_folder_that_is_no_run_is_never_emptied(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(RunError, match=r"not a run \(it has thesis.tex\)"):
        Run.create(tmp_path, {}, seed=0, overwrite=True)
    assert (tmp_path / "thesis.tex").read_text() == "years of work"
    with pytest.raises(RunError, match="is a file"):
        Run.create(tmp_path / "thesis.tex", {}, seed=0)


@pytest.mark.parametrize("text", ["{", "[1]", "\x00"])
def test_a_damaged_environment_is_said(text, tmp_path):
    Run.create(tmp_path / "a", {}, 0).close()
    (tmp_path / "a" / "environment.json").write_text(text)
    with (
        Run.open(tmp_path / "a", lock=False) as run,
        pytest.raises(RunError, match=r"environment\.json .*Put back"),
    ):
        run.environment  # noqa: B018


def test_a_configuration_that_is_not_plain_is_refused_before_anything_is_made(tmp_path):
    with pytest.raises(RunError, match="cannot be written as YAML"):
        Run.create(tmp_path / "a", {"model": object()}, seed=0)
    assert not (tmp_path / "a").exists()


def test_a_wrong_name_suggests_runs_beside_it(tmp_path):
    Run.create(tmp_path / "digits-two-phase", {}, seed=0).close()
    (tmp_path / "digits-other").mkdir()
    with pytest.raises(RunError, match=r"is not there. Runs beside it: digits-two-phase\."):
        Run.open(tmp_path / "digit-two-phases")
    with pytest.raises(RunError, match="is not a run"):
        Run.open(tmp_path / "digits-other")


HOLD = """
import os, sys
from pathlib import Path
from etude.run.directory import Run
run = Run.open(Path(sys.argv[1]))
worker = os.fork()  # a data worker that outlives the trainer
if worker:
    print(worker, flush=True)
sys.stdin.read()
"""


def test_two_processes_cannot_write_one_run_and_a_killed_one_frees_it(tmp_path: Path):
    Run.create(tmp_path / "a", {}, seed=0).close()
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "a")],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert holder.stdout is not None
    assert holder.stdin is not None
    worker = int(holder.stdout.readline())
    try:
        with pytest.raises(LockedError, match=f"process {holder.pid}"):
            Run.open(tmp_path / "a")
        with pytest.raises(LockedError, match=f"process {holder.pid}"):
            Run.create(tmp_path / "a", {}, seed=0, overwrite=True)
        Run.open(tmp_path / "a", lock=False).close()
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        os.kill(worker, 0)  # it lives, and does not hold the lock
        Run.open(tmp_path / "a").close()
    finally:
        holder.kill()
        os.kill(worker, signal.SIGKILL)
        holder.stdin.close()
        holder.stdout.close()
