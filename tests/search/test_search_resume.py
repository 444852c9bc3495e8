"""A trial that is cut off goes on in its own run, to the same bits, and is not repeated."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from little_recipe import Little, recipe

from etude.run import Status
from etude.run.lock import is_held
from etude.search import BayesianSearch, GridSearch, Range
from etude.search.ledger import Ledger
from etude.search.record import recorded
from etude.search.worker import write_best

SPACE = {"rate": Range(1e-3, 1.0, log=True), "kind": ["a", "b"]}


class Kill(BaseException):
    """What nobody catches, as a kill."""


def searched(folder, trials, **options):
    lines = []
    search = BayesianSearch(target=recipe, space=SPACE, folder=folder, start=1, **options)
    return search.run(trials, say=lines.append), lines


def weights(folder):
    return np.asarray(recipe.trials(Little())[0].load(folder))


def outcome(results):
    return [(found.number, found.setting, found.values) for found in results.trials]


def test_a_killed_search_goes_on_as_if_it_had_not_been(tmp_path, monkeypatch):
    whole, _ = searched(tmp_path / "whole", 3)
    calls, report = [], Ledger.report

    def dies(self, number, step, value):
        calls.append((number, step))
        if len(calls) == 6:  # the second validation of the second trial
            raise Kill
        return report(self, number, step, value)

    monkeypatch.setattr(Ledger, "report", dies)
    with pytest.raises(Kill):
        searched(tmp_path / "cut", 3)
    assert calls[-1] == (1, 2)
    resumed, lines = searched(tmp_path / "cut", 3)
    assert lines[0] == "Going on: 1 running, 1 complete."
    assert outcome(resumed) == outcome(whole)
    assert calls.count((1, 1)) == 1, "it goes on behind the validation that it had made"
    for number in range(3):
        one, other = (tmp_path / name / f"trials/{number:04d}" for name in ("whole", "cut"))
        assert weights(one) == weights(other)
        assert (one / "history.bin").read_bytes() == (other / "history.bin").read_bytes()


def test_it_is_not_taken_from_a_worker_that_lives(tmp_path):
    search = GridSearch(target=lambda x: x, space={"x": [1, 2, 3]}, mode="min", folder=tmp_path)
    plan = search.plan(None)
    with plan.ledger() as one:
        assert one.take(plan.propose, None).number == 0
        with plan.ledger() as two:
            assert two.take(plan.propose, None).number == 1
        with plan.ledger() as three:
            left = three.take(plan.propose, None)
            assert (left.number, left.again, left.setting) == (1, True, {"x": 2})
            assert three.take(plan.propose, None).number == 2
            assert three.take(plan.propose, None) is None


def test_the_best_is_written_by_one_worker_at_a_time(tmp_path, monkeypatch):
    search = GridSearch(target=lambda x: x, space={"x": [1, 2]}, mode="min", folder=tmp_path)
    plan, held = search.plan(None), []

    def read(self):
        held.append(is_held(tmp_path / "workers/lock"))
        return trials(self)

    trials = Ledger.trials
    with plan.ledger() as ledger:
        ledger.done(ledger.take(plan.propose, None), [1.0])
        monkeypatch.setattr(Ledger, "trials", read)
        write_best(plan, ledger)
    assert held == [True], "what is written last has been read last"
    assert (tmp_path / "best.yaml").read_text().endswith("x: 1\n")


def test_a_worker_that_was_killed_leaves_no_file(tmp_path):
    search = GridSearch(target=lambda x: x, space={"x": [1, 2]}, mode="min", folder=tmp_path)
    plan = search.plan(None)
    killed = plan.ledger().__enter__()
    killed.take(plan.propose, None)
    killed._lock.release()  # as the system does
    search.run(say=lambda line: None)
    assert [path.name for path in (tmp_path / "workers").iterdir()] == ["lock"]


def test_a_trial_that_kills_its_workers_is_a_failure(tmp_path):
    search = GridSearch(target=lambda x: x, space={"x": [1, 2]}, mode="min", folder=tmp_path)
    plan = search.plan(None)
    for _ in range(5):
        with plan.ledger() as ledger:
            assert ledger.take(plan.propose, None).number == 0
    results = search.run(say=lambda line: None)
    assert [found.state for found in results.trials] == ["failed", "complete"]
    assert "its worker died 5 times" in results.trials[0].why


def test_an_interruption_is_no_death(tmp_path):
    def patient(x):
        raise KeyboardInterrupt

    search = GridSearch(target=patient, space={"x": [1, 2]}, mode="min", folder=tmp_path)
    for _ in range(7):
        with pytest.raises(KeyboardInterrupt, match=r"1 running\. The same search on"):
            search.run(say=lambda line: None)


SCRIPT = """
import sys
sys.path.insert(0, {here!r})
from etude.search import RandomSearch, Range
from little_recipe import Little, recipe

