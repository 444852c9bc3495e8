"""A killed training ends with the same bits and the same history as one that never was."""

import multiprocessing
import os
import random
import signal

import drill
import pytest


@pytest.fixture(scope="module")
def processes(tmp_path_factory):
    """Processes that start fast: forked from one that has imported JAX, with compiled programs."""
    settings = {
        "JAX_COMPILATION_CACHE_DIR": str(tmp_path_factory.mktemp("compiled")),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
        "PYTHONWARNINGS": "ignore",
    }
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["drill"])
    yield context
    for name, value in before.items():
        os.environ.pop(name) if value is None else os.environ.update({name: value})


def run_child(processes, folder, kind, kill, pause=0.0):
    """The weights, or None if the child was killed `kill()` seconds after a moment."""
    ours, theirs = processes.Pipe()
    child = processes.Process(target=drill.child, args=(str(folder), kind, theirs, pause))
    child.start()
    theirs.close()
    weights = None
    try:
        moment, seconds = kill if kill is not None else ("begin", 100)
        if moment == "begin":
            assert ours.poll(100)
            assert ours.recv() == "begins"
        if ours.poll(seconds):
            message = ours.recv()
            if message == "begins":
                message = ours.recv() if ours.poll(0.2) else None
            weights = message
    except EOFError:
        pytest.fail("The child died by itself.")
    finally:
        if weights is None:
            os.kill(child.pid, signal.SIGKILL)
        child.join()
    return weights


def kill_and_resume(processes, tmp_path, kind, kills):
    expected = run_child(processes, tmp_path / "whole", kind, None)
    history = drill.history(tmp_path / "whole")
    assert b'"rescue"' in history
    assert b"PATIENCE" in history
    random_moment = random.Random(kind)
    killed = attempt = 0
    while killed < kills or attempt == 0:
        attempt += 1
        folder = tmp_path / f"killed-{attempt}"
        found = None
        while found is None:
            # Every fourth time it hits the start: creation, restoring, compilation.
            early = random_moment.random() < 0.25
            kill = ("start", random_moment.uniform(0, 1.5)) if early else None
            kill = kill or ("begin", random_moment.uniform(0, 1.0))
            found = run_child(processes, folder, kind, kill if killed < kills else None, 0.02)
            killed += found is None
        assert found == expected
        assert drill.history(folder) == history


def test_killed_at_random_moments(processes, tmp_path):
    kill_and_resume(processes, tmp_path, "loop", kills=3)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["loop", "dispatch", "hosted"])
def test_killed_twenty_times(processes, tmp_path, kind):
    kill_and_resume(processes, tmp_path, kind, kills=20)
