"""Progress is shown where it can be, and never ends a training where it cannot."""

import contextlib
import io
import os
import pty
import sys
import threading

import optax
import pytest
from tiny import X, Y, fit, loss, model, phase

import etude as et
from etude.callbacks import progress
from etude.callbacks.unfailing import Unfailing


@pytest.fixture(autouse=True)
def always(monkeypatch):
    """At every chunk."""
    monkeypatch.setattr(progress, "LIVE", 0.0)
    monkeypatch.setattr(progress, "PLAIN", 0.0)


class Then(et.Callback):
    """Does something after so many chunks."""

    def __init__(self, chunks, action):
        self.left, self.action = chunks, action

    def on_steps_end(self, event, metrics):
        self.left -= 1
        if self.left == 0:
            self.action()


def shown(stream, *callbacks):
    """Trains with progress on a stream; the training must not notice."""
    result = fit([phase("one"), phase("two")], [et.Progress(stream), *callbacks])
    assert result.reason is et.Reason.LENGTH


def test_lines_say_where_training_stands():
    stream = io.StringIO()
    shown(stream)
    lines = stream.getvalue().splitlines()
    assert lines[0] == "one: begins"
    assert any("steps/s" in line and "loss" in line for line in lines)
    assert any(line.startswith("two: ends at step 40") for line in lines)


def closed():
    stream = io.StringIO()
    stream.close()
    return stream


def without_reader():
    reading, writing = os.pipe()
    os.close(reading)
    return open(writing, "w", buffering=1, closefd=True)


@pytest.mark.parametrize(
    "make", [closed, without_reader, lambda: open("/dev/full", "w", buffering=1)],  # noqa: SIM115
    ids=["closed", "pipe", "full"],
)  # fmt: skip
def test_a_stream_that_fails_is_silent(make):
    stream = make()
    shown(stream)
    if not stream.closed:
        with pytest.raises(OSError, match=r"pipe|space"):  # what it could not write
            stream.close()


def test_standard_error_that_is_not_there(monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)
    shown(None)


def test_a_terminal_that_is_closed_in_between(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    failed = []
    monkeypatch.setattr(threading, "excepthook", failed.append)
    ours, theirs = pty.openpty()
    with contextlib.suppress(OSError), open(theirs, "w", buffering=1) as stream:
        watched = et.Progress(stream)
        assert watched.live
        result = fit(phase(), [watched, Then(2, lambda: os.close(ours))])
        assert watched.stream.broken
    assert result.reason is et.Reason.LENGTH
    assert not failed, "the thread that draws the bar failed"


def test_characters_that_a_stream_lacks_are_escaped():
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    Unfailing(stream).line("schöne Phase \udcff")
    assert raw.getvalue() == b"sch\\xf6ne Phase \\udcff\n"


class Terminal(io.StringIO):
    """One that keeps what it shows."""

    def isatty(self):
        return True


def test_brackets_in_the_name_of_a_metric_are_no_markup(monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")

    def bracketed(model, batch, context):
        error = loss(model, batch, context)[0]
        return error, {"accuracy[dog]": error, "accuracy[/cat]": error}

    stream = Terminal()
    learner = et.Learner(et.Gradient(bracketed), optax.sgd(0.05))
    one = et.Phase("fit", learner, et.ArrayData((X, Y), batch_size=4), et.Steps(2))
    et.Trainer(model(), one, callbacks=[et.Progress(stream)], progress=False).fit()
    assert "accuracy[dog]" in stream.getvalue()
    assert "accuracy[/cat]" in stream.getvalue()
