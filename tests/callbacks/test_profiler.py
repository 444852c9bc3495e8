"""The profiler traces the steps that were asked for, and no others; and never stops a training."""

from dataclasses import replace

import jax
import pytest
from tiny import fit, phase

import etude as et
from etude.callbacks import Profiler


def watch(monkeypatch):
    """Notes the calls of the profiler, and the chunks between them."""
    calls = []
    monkeypatch.setattr(jax.profiler, "start_trace", lambda folder: calls.append("start"))
    monkeypatch.setattr(jax.profiler, "stop_trace", lambda: calls.append("stop"))

    class Chunks(et.Callback):
        def on_steps_end(self, event, metrics):
            calls.append((event.phase, metrics.first, event.step))

    return calls, Chunks()


@pytest.mark.parametrize(("first", "steps"), [(1, 3), (10, 5), (36, 5)])
def test_exactly_the_steps_asked_for_are_traced(first, steps, monkeypatch):
    calls, chunks = watch(monkeypatch)
    fit([phase("one"), phase("two")], [chunks, Profiler(first, steps)])
    assert [c for c in calls if isinstance(c, str)] == ["start", "stop"]
    inside = calls[calls.index("start") + 1 : calls.index("stop")]
    assert (inside[0][1], inside[-1][2]) == (first, first + steps - 1)
    assert {name for name, *_ in inside} == {"one"}


def test_an_exception_ends_the_trace(monkeypatch):
    from tiny import Kill

    calls, _ = watch(monkeypatch)
    with pytest.raises(RuntimeError, match="killed"):
        fit(phase(), [Profiler(10, 20), Kill(at=15)])
    assert calls == ["start", "stop"]


def test_a_trace_is_written_to_the_run_folder(tmp_path):
    fit(phase(steps=8, validate=8), [Profiler(3, 2)], run=tmp_path / "run")
    assert list((tmp_path / "run" / "profile").rglob("*.xplane.pb"))


def test_a_profiler_that_is_busy_warns(monkeypatch):
    def busy(folder):
        raise RuntimeError("Profile has already been started.")

    monkeypatch.setattr(jax.profiler, "start_trace", busy)
    with pytest.warns(UserWarning, match="already been started"):
        result = fit(phase(), [Profiler(10)])
    assert result.reason is et.Reason.LENGTH


def test_steps_that_no_visit_comes_to_are_told(monkeypatch):
    calls, _ = watch(monkeypatch)
    with pytest.warns(UserWarning, match="ends at step 8, before 100"):
        fit(phase(steps=8, validate=8), [Profiler(100)])
    assert not calls


def test_what_one_training_has_entered_is_not_looked_for_in_the_next(monkeypatch):
    profiler = Profiler(1)
    seen = []
    for name in ("one", "two"):
        event = et.callbacks.Event(name, 0, 0, 8, None, 0, None, lambda *, ema=False: None)
        profiler.on_train_begin(event)
        monkeypatch.setattr(
            jax.profiler, "start_trace", lambda folder, name=name: seen.append(name)
        )
        monkeypatch.setattr(jax.profiler, "stop_trace", lambda: None)
        profiler.on_phase_begin(event)
        profiler.on_phase_end(replace(event, step=8), et.Reason.LENGTH)
    assert seen == ["one", "two"]
