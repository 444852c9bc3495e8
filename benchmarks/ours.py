"""Étude on a problem: the one place that knows its interface.

`Ours` drives the compiled program of a phase, epoch by epoch as the trainer does.
"""

import time

import jax.numpy as jnp
import optax

import etude as et
from benchmarks import by_hand
from benchmarks.problems import Problem
from etude.engine.program import Program
from etude.engine.randomness import order_entropy


def phase(problem: Problem) -> et.Phase:
    """The phase that trains the problem."""

    def loss(layers, batch, context):
        return by_hand.loss(layers, *batch)

    learner = et.Learner(et.Gradient(loss), optax.adam(problem.learning_rate))
    data = et.ArrayData((jnp.asarray(problem.x), jnp.asarray(problem.y)), problem.batch)
    return et.Phase("fit", learner, data, et.Epochs(1_000_000))


class Ours:
    """Chunks of up to 4096 steps, each read when it ends."""

    def __init__(self, problem: Problem):
        model = by_hand.weights(problem)
        self.plan = et.Plan.of(phase(problem), model)
        self.state = et.init_state(self.plan, model)
        self.program = Program(self.plan, self.state, order_entropy(0, "fit", 0))
        self.steps, self.step = problem.steps, 0

    def train(self, epochs: int) -> tuple[float, float]:
        begin, until = time.perf_counter(), self.step + epochs * self.steps
        rows = jnp.zeros((0, 1))
        while self.step < until:
            self.state, chunk = self.program.advance(self.state, self.step, until - self.step)
            rows, self.step, _ = chunk.read()
        seconds = time.perf_counter() - begin
        return seconds, float(rows[-self.steps :, 0].mean())
