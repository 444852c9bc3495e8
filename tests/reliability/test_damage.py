"""Damaged and foreign checkpoints: found, named, and an older one is used; or refused."""

import shutil

import drill
import jax.numpy as jnp
import optax
import pytest
import small

import etude as et
from etude.errors import CheckpointError


def trainer(folder, *callbacks, seed=0):
    """Keeps all its checkpoints, one each three steps."""
    listed = [et.ModelCheckpoint(et.Steps(3), keep_last=100), *callbacks]
    return small.trainer(
        small.phase(small.learner("a", noise=0.1)), run=folder, callbacks=listed, seed=seed
    )


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A whole run, and one that broke off at step 12."""
    folder = tmp_path_factory.mktemp("runs")
    whole = trainer(folder / "whole").fit()
    with pytest.raises(ZeroDivisionError) as caught:
        trainer(folder / "cut", drill.At("on_checkpoint", 4, lambda: 1 / 0)).fit()
    assert any("trainer.resume()" in note for note in caught.value.__notes__)
    return folder, drill.weights(whole)


def newest(folder):
    return max((folder / "checkpoints").iterdir(), key=lambda path: path.name)


def arrays(folder):
    return next(newest(folder).glob("arrays-*"))


def truncate(path):
    path.write_bytes(path.read_bytes()[:-5])


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


DAMAGES = {
    "truncated arrays": lambda folder: truncate(arrays(folder)),
    "flipped arrays": lambda folder: flip(arrays(folder)),
    "missing arrays": lambda folder: arrays(folder).unlink(),
    "truncated manifest": lambda folder: truncate(newest(folder) / "manifest.json"),
    "flipped manifest": lambda folder: flip(newest(folder) / "manifest.json"),
    "missing manifest": lambda folder: (newest(folder) / "manifest.json").unlink(),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_the_newest_whole_one_is_used(runs, damage, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(runs[0] / "cut", folder)
    name = newest(folder).name
    assert name == "000000009-fit"
    DAMAGES[damage](folder)
    with pytest.warns(UserWarning, match=f"{name}' cannot be used.*'000000006-fit'") as told:
        result = trainer(folder).resume()
    assert len(told) == 1
    assert drill.weights(result) == runs[1]
    assert drill.history(folder) == drill.history(runs[0] / "whole")


def test_without_the_newest_folder_the_one_before_is_used(runs, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(runs[0] / "cut", folder)
    shutil.rmtree(newest(folder))
    result = trainer(folder).resume()
    assert drill.weights(result) == runs[1]
    assert drill.history(folder) == drill.history(runs[0] / "whole")


@pytest.mark.filterwarnings("ignore:Checkpoint")
def test_no_whole_one_is_refused_and_nothing_is_lost(runs, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(runs[0] / "cut", folder)
    for manifest in folder.glob("checkpoints/*/manifest.json"):
        flip(manifest)
    history = drill.history(folder)
    with pytest.raises(CheckpointError, match="No whole checkpoint"):
        trainer(folder).resume()
    assert drill.history(folder) == history


def test_another_seed_is_refused(runs):
    with pytest.raises(et.ResumeError, match="seed: got 1, expected 0"):
        trainer(runs[0] / "cut", seed=1).resume()


def test_another_model_or_optimizer_is_refused_with_the_leaves(runs):
    def resume(model, optimizer):
        learner = et.Learner(small.rule("a"), optimizer, where=lambda m: m["a"])
        et.Trainer(
            model, small.phase(learner), progress=False, run=runs[0] / "cut"
        ).resume()  # fmt: skip

    wider = {"a": jnp.zeros(()), "b": jnp.zeros(3)}
    with pytest.raises(et.ResumeError, match=r"\['b'\].*float32\[3\].*float32\[\]"):
        resume(wider, optax.sgd(0.1))
    renamed = {"a": jnp.zeros(()), "c": jnp.zeros(())}
    with pytest.raises(et.ResumeError, match=r"\['c'\].*missing in the checkpoint"):
        resume(renamed, optax.sgd(0.1))
    with pytest.raises(et.ResumeError, match=r"optimizer.*mu.*missing in the checkpoint"):
        resume(small.model(), optax.adam(0.1))


def test_another_phase_is_refused_with_near_names(runs):
    other = small.trainer(small.phase(name="fits"), run=runs[0] / "cut")
    with pytest.raises(et.ResumeError, match=r"stands in phase 'fit'.*Did you mean 'fits'"):
        other.resume()
