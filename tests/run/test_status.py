"""The status file says how a training stands, without anyone reading a whole history."""

import json

import jax.numpy as jnp
import optax
import pytest

import etude as et
from etude.run import Status


def trainer(run, *callbacks, steps=6, **options):
    def loss(w, batch, context):
        return jnp.mean((w - batch) ** 2)

    learner = et.Learner(et.Gradient(loss), optax.sgd(0.1))
    phase = et.Phase("fit", learner, et.ArrayData(jnp.ones(8), 4), et.Steps(steps))
    listed = [et.ModelCheckpoint(et.Steps(2)), *callbacks]
    return et.Trainer(jnp.zeros(()), phase, run=run, callbacks=listed, progress=False, **options)


class At(et.Callback):
    """Does something after a step."""

    def __init__(self, step, action):
        self.step, self.action = step, action

    def on_steps_end(self, event, metrics):
        if event.step == self.step:
            self.action(event)


def stands(folder):
    found = Status.read(folder)
    assert found is not None
    return found.state, found.reason, found.steps


def fail(event):
    raise ZeroDivisionError("division\nof labour")


def interrupt(event):
    raise KeyboardInterrupt


def test_it_says_how_a_training_stands_and_ends(tmp_path):
    seen = []
    folder = tmp_path / "run"
    look = At(4, lambda event: seen.append(stands(event.folder)))
    trainer(folder, look).fit()
    assert seen[0][:2] == ("training", "")
    assert seen[0][2] in (0, 2)  # with the checkpoint at step 2, once it is written
    assert stands(folder) == ("finished", "LENGTH", 6)
    trainer(folder).resume()  # nothing to do
    assert stands(folder) == ("finished", "LENGTH", 6)
    assert not (folder / "status.json.tmp").exists()


@pytest.mark.parametrize(
    ("action", "ended"),
    [(fail, ("failed", "ZeroDivisionError: division")), (interrupt, ("interrupted", ""))],
    ids=["error", "interruption"],
)
def test_it_says_what_ended_a_training_and_that_it_goes_on(action, ended, tmp_path):
    folder = tmp_path / "run"
    with pytest.raises((ZeroDivisionError, KeyboardInterrupt)):
        trainer(folder, At(4, action)).fit()
    assert stands(folder) == (*ended, 4)
    trainer(folder).resume()
    assert stands(folder) == ("finished", "LENGTH", 6)


def test_a_resume_that_is_refused_leaves_it_as_it_was(tmp_path):
    folder = tmp_path / "run"
    trainer(folder).fit()
    before = (folder / "status.json").read_bytes()
    with pytest.raises(et.ResumeError):
        trainer(folder, steps=3).resume()
    assert (folder / "status.json").read_bytes() == before


def test_a_folder_that_is_gone_gets_none(tmp_path):
    folder = tmp_path / "run"
    move = At(4, lambda event: folder.rename(tmp_path / "moved"))
    with pytest.raises(et.RunLostError):
        trainer(folder, move).fit()
    assert Status.read(folder) is None


@pytest.mark.parametrize("content", ["{", "[]", '{"state": "finished"}', '{"results": 1}'])
def test_a_damaged_one_is_as_good_as_none(content, tmp_path):
    (tmp_path / "status.json").write_text(content)
    assert Status.read(tmp_path) is None


def test_results_that_are_not_finite_are_valid_json(tmp_path):
    Status("finished", results={"test": {"loss": float("inf")}}).write(tmp_path)
    text = (tmp_path / "status.json").read_text()
    json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} in JSON"))
    found = Status.read(tmp_path)
    assert found is not None
    assert found.results == {"test": {"loss": float("inf")}}
