"""A training with everything in it that can be lost, small enough to be killed many times."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

import etude as et

X = np.random.default_rng(0).normal(size=(44, 3)).astype(np.float32)
Y = np.tanh(X @ np.array([1.0, -2.0, 0.5], np.float32))


class HostData:
    """The same arrays, read on the host batch by batch."""

    seeks = True

    def __init__(self, arrays: Any, batch_size: int):
        self.arrays, self.batch_size = arrays, batch_size
        self.length = len(arrays[0])
        self.steps_per_epoch = -(-self.length // batch_size)

    def batches(self, entropy: tuple[int, ...], epoch: int, position: int) -> Iterator[Any]:
        order = np.random.default_rng((*entropy, epoch)).permutation(self.length)
        for start in range(position * self.batch_size, self.length, self.batch_size):
            chosen = order[start : start + self.batch_size]
            yield tuple(x[chosen] for x in self.arrays)

    def sequential(self) -> Iterator[tuple[Any, int]]:
        for start in range(0, self.length, self.batch_size):
            batch = tuple(x[start : start + self.batch_size] for x in self.arrays)
            yield tuple(map(jnp.asarray, batch)), len(batch[0])


class Net(eqx.Module):
    """A body and a head."""

    body: jax.Array
    head: jax.Array

    def __init__(self) -> None:
        a, b = jax.random.split(jax.random.key(5))
        self.body = jax.random.normal(a, (3, 4)) * 0.5
        self.head = jax.random.normal(b, (4,)) * 0.5


def loss(model, batch, context):
    """Squared error, under dropout in training."""
    x, y = batch
    hidden = jnp.tanh(x @ model.body)
    keep = jax.random.bernoulli(context.key, 0.8, hidden.shape)
    return jnp.mean((jnp.where(keep, hidden, 0.0) @ model.head - y) ** 2)


def measure(model, batch, context):
    """Squared error without dropout."""
    x, y = batch
    return {"loss": jnp.mean((jnp.tanh(x @ model.body) @ model.head - y) ** 2)}


class Slow(et.Callback):
    """Takes its time wherever it can, so that kills find every moment."""

    def __init__(self, seconds: float):
        self.seconds = seconds

    def _wait(self, *_: Any) -> None:
        time.sleep(self.seconds)

    on_steps_end = on_validation_end = on_checkpoint = on_phase_begin = on_phase_end = _wait


def trainer(
    folder: Path,
    kind: str = "loop",
    callbacks: tuple[et.Callback, ...] = (),
    keep_last: int = 2,
    **options: Any,
) -> et.Trainer:
    """Three phases with two learners, an average, noise, patience, the best, and a rescue.

    `kind` is an executor, "loop" or "dispatch", or "hosted" data.
    """
    source = HostData if kind == "hosted" else et.ArrayData

    def validation(steps: int, ema: bool = False) -> et.Validation:
        return et.Validation(source((X, Y), 16), measure, every=et.Steps(steps), ema=ema)

    def learner(optimizer: Any, **fields: Any) -> et.Learner:
        return et.Learner(et.Gradient(loss), optimizer, **fields)

    body = learner(optax.adam(0.03), where=lambda m: m.body, name="body", ema=0.8)
    head = learner(
        optax.sgd(0.05, momentum=0.9), where=lambda m: m.head, name="head", repeat=2, clip_norm=5.0
    )
    mend = et.Phase(
        "mend", learner(optax.adam(0.01)), source((X, Y), 11), et.Steps(7), validation(4)
    )
    phases = [
        et.Phase(
            "first",
            learner(optax.adam(0.1), where=lambda m: m.body),
            source((X, Y), 8),
            et.Epochs(8),
            validation(5),
            keep=et.Best("valid/loss"),
        ),
        et.Phase(
            "both",
            [body, head],
            source((X, Y), 8),
            et.Steps(30),
            validation(6, ema=True),
            rescue=et.Rescue(mend, et.Fallen("valid/loss", 0.0)),
            keep="ema",
        ),
        et.Phase("last", [head, body], source((X, Y), 8), et.Steps(15), validation(8)),
    ]
    listed = [
        et.EarlyStopping("valid/loss", patience=2, phase="first"),
        et.ModelCheckpoint(et.Steps(3), monitor="valid/loss", top_k=2, keep_last=keep_last),
        *callbacks,
    ]
    executor = None if kind == "hosted" else kind
    return et.Trainer(
        Net(), phases, callbacks=listed, run=folder, seed=3, progress=False, executor=executor,
        **options,
    )  # fmt: skip


def train(trainer: et.Trainer) -> et.Result:
    """From the beginning, or on from where the run is."""
    assert trainer.folder is not None
    if (trainer.folder / "environment.json").exists():
        return trainer.resume()
    return trainer.fit()


def weights_of(model: Any) -> bytes:
    """All bits of a model."""
    return b"".join(np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(model))


def weights(result: et.Result) -> bytes:
    """All bits of the model that a training left."""
    return weights_of(result.model)


def history(folder: Path) -> bytes:
    """All bytes of the history."""
    return b"".join((folder / f"history.{kind}").read_bytes() for kind in ("jsonl", "bin"))


class Telling(et.Callback):
    """Tells another process that training begins."""

    def __init__(self, connection: Any):
        self.connection = connection

    def on_train_begin(self, event: et.callbacks.Event) -> None:
        self.connection.send("begins")


class At(et.Callback):
    """Does something when a hook is called for the n-th time in this process."""

    def __init__(self, hook: str, count: int, action: Any):
        self.left = count
        self.action = action

        def called(event: Any, *arguments: Any) -> Any:
            self.left -= 1
            return action() if self.left == 0 else None

        setattr(self, hook, called)

    # Declared, so that epochs are told.
    def on_epoch_end(self, event: et.callbacks.Event) -> None: ...


def send(number: int) -> None:
    """A signal to this process."""
    os.kill(os.getpid(), number)
    # Python runs the handler soon after.
    time.sleep(0.01)


def child(folder: str, kind: str, connection: Any, seconds: float) -> None:
    """What runs in a process that is killed."""
    # A forked process may have inherited Ctrl-C as ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    callbacks = (Telling(connection), Slow(seconds))
    result = train(trainer(Path(folder), kind, callbacks))
    connection.send(weights(result))
