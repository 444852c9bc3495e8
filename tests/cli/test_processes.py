"""The command as a process: interrupted by a signal, resumed to the same bytes; quick to answer."""

import os
import pty
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import etude

pytestmark = pytest.mark.usefixtures("listening")
TINY = Path(__file__).with_name("tiny_recipe.py")
#: Long enough to be interrupted, short enough to wait for.
LENGTH = ["--steps", "600", "--repeats", "1"]


def start(*arguments, folder):
    environment = {**os.environ, "PYTHONPATH": str(Path(etude.__file__).parents[1])}
    environment.pop("XLA_FLAGS", None)
    command = [sys.executable, str(TINY), *arguments]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, cwd=folder, env=environment, **pipes)


def finish(process, seconds=120):
    out, err = process.communicate(timeout=seconds)
    return process.returncode, out, err


def steps_in(run):
    """How many steps a run has written, of one metric and a learning rate each."""
    rows = run / "history.bin"
    return rows.stat().st_size // 8 if rows.exists() else 0


def wait_for_steps(process, run, count):
    deadline = time.monotonic() + 100
    while time.monotonic() < deadline and process.poll() is None:
        if steps_in(run) > count:
            return
        time.sleep(0.005)
    raise AssertionError(f"training has not begun: {process.communicate()}")


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_interrupted_training_exits_with_3_and_resumes_to_the_same_bytes(tmp_path, number):
    process = start("train", "tiny", *LENGTH, "--run", "cut", folder=tmp_path)
    wait_for_steps(process, tmp_path / "cut", 50)
    process.send_signal(number)
    code, _, err = finish(process)
    assert code == 3, err
    assert "etude resume cut" in err
    assert "Traceback" not in err
    code, resumed, err = finish(start("resume", "cut", folder=tmp_path))
    assert code == 0, err
    code, whole, err = finish(start("train", "tiny", *LENGTH, "--run", "whole", folder=tmp_path))
    assert code == 0, err
    assert resumed.splitlines()[-1] == whole.splitlines()[-1]
    for file in ("history.jsonl", "history.bin"):
        cut, uncut = ((tmp_path / name / file).read_bytes() for name in ("cut", "whole"))
        assert cut == uncut


@pytest.mark.parametrize("line", [["--help"], ["train", "--help"]])
def test_help_answers_at_once_and_loads_nothing_heavy(line):
    code = f"""
import sys
from etude.cli.main import main
code = main({line!r})
heavy = {{"jax", "numpy", "matplotlib", "sklearn", "orbax"}} & set(sys.modules)
sys.exit(f"loaded {{heavy}}" if heavy else code)
"""
    environment = {**os.environ, "PYTHONPATH": str(Path(etude.__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True)
    assert done.returncode == 0, done.stderr


def test_a_terminal_that_is_closed_ends_training_with_everything_saved(tmp_path):
    ours, theirs = pty.openpty()
    environment = {**os.environ, "PYTHONPATH": str(Path(etude.__file__).parents[1])}
    command = [sys.executable, str(TINY), "train", "tiny", *LENGTH, "--run", "cut"]
    # A session of its own, whose terminal this is: closing it sends SIGHUP.
    take = "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
    take += f"os.execv({command[0]!r}, {command!r})"
    process = subprocess.Popen(
        [sys.executable, "-c", take], cwd=tmp_path, env=environment, start_new_session=True,
        stdin=theirs, stdout=theirs, stderr=theirs,
    )  # fmt: skip
    os.close(theirs)
    deadline = time.monotonic() + 100
    while steps_in(tmp_path / "cut") < 50:
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.01)
        while select.select([ours], [], [], 0)[0]:
            os.read(ours, 4096)
    os.close(ours)
    assert process.wait(100) == 3
    assert list(tmp_path.glob("cut/checkpoints/*/manifest.json"))
