"""How a process that fails ends the others, and waits for them where all fail."""

import sys
import threading
from pathlib import Path

import pytest

from etude.engine import ending
from etude.engine.ending import bound, fails

sys.path.insert(0, str(Path(__file__).parent))
from told import Service, side_by_side


@pytest.fixture
def left(monkeypatch):
    """The exit codes with which processes would have ended; looks are frequent."""
    codes: list[int] = []
    monkeypatch.setattr(ending.os, "_exit", codes.append)
    monkeypatch.setattr(ending, "WATCH", 0.01)
    monkeypatch.setattr(ending.atexit, "register", lambda function, code: codes.append(-code))
    return codes


def stopping(together, saved: list, slow: threading.Event | None = None):
    """A training that a signal ends; `slow` holds up what comes before its state is saved."""

    def work():
        with bound(together):
            try:
                assert together.interrupted("SIGTERM") == "SIGTERM"
                if slow is not None and together.is_first:
                    slow.wait(1)  # a callback that takes its time
                raise KeyboardInterrupt
            except BaseException:
                fails(together)
                if together.is_first:
                    threading.Event().wait(0.5)  # longer than the others are given to fail
                    saved.append("whole")
                raise

    return work


@pytest.mark.parametrize("before", [False, True], ids=["while it saves", "before it saves"])
def test_a_slow_save_is_waited_for(left, before):
    saved, service = [], Service(shortest=0.1)
    slow = threading.Event() if before else None

    def other():
        try:
            stopping(second, [])()
        finally:
            saved.append("other ends")

    first, second = service.processes(2)
    ends = side_by_side(stopping(first, saved, slow), other)
    assert [type(end) for end in ends] == [KeyboardInterrupt] * 2
    assert saved == ["whole", "other ends"]
    assert left == []


def test_one_that_fails_alone_ends_the_other(left, capsys):
    first, second = Service().processes(2)
    ended = threading.Event()
    ending.os._exit = lambda code: (left.append(code), ended.set())

    def failing():
        with bound(second):
            raise ZeroDivisionError("here")

    def waiting():
        with bound(first):
            assert ended.wait(10)

    side_by_side(waiting, failing)
    assert 1 in left
    assert "process 1 has failed, and ends all. ZeroDivisionError: here" in capsys.readouterr().err


def test_an_error_is_told_where_the_service_is_gone(left):
    service = Service()
    first, _ = service.processes(2)

    def failing():
        with bound(first):
            service.gone = True
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        failing()


@pytest.mark.parametrize("name", ["stdout", "stderr"])
def test_a_process_ends_also_where_nobody_reads_what_it_says(left, monkeypatch, name):
    class Closed:
        def write(self, text):
            raise BrokenPipeError

        def flush(self):
            raise BrokenPipeError

    monkeypatch.setattr(sys, name, Closed())
    with pytest.raises(BrokenPipeError):  # where the end of the process is none
        ending._leave(2, "words")
    assert left == [2]
