"""Saves that come faster than the disk: the newest waits, those between are left out."""

import threading
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import etude as et
from etude.callbacks.base import Event, Save
from etude.errors import CheckpointError
from etude.run.checkpoints import CheckpointStore, HostArray, store as store_module
from etude.training.hooks import Hooks


class Gate:
    """A disk that is stuck until it is opened."""

    def __init__(self):
        self.stuck, self.open = threading.Event(), threading.Event()

    def __call__(self):
        self.stuck.set()
        assert self.open.wait(60)


def of(value):
    """Arrays on a device, as a training has them, and donates them to the next step."""
    return {"w": jnp.full((300, 20), value), "b": jnp.full(7, value), "s": jnp.int32(value)}


def holds(restored, value):
    return all((array == value).all() for array in restored.arrays.values())


def test_the_newest_waits_and_those_between_are_left_out(tmp_path):
    store, gate = CheckpointStore(tmp_path / "all", ledger=tmp_path / "ledger"), Gate()
    overwrite = jax.jit(lambda state: jax.tree.map(lambda x: x * 0, state), donate_argnums=0)
    store.save("a", of(1), {}, settle=gate)
    gate.stuck.wait(60)
    for value, name in [(2, "b"), (3, "c"), (4, "d")]:
        state = of(value)
        store.save(name, state, {"value": value}, optional=True)
        overwrite(state)
    assert store.left_out == ["b", "c"]
    gate.open.set()
    store.wait()
    assert store.names() == ["a", "d"]
    assert holds(store.restore("a"), 1)  # in memory of its own while others came
    assert holds(store.restore("d"), 4)
    assert (tmp_path / "ledger").read_text().splitlines() == [
        "a",
        "b (left out: saves came faster than the disk)",
        "c (left out: saves came faster than the disk)",
        "d",
    ]
    # Saves take turns with the memory of the last.
    store.save("e", of(5), {})
    store.wait()
    assert holds(store.restore("e"), 5)
    assert store.names() == ["a", "d", "e"]


def test_one_that_is_not_optional_is_never_left_out(tmp_path):
    store, gate = CheckpointStore(tmp_path), Gate()
    store.save("a", of(1), {}, settle=gate)
    gate.stuck.wait(60)
    store.save("b", of(2), {}, optional=True)
    saving = threading.Thread(target=lambda: store.save("c", of(3), {}))
    saving.start()  # waits for a; b gives way
    while store.left_out != ["b"]:
        time.sleep(0.01)
    gate.open.set()
    saving.join()
    store.save("d", of(4), {}, optional=True)
    store.wait()
    assert store.names() == ["a", "c", "d"]
    assert store.left_out == ["b"]


def test_a_failure_is_told_once_and_the_one_that_waits_is_written(tmp_path):
    store, gate = CheckpointStore(tmp_path), Gate()

    def fails():
        gate()
        raise OSError(28, "No space left on device")

    store.save("a", of(1), {}, settle=fails)
    gate.stuck.wait(60)
    store.save("b", of(2), {}, optional=True)
    gate.open.set()
    with pytest.raises(CheckpointError, match=r"'a' could not be written.*No space left"):
        store.wait()
    assert store.names() == ["b"]
    assert holds(store.restore(), 2)
    store.poll()


def test_what_is_superfluous_goes_once_the_new_one_is_whole(tmp_path):
    store, seen = CheckpointStore(tmp_path), []

    def but_last(names):
        seen.append(names)
        return names[:-1]

    for name in ("z", "a", "m"):
        store.save(name, of(1), {}, superfluous=but_last)
    store.wait()
    assert seen == [["z"], ["z", "a"], ["a", "m"]]
    assert store.names() == ["m"]


def test_memory_is_taken_where_it_is_offered():
    offered = []

    def take(size):
        offered.append(np.empty(size, np.uint8))
        return offered[-1]

    held = HostArray.of(jnp.arange(6, dtype=jnp.bfloat16).reshape(2, 3), take)
    assert np.shares_memory(held.whole(), offered[0])
    assert held.whole().astype(float).tolist() == [[0, 1, 2], [3, 4, 5]]


def test_a_request_that_must_be_met_outweighs_one_that_may_be_left_out():
    event = Event("fit", 0, 0, None, None, 0, None, lambda *, ema=False: None)

    class Asks(et.Callback):
        def __init__(self, save):
            self.save = save

        def on_train_begin(self, event):
            return self.save

    for saves in ([Save(), Save(optional=True)], [Save(optional=True), Save()]):
        hooks = Hooks([Asks(save) for save in saves])
        hooks.call("on_train_begin", event)
        assert hooks.take_save() == Save()
        assert hooks.take_save() is None


@pytest.mark.parametrize("keep_last", [2, 3])
def test_a_training_on_a_slow_disk(keep_last, tmp_path, monkeypatch):
    """Its best, its last and, if more than two are kept, each of its checkpoints are there."""
    write = store_module.write_folder

    def slow(*arguments):
        time.sleep(0.03)
        write(*arguments)

    monkeypatch.setattr(store_module, "write_folder", slow)

    def loss(w, batch, context):
        return jnp.mean((w - batch) ** 2)

    data = et.ArrayData(jnp.linspace(0, 1, 12), 4)
    learner = et.Learner(et.Gradient(loss), optax.sgd(0.1))
    phase = et.Phase("fit", learner, data, et.Steps(30), et.Validation(data, every=et.Steps(10)))
    saving = et.ModelCheckpoint(et.Steps(1), monitor="valid/loss", top_k=3, keep_last=keep_last)
    run = tmp_path / "run"
    trainer = et.Trainer(jnp.zeros(()), phase, callbacks=[saving], run=run, progress=False)
    result = trainer.fit()
    told = (run / "checkpoints.log").read_text().splitlines()
    assert {line.split()[0] for line in told} == {f"{step:09d}-fit" for step in range(1, 31)}
    left_out = {line.split()[0] for line in told if "left out" in line}
    assert bool(left_out) == (keep_last == 2)
    best = {"000000010-fit", "000000020-fit", "000000030-fit"}
    assert not best & left_out
    assert best <= {*CheckpointStore(run / "checkpoints").names()}
    assert trainer.load() == result.model
    assert trainer.resume().history == result.history
