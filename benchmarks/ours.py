"""Étude on a problem: the one place that knows its interface.

`Ours` is the trainer with everything on that it ships with; `Engine` is the compiled program
beneath it, which shows what the trainer costs.
"""

import tempfile
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh

import etude as et
from benchmarks import by_hand
from benchmarks.problems import Problem
from etude.callbacks.base import Event, StepMetrics
from etude.engine.layout import Layout
from etude.engine.program import Program


def phase(problem: Problem, epochs: int) -> et.Phase:
    """The phase that trains the problem."""

    def loss(layers, batch, context):
        return by_hand.loss(layers, *batch)

    learner = et.Learner(et.Gradient(loss), optax.adam(problem.learning_rate))
    data = et.ArrayData((jnp.asarray(problem.x), jnp.asarray(problem.y)), problem.batch)
    return et.Phase("fit", learner, data, et.Epochs(epochs))


class Clock(et.Callback):
    """When the chunks of a training arrived on the host, and the losses of its steps."""

    def __init__(self, now: Callable[[], float] = time.perf_counter):
        self.now = now
        self.begin = self.end = 0.0
        self.first = self.last = 0
        self.losses: list[np.ndarray] = []

    def on_steps_end(self, event: Event, metrics: StepMetrics) -> None:
        """Notes a chunk."""
        self.end, self.last = self.now(), event.step
        if not self.losses:
            self.begin, self.first = self.end, self.last
        self.losses.append(np.asarray(metrics.rows)[:, 0])


class Ours:
    """`Trainer.fit` with progress, history and checkpoints, in a new folder for every call.

    Every call compiles and begins anew from the weights that the one before left; what counts is
    the time between the first chunk and the last.
    """

    def __init__(self, problem: Problem, mesh: Mesh | None = None):
        self.problem, self.model, self.mesh = problem, by_hand.weights(problem), mesh
        self.seeds = count()

    def train(self, epochs: int) -> tuple[float, float]:
        steps, clock = self.problem.steps, Clock()
        with tempfile.TemporaryDirectory() as folder:
            result = et.Trainer(
                self.model,
                phase(self.problem, epochs),
                callbacks=[clock],
                run=Path(folder) / "run",
                seed=next(self.seeds),
                mesh=self.mesh,
            ).fit()
        self.model = result.model
        seconds = (clock.end - clock.begin) / (clock.last - clock.first)
        return seconds * epochs * steps, float(np.concatenate(clock.losses)[-steps:].mean())


class Engine:
    """Chunks of up to 4096 steps, each read when it ends."""

    def __init__(self, problem: Problem, mesh: Mesh | None = None):
        model = by_hand.weights(problem)
        layout = None if mesh is None else Layout.of(mesh, None, model)
        plan = et.Plan.of(phase(problem, 1_000_000), model, layout=layout)
        self.state = et.init_state(plan, model)
        self.program = Program(plan, self.state)
        self.steps, self.step = problem.steps, 0

    def train(self, epochs: int) -> tuple[float, float]:
        begin, until = time.perf_counter(), self.step + epochs * self.steps
        losses = np.zeros(0)
        while self.step < until:
            self.state, chunk = self.program.advance(self.state, self.step, until - self.step)
            rows, self.step, _ = chunk.read()
            losses = rows[-self.steps :, 0]
        return time.perf_counter() - begin, float(losses.mean())
