"""What each logger costs a step, on a training so small that it has nowhere to hide.

The perceptron 2-64-64-2, batch 32: a step takes microseconds. Each round trains once with each
logger and once without any, in turn, so that a busy machine burdens all alike; the median over
rounds of the ratio within a round is shown, of the time on the wall and of the time of all cores
(where others use the machine, the second is the steadier). "none again" shows how steady they are.
Opening and closing a logger (a server's handshake, the last write) is once per training, and
shown apart, in seconds.
"""

import os
import tempfile
import time
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

import etude as et
from benchmarks.tables import section, table
from etude.callbacks import CSVLogger, GradientMonitor, MLflowLogger, TensorBoardLogger, WandbLogger

STEPS, ROUNDS = 20_000, 5


class Clock(et.Callback):
    """The seconds from the first chunk to the last; those before and after hold the set-up."""

    def on_steps_end(self, event, metrics):
        now = np.array([time.perf_counter(), time.process_time(), event.step])
        if event.step > STEPS // 4 and self.first is None:
            self.first = now
        self.last = now

    def on_train_begin(self, event):
        self.first = None

    @property
    def per_step(self) -> tuple[float, float]:
        """Seconds a step, on the wall and of all cores, after the first quarter, when chunks have
        grown to their length."""
        wall, cores, steps = self.last - self.first
        return wall / steps, cores / steps


def loss(model, batch, context):
    """Cross-entropy and accuracy."""
    x, labels = batch
    logits = jax.vmap(model)(x)
    value = optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()
    return value, {"accuracy": jnp.mean(logits.argmax(-1) == labels)}


def train(callbacks: list[et.Callback], folder: str) -> tuple[float, float, float]:
    """One training: seconds a step, on the wall and of all cores, and seconds altogether."""
    x = jax.random.normal(jax.random.key(0), (1024, 2))
    data = et.ArrayData((x, (x[:, 0] * x[:, 1] > 0).astype(jnp.int32)), batch_size=32)
    model = eqx.nn.MLP(2, 2, 64, 2, key=jax.random.key(1))
    learner = et.Learner(et.Gradient(loss), optax.adam(1e-3))
    phase = et.Phase("fit", learner, data, et.Steps(STEPS))
    clock = Clock()
    trainer = et.Trainer(
        model, phase, callbacks=[*callbacks, clock], run=folder, overwrite=True, progress=False
    )
    began = time.perf_counter()
    trainer.fit()
    return (*clock.per_step, time.perf_counter() - began)


def report(quick: bool) -> str:
    """The table of what a logger costs."""
    rounds = 2 if quick else ROUNDS
    os.environ.setdefault("WANDB_MODE", "offline")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    kinds: dict[str, Callable[[], list[et.Callback]]] = {
        "none": list,
        "none again": list,
        "CSVLogger(every=1)": lambda: [CSVLogger(every=1)],
        "CSVLogger(every=50)": lambda: [CSVLogger(every=50)],
        "TensorBoardLogger": lambda: [TensorBoardLogger()],
        "WandbLogger (offline)": lambda: [WandbLogger()],
        "MLflowLogger (SQLite)": lambda: [MLflowLogger()],
        "GradientMonitor": lambda: [GradientMonitor(alert_low=0.0)],
    }
    found: dict[str, list[tuple[float, float, float]]] = {name: [] for name in kinds}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(rounds + 1):  # the first imports packages, and is not counted
            for name, make in kinds.items():
                timed = train(make(), f"{folder}/run")
                if number:
                    found[name].append(timed)
    alone = np.array(found["none"])
    lines = []
    for name, rows in found.items():
        step, *_ = np.median(np.array(rows), axis=0)
        wall, cores, _ = np.median(np.array(rows) / alone, axis=0)
        *_, extra = np.median(np.array(rows) - alone, axis=0)
        lines.append([name, f"{1e6 * step:.1f}", f"{wall:.3f}", f"{cores:.3f}", f"{extra:+.2f} s"])
    head = ["logger", "µs a step", "wall, ratio", "all cores, ratio", "whole training"]
    notes = ["Ratios to none of the same round, medians over rounds; the last column is once."]
    return section("Loggers", table(head, lines), notes)
