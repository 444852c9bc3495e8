"""Keras 3 on JAX: `fit` with several numbers of steps per execution."""

import os
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from benchmarks.problems import Problem


def maker(steps_per_execution: int) -> Callable[[Problem], "Fit"]:
    """Makes peers with that many steps per execution."""
    return partial(Fit, steps_per_execution)


class Fit:
    """`model.fit`, silent. Only the epochs count, not what `fit` does around them."""

    def __init__(self, steps_per_execution: int, problem: Problem):
        os.environ["KERAS_BACKEND"] = "jax"
        import keras

        keras.utils.set_random_seed(0)
        last = len(problem.layers) - 1
        dense: list[Any] = [
            keras.layers.Dense(len(b), activation="relu" if number < last else None)
            for number, (_, b) in enumerate(problem.layers)
        ]
        self.model = keras.Sequential([keras.Input(problem.x.shape[1:]), *dense])
        for layer, (w, b) in zip(dense, problem.layers, strict=True):
            layer.set_weights([w.T, b])
        self.model.compile(
            optimizer=keras.optimizers.Adam(problem.learning_rate, epsilon=1e-8),
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            steps_per_execution=steps_per_execution,
        )
        self.problem = problem

    def train(self, epochs: int) -> tuple[float, float]:
        clock = _clock()
        record = self.model.fit(
            self.problem.x,
            self.problem.y,
            batch_size=self.problem.batch,
            epochs=epochs,
            shuffle=True,
            verbose=0,
            callbacks=[clock],
        )
        return clock.seconds, record.history["loss"][-1]


def _clock() -> Any:
    import keras

    class Clock(keras.callbacks.Callback):
        begin = seconds = 0.0

        def on_epoch_begin(self, epoch, logs=None):
            self.begin = self.begin or time.perf_counter()

        def on_epoch_end(self, epoch, logs=None):
            self.seconds = time.perf_counter() - self.begin

    return Clock()
