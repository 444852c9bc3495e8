"""The command as a process: interrupted by a signal, resumed to the same bytes; quick to answer."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

TINY = Path(__file__).with_name("tiny.py")
#: Long enough to be interrupted, short enough to wait for.
LENGTH = ["--steps", "3000", "--repeats", "1"]


def start(*arguments, folder):
    environment = {**os.environ, "JAX_ENABLE_COMPILATION_CACHE": "true"}
    environment.pop("XLA_FLAGS", None)
    command = [sys.executable, str(TINY), *arguments]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, cwd=folder, env=environment, **pipes)


def finish(process, seconds=120):
    out, err = process.communicate(timeout=seconds)
    return process.returncode, out, err


def wait_for_steps(history, count):
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if history.exists() and history.read_bytes().count(b"\n") > count:
            return
        time.sleep(0.005)
    raise AssertionError("training has not begun")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_interrupted_training_exits_with_3_and_resumes_to_the_same_bytes(tmp_path, number):
    process = start("train", "tiny", *LENGTH, "--run", "cut", folder=tmp_path)
    wait_for_steps(tmp_path / "cut/history.jsonl", 50)
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
    cut, uncut = (tmp_path / name / "history.jsonl" for name in ("cut", "whole"))
    assert cut.read_bytes() == uncut.read_bytes()
