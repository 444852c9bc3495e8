"""A population that was interrupted goes on to the same bits, with the same history."""

import shutil

import pytest
from crowd import RATES, equal, phase, trainer
from test_endings import BREAKING, VARY, stopping

import etude as et


def slow(step):
    return pytest.param(step, marks=pytest.mark.slow)


class Breaking(et.Callback):
    """Fails at a step, once."""

    def __init__(self, step):
        self.step = step

    def with_members(self):
        return "all"

    def next_step(self, event):
        return self.step if event.global_step < self.step else None

    def on_steps_end(self, event, metrics):
        if event.global_step >= self.step:
            raise RuntimeError("pulled the plug")


class Stopping(et.Callback):
    """Ends the second member at the beginning of a phase."""

    def with_members(self):
        return "all"

    def on_phase_begin(self, event):
        return et.Stop(member=1) if event.step == 0 else None


def phases(**options):
    best = et.Best("valid/error", "min")
    first = phase(BREAKING, keep=best, goal=et.AtMost("valid/error", 0.0), **options)
    return [first, phase(name="on", steps=8)]


def made(folder, *more, team=2, steps=20, **options):
    callbacks = [stopping(), et.ModelCheckpoint(every=et.Steps(4)), *more]
    return trainer(phases(steps=steps), VARY, team, run=folder, callbacks=callbacks, **options)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """One that was never interrupted; its first member loses patience, its third is at fault."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    result = made(folder).fit()
    assert [one["event"] for one in result.history.events].count("member_end") == 2
    return result


@pytest.mark.parametrize("step", [slow(3), slow(6), 18, slow(23)])
def test_the_same_bits_and_the_same_history(whole, tmp_path, step):
    with pytest.raises(RuntimeError, match="plug"):
        made(tmp_path / "run", Breaking(step)).fit()
    result = made(tmp_path / "run").resume()
    equal(result.model, whole.model)
    for name in ("history.jsonl", "history.bin"):
        assert (tmp_path / "run" / name).read_bytes() == (whole.run / name).read_bytes()
    assert result.members == whole.members
    assert result.metrics == whole.metrics


@pytest.mark.slow
def test_the_teams_that_were_timed_are_kept(tmp_path):
    """They decide the bits, so that a resume does not choose anew."""
    vary = {"rate": RATES}
    first = trainer(phase(), vary, None, run=tmp_path / "run", callbacks=[Breaking(6)])
    with pytest.raises(RuntimeError, match="plug"):
        first.fit()
    again = trainer(phase(), vary, None, run=tmp_path / "run")
    result = again.resume()
    sizes = result.history.events[0]["teams"]
    equal(result.model, trainer(phase(), vary, sizes[0]).fit().model)


@pytest.mark.slow
def test_a_finished_one_is_loaded_and_may_become_longer(whole, tmp_path):
    equal(made(whole.run).load(), whole.model)
    shutil.copytree(whole.run, tmp_path / "run")
    again = made(tmp_path / "run")
    equal(again.resume().model, whole.model)
    short = trainer(phase(steps=10), {"rate": RATES}, run=tmp_path / "short").fit()
    assert short.members[0].step == 10
    longer = trainer(phase(steps=20), {"rate": RATES}, run=tmp_path / "short").resume()
    equal(longer.model, trainer(phase(steps=20), {"rate": RATES}).fit().model)


def test_a_limit_that_became_longer(tmp_path):
    """It goes on for those that the limit had ended, not for others."""

    def going(**options):
        one = phase(steps=3, validation=None, **options)
        return trainer(one, {"rate": RATES}, run=tmp_path / "run", callbacks=[Stopping()])

    short = going(limit=et.Seconds(1e-9)).fit()
    assert {one.reason.name for one in short.members} == {"TIME", "CALLBACK"}
    longer = going().resume()
    assert [one.reason.name for one in longer.members] == ["LENGTH", "CALLBACK", "LENGTH"]
    assert longer.members[1].step == short.members[1].step


def test_other_settings_are_refused(whole):
    vary = {**VARY, "rate": [0.0, 0.03, 0.06]}
    other = trainer(phases(), vary, 2, run=whole.run, callbacks=[stopping()])
    with pytest.raises(et.ResumeError, match=r"population\.2\.rate: got 0\.06, expected 0\.05"):
        other.resume(changes="allow")
    with pytest.raises(et.ResumeError, match=r"population\.team: got 3, expected 2"):
        made(whole.run, team=3).resume()


def test_a_population_and_a_lone_model_are_told_apart(whole, tmp_path):
    import jax
    from crowd import LEARNER, init  # the phases of one model

    one = phase(LEARNER, hyper={"rate": 0.1})
    lone = et.Trainer(init(jax.random.key(0)), one, run=whole.run, progress=False)
    with pytest.raises(et.ResumeError, match=r"trains a population"):
        lone.resume()
    with pytest.raises(et.ResumeError, match=r"trained a population"):
        lone.load()
    single = et.Trainer(init(jax.random.key(0)), one, run=tmp_path / "run", progress=False)
    single.fit()
    many = trainer(phase(), {"rate": RATES}, run=tmp_path / "run")
    for attempt in (many.resume, many.load):
        with pytest.raises(et.ResumeError, match="trains one model, not a population"):
            attempt()