if __name__ == "__main__":
    search = RandomSearch(
        target=recipe, space={{"rate": Range(1e-3, 1.0, log=True)}}, folder={folder!r},
        config=Little(steps=60, pause=0.15), prune="never", storage={storage!r},
    )
    search.run(8, workers=4)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("victim", "database"), [("worker", None), ("everyone", None), ("worker", "sqlite:///{}/a.db")]
)
def test_of_four_processes_one_is_killed(victim, database, tmp_path, listening):
    storage = database and database.format(tmp_path)
    folder = tmp_path / "search"
    script = tmp_path / "script.py"
    script.write_text(
        SCRIPT.format(here=str(Path(__file__).parent), folder=str(folder), storage=storage)
    )
    process = subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True)
    place, killed = until_trained(folder), None
    if victim == "worker":
        killed = int((place / "lock").read_text())
        os.kill(killed, signal.SIGKILL)
    else:
        process.terminate()
    out, _ = process.communicate(timeout=400)
    if victim == "everyone":
        assert process.returncode != 0
        done = subprocess.run([sys.executable, script], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    else:
        assert process.returncode == 0
        assert "A worker died (SIGKILL); its trial goes on in another." in out
    search = recorded(folder)
    assert len(list((folder / "trials").iterdir())) == 8
    for run in sorted((folder / "trials").iterdir()):
        status = Status.read(run)
        assert (status.state, status.steps) == ("finished", 60)
    # The one that was cut off, alone and in one piece.
    from etude.run import Run

    config = Little(**Run.open(place, lock=False).config["configuration"])
    alone = recipe.trials(config)[0].build(run=tmp_path / "alone", progress=False).fit()
    assert np.asarray(alone.model) == weights(place)
    assert (tmp_path / "alone/history.bin").read_bytes() == (place / "history.bin").read_bytes()
    assert search["seeds"] == 1


def until_trained(folder):
    """A trial that has made some steps and has some before it."""
    for _ in range(1200):
        for place in sorted(folder.glob("trials/*")):
            status = Status.read(place)
            if status and status.state == "training" and 5 <= status.steps <= 45:
                return place
        time.sleep(0.1)
    raise AssertionError("no trial began")


def test_a_trial_of_another_host_is_left_when_its_heart_has_stopped(tmp_path, monkeypatch):
    url = f"sqlite:///{tmp_path}/search.db"
    search = GridSearch(
        target=lambda x: x, space={"x": [1, 2, 3]}, mode="min", folder=tmp_path / "s", storage=url
    )
    plan = search.plan(None)
    monkeypatch.setattr("socket.gethostname", lambda: "far")
    with plan.ledger() as far:
        assert far.take(plan.propose, None).number == 0
    monkeypatch.setattr("socket.gethostname", lambda: "near")
    with plan.ledger() as near:
        assert near.take(plan.propose, None).number == 1, "the lock of a far host may not show"
        with sqlite3.connect(tmp_path / "search.db") as database:
            database.execute("update trial_heartbeats set heartbeat = '2020-01-01 00:00:00'")
        database.close()
        left = near.take(plan.propose, None)
        assert (left.number, left.again) == (0, True)
        with near.alive(left):
            assert near.take(plan.propose, None).number == 2
