"""`etude train RECIPE --coordinator ...`, as users start it."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

import etude
from etude.run import History, Run, Status

TINY = Path(__file__).parents[1] / "cli/tiny_recipe.py"
pytestmark = [pytest.mark.usefixtures("listening"), pytest.mark.slow]


def start(folder, count, *arguments, second=None, slurm=False):
    """The processes of one command; the last gets further arguments. `slurm`: as `srun` does."""
    environment = {**os.environ, "PYTHONPATH": str(Path(etude.__file__).parents[1])}
    environment.pop("XLA_FLAGS", None)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        place = f"127.0.0.1:{free.getsockname()[1]}"
    started = []
    for number in range(count):
        joined = ["--coordinator", place, "--num-processes", count, "--process-id", number]
        if slurm:
            joined = ["--coordinator", "auto"]
            environment |= {
                "SLURM_JOB_ID": place.rpartition(":")[2],  # which gives the port
                "SLURM_STEP_NODELIST": "localhost",
                "SLURM_NTASKS": str(count),
                "SLURM_PROCID": str(number),
                "SLURM_LOCALID": str(number),
            }
        more = second or [] if number == count - 1 else []
        line = [sys.executable, TINY, *arguments, *(joined if count > 1 else []), *more]
        started.append(
            subprocess.Popen(
                [str(word) for word in line],
                cwd=folder,
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
    return started


def finish(started):
    """The exit codes, and what each process said."""
    said = [process.communicate(timeout=200) for process in started]
    return [process.returncode for process in started], said


@pytest.mark.parametrize("slurm", [False, True], ids=["told", "detected"])
def test_a_recipe_trains_and_measures_once(tmp_path, slurm):
    line = ["train", "tiny", "--run", "two", "--fast"]
    codes, said = finish(start(tmp_path, 2, *line, slurm=slurm))
    assert codes == [0, 0], said
    assert "test error" in said[0][0]
    assert "error" not in said[1][0]  # the second has nothing to say
    assert Run.open(tmp_path / "two", lock=False).config["devices"] == 2
    assert Status.read(tmp_path / "two").state == "finished"
    codes, said = finish(start(tmp_path, 1, "train", "tiny", "--run", "one", "--fast"))
    assert codes == [0], said
    two, one = (History.open(tmp_path / name)["train/loss"].value for name in ("two", "one"))
    assert two == pytest.approx(one, rel=1e-4)


def test_a_signal_and_another_number_of_processes(tmp_path):
    line = ["train", "tiny", "--run", "spot", "--steps", "4000", "--repeats", "1"]
    started = start(tmp_path, 2, *line, "--resume", "auto")
    rows = tmp_path / "spot/history.bin"
    while not (rows.exists() and rows.stat().st_size > 0):
        assert all(process.poll() is None for process in started), finish(started)
        time.sleep(0.1)
    started[1].send_signal(signal.SIGTERM)
    codes, said = finish(started)
    assert codes == [3, 3], said
    assert "go on with" in said[0][1]
    assert "go on with" not in said[1][1]
    codes, said = finish(start(tmp_path, 1, *line, "--resume", "auto"))
    assert codes == [2], said
    assert "2 devices, and here are 1" in said[0][1]
    codes, said = finish(start(tmp_path, 1, *line, "--resume", "auto", "--devices", "all"))
    assert codes == [0], said
    assert Status.read(tmp_path / "spot").steps == 8000


@pytest.mark.parametrize(
    "second", [["--seed", "3"], ["--devices", "1"]], ids=["another seed", "other devices"]
)
def test_processes_that_are_told_other_things_end_with_2(tmp_path, second):
    codes, said = finish(start(tmp_path, 2, "train", "tiny", "--run", "x", second=second))
    assert codes == [2, 2], said
    assert "Traceback" not in said[0][1] + said[1][1]
    assert not (tmp_path / "x").exists()


def test_a_run_that_is_there_is_refused_by_all_in_one_message(tmp_path):
    codes, said = finish(start(tmp_path, 1, "train", "tiny", "--run", "x", "--fast"))
    assert codes == [0], said
    codes, said = finish(start(tmp_path, 2, "train", "tiny", "--run", "x", "--fast"))
    assert codes == [2, 2]
    assert "holds a run already" in said[0][1]
    assert "holds a run already" not in said[1][1]
