"""A full disk, by a limit on the size of files: the policy holds, the last good one survives."""

import resource
import warnings

import drill
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import small

import etude as et
from etude.errors import CheckpointError

# Much more than the history and the manifests, and random, because checkpoints are compressed.
LARGE = np.random.default_rng(0).normal(size=50_000).astype(np.float32)

pytestmark = [
    pytest.mark.usefixtures("listening"),
    # Orbax closes its event loop while writes that failed still report to it.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    # What they leave may have been removed in time, or not.
    pytest.mark.filterwarnings("ignore:.*manifest.json is missing"),
]


def limit(size=resource.RLIM_INFINITY):
    """No file can grow beyond so many bytes, as on a full disk."""
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))


@pytest.fixture(autouse=True)
def unlimited():
    yield
    limit()


def trainer(folder, *callbacks, policy="stop", every=4):
    def loss(model, batch, context):
        value = jnp.mean((model - batch[0].mean()) ** 2) * len(model)
        return value, {f"part {number}": value / number for number in range(1, 20)}

    phase = et.Phase(
        "fit", et.Learner(et.Gradient(loss), optax.sgd(0.1)), small.data(), et.Steps(20)
    )
    return et.Trainer(
        LARGE, phase, progress=False, run=folder, on_full_disk=policy,
        callbacks=[et.ModelCheckpoint(et.Steps(every), keep_last=100), *callbacks],
    )  # fmt: skip


def names(folder):
    return sorted(path.parent.name for path in folder.glob("checkpoints/*/manifest.json"))


def full_at(checkpoint, size=100_000):
    return drill.At("on_checkpoint", checkpoint, lambda: limit(size))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "run"
    result = trainer(folder).fit()
    return drill.weights(result), drill.history(folder)


def test_stop_says_why_and_leaves_the_last_good_one(whole, tmp_path):
    closed = drill.At("on_exception", 1, lambda: None)
    with pytest.raises(CheckpointError, match=r"'000000012-fit' could not be written.*too large"):
        trainer(tmp_path / "run", full_at(3), closed).fit()
    assert closed.left == 0
    assert names(tmp_path / "run") == ["000000004-fit", "000000008-fit"]
    limit()
    result = trainer(tmp_path / "run").resume()
    assert (drill.weights(result), drill.history(tmp_path / "run")) == whole


@pytest.mark.filterwarnings("ignore:Checkpoint")
def test_continue_tries_again_at_the_next_one(whole, tmp_path):
    freed = drill.At("on_checkpoint", 4, limit)
    with pytest.warns(UserWarning, match="'000000012-fit' could not be.*goes on without"):
        result = trainer(tmp_path / "run", full_at(3), freed, policy="continue").fit()
    assert (drill.weights(result), drill.history(tmp_path / "run")) == whole
    assert names(tmp_path / "run") == [f"{step:09d}-fit" for step in (4, 8, 16, 20)]


def test_an_interruption_on_a_full_disk_says_where_one_stands(whole, tmp_path):
    def fill_and_signal():
        limit(100_000)
        drill.send(drill.signal.SIGTERM)

    closed = drill.At("on_exception", 1, lambda: None)
    at = drill.At("on_epoch_end", 3, fill_and_signal)
    with pytest.raises(et.Interrupted, match=r"could not be written.*from the last checkpoint"):
        trainer(tmp_path / "run", at, closed).fit()
    assert closed.left == 0
    limit()
    result = trainer(tmp_path / "run").resume()
    assert (drill.weights(result), drill.history(tmp_path / "run")) == whole


def test_no_room_for_the_history_stops(whole, tmp_path):
    with pytest.raises(OSError, match=r"too large.*history\.bin"):
        trainer(tmp_path / "run", full_at(3, size=600)).fit()
    assert names(tmp_path / "run") == ["000000004-fit", "000000008-fit"]
    limit()
    result = trainer(tmp_path / "run").resume()
    assert (drill.weights(result), drill.history(tmp_path / "run")) == whole


def test_no_room_for_the_history_is_waited_for_and_told_once(whole, tmp_path):
    freed = drill.At("on_checkpoint", 5, limit)
    folder = tmp_path / "run"
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        result = trainer(folder, full_at(2, size=600), freed, policy="continue").fit()
    assert sum("goes on without it" in str(warning.message) for warning in told) == 1
    assert (drill.weights(result), drill.history(folder)) == whole


@pytest.mark.filterwarnings("ignore:.*goes on without it")
def test_the_result_has_what_never_got_room(tmp_path):
    whole = trainer(tmp_path / "whole").fit().history
    result = trainer(tmp_path / "run", full_at(2, size=600), policy="continue").fit()
    assert result.history == whole
