"""Arrays that checkpoints share lie on the disk once, and are there as long as one needs them."""

import os
import shutil

import jax.numpy as jnp
import numpy as np
import optax
import pytest

import etude as et
from etude.errors import CheckpointError
from etude.run.checkpoints import CheckpointStore, Shared


def shared(value: float, size: int = 5) -> Shared:
    return Shared.of({"['w']": np.full(size, value, np.float32)})


def store_at(folder, told=None):
    return CheckpointStore(folder, on_warning=([] if told is None else told).append)


def saved(store, name, best):
    store.save(name, {"w": np.zeros(2)}, {}, {"best": best})
    store.wait()


def lying(folder):
    place = folder / "shared"
    return sorted(os.listdir(place)) if place.exists() else []


def inodes(folder):
    return {path: path.stat().st_ino for path in (folder / "shared").rglob("*")}


def test_the_same_arrays_are_written_once_and_found_in_each(tmp_path):
    store = store_at(tmp_path)
    saved(store, "a", shared(1))
    before = inodes(tmp_path)
    saved(store, "b", shared(1))  # as after a resume: another object of the same content
    assert inodes(tmp_path) == before
    for name in ("a", "b"):
        restored = store.restore(name)
        assert list(restored.arrays) == ["w", "best['w']"]
        assert (restored.arrays["best['w']"] == 1).all()
    assert store.names() == ["a", "b"]
    with pytest.raises(ValueError, match="not 'shared'"):
        store.save("shared", {}, {})


def test_they_go_with_the_last_checkpoint_that_refers_to_them(tmp_path):
    store = store_at(tmp_path)
    for name, value in (("a", 1), ("b", 1), ("c", 2)):
        saved(store, name, shared(value))
    assert len(lying(tmp_path)) == 2
    store.remove("a")
    assert len(lying(tmp_path)) == 2
    store.remove("b")
    assert lying(tmp_path) == [shared(2).digest[:16]]
    saved(store, "c", shared(3))  # a new save under an old name
    assert lying(tmp_path) == [shared(3).digest[:16]]
    store.remove("c")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("damage", ["flip", "unlink", "manifest", "folder", "another"])
def test_without_them_a_checkpoint_is_not_whole(damage, tmp_path):
    store = store_at(tmp_path)
    saved(store, "old", shared(1))
    saved(store, "new", shared(2, size=500))
    place = tmp_path / "shared" / shared(2, size=500).digest[:16]
    files = [path for path in place.glob("arrays-*") if path.is_file()]
    largest = max(files, key=lambda path: path.stat().st_size)
    match damage:
        case "flip":
            content = bytearray(largest.read_bytes())
            content[len(content) // 2] ^= 4
            largest.write_bytes(content)
        case "unlink":
            largest.unlink()
        case "manifest":
            (place / "manifest.json").unlink()
        case "folder":
            shutil.rmtree(place)
        case _:
            shutil.rmtree(place)
            shutil.copytree(tmp_path / "shared" / shared(1).digest[:16], place)
    told: list[str] = []
    assert store_at(tmp_path, told).restore().name == "old"
    assert f"'new' cannot be used: shared/{place.name}, which it refers to: " in told[0]
    with pytest.raises(CheckpointError, match=place.name):
        store.restore("new")
    if damage != "flip":  # a change of content is seen at the next restore, not at the next save
        saved(store, "next", shared(2, size=500))
        assert store_at(tmp_path).restore().name == "next"
        assert (store.restore("new").arrays["best['w']"] == 2).all()


def test_what_a_killed_save_has_left_is_removed(tmp_path):
    store = store_at(tmp_path)
    saved(store, "a", shared(1))
    cut_off = tmp_path / "shared" / ("0" * 16)
    cut_off.mkdir(parents=True)
    (cut_off / "arrays-000002.bin").write_bytes(b"half")
    mine = tmp_path / "shared" / "mine"
    mine.mkdir()
    (mine / "notes.txt").write_text("keep me")
    saved(store, "b", shared(1))
    assert lying(tmp_path) == [shared(1).digest[:16], "mine"]


def test_a_training_writes_its_best_weights_once(tmp_path):
    """Two checkpoints with the same best, then one with another: two sets, and pruned to one."""

    def loss(w, batch, context):
        return jnp.mean((w[:, None] - batch) ** 2) * len(w)

    seen = []

    class Lying(et.Callback):
        def on_checkpoint(self, event, name):
            seen.append(len(lying(event.folder / "checkpoints")))

    data = et.ArrayData(jnp.linspace(0, 1, 12), 4)

    def trainer(run):
        learner = et.Learner(et.Gradient(loss), optax.sgd(1.1))  # diverges: the first is the best
        phase = et.Phase(
            "fit", learner, data, et.Steps(12), et.Validation(data, every=et.Steps(1)),
            keep=et.Best("valid/loss"),
        )  # fmt: skip
        callbacks = [et.ModelCheckpoint(et.Steps(3), keep_last=2), Lying()]
        return et.Trainer(jnp.full(40, 0.5), phase, callbacks=callbacks, run=run, progress=False)

    result = trainer(tmp_path / "run").fit()
    assert set(seen) <= {0, 1}
    checkpoints = tmp_path / "run" / "checkpoints"
    assert len(lying(checkpoints)) == 1
    for name in CheckpointStore(checkpoints).names():
        restored = CheckpointStore(checkpoints).restore(name)
        np.testing.assert_array_equal(restored.arrays["0/best"], result.model)
    assert (trainer(tmp_path / "run").load() == result.model).all()
    assert (trainer(tmp_path / "run").resume().model == result.model).all()


def test_what_is_damaged_is_written_again_by_the_next_save(tmp_path):
    """The training still holds the arrays: one flipped bit may not cost all its checkpoints."""
    store = store_at(tmp_path)
    saved(store, "a", shared(1, size=1000))
    for path in (tmp_path / "shared").rglob("*"):
        if path.is_file() and path.name != "manifest.json":
            content = bytearray(path.read_bytes())
            if content:
                content[len(content) // 2] ^= 1
                path.write_bytes(bytes(content))
    with pytest.raises(CheckpointError):
        store.restore("a")
    saved(store, "b", shared(1, size=1000))
    for name in ("a", "b"):
        assert (store.restore(name).arrays["best['w']"] == 1).all()
