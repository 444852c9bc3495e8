"""Augmentation inside the compiled step against the same in NumPy, read by worker threads."""

import time

import jax
import jax.numpy as jnp
import numpy as np
import optax

import etude as et
from benchmarks import by_hand, problems
from benchmarks.tables import section, table
from etude.augment import amplitude_scaling, compose, gaussian_noise, on_inputs, time_shift

LENGTH, BATCH, SAMPLES = 256, 64, 6400
NOISE, SHIFT, SCALE = 0.05, 32, (0.8, 1.2)

inside = on_inputs(
    compose(
        lambda x, key: time_shift(x, key, max_shift=SHIFT),
        lambda x, key: amplitude_scaling(x, key, scale_range=SCALE),
        lambda x, key: gaussian_noise(x, key, std=NOISE),
    )
)


class InNumPy:
    """The same draws, sample by sample, as a data set of a DataLoader would make them."""

    def __init__(self, x: np.ndarray, y: np.ndarray):
        self.x, self.y = x, y
        self.random = np.random.default_rng(0)

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        random = self.random
        signal = np.roll(self.x[index], random.integers(-SHIFT, SHIFT + 1))
        signal = signal * random.uniform(*SCALE) + NOISE * random.standard_normal(LENGTH)
        return signal.astype(np.float32), self.y[index]


class Clock(et.Callback):
    """Steps per second, from the first chunk on."""

    def __init__(self) -> None:
        self.at: list[tuple[float, int]] = []

    def on_steps_end(self, event, metrics) -> None:
        """Notes a chunk."""
        self.at.append((time.perf_counter(), event.step))

    def rate(self) -> float:
        """After the first chunks, which hold the compilation."""
        (begin, first), (end, last) = self.at[1], self.at[-1]
        return (last - first) / (end - begin)


def report(quick: bool) -> str:
    """The table, by rounds in turn."""
    problem = problems.perceptron("s", (LENGTH, 64, 64, 2), BATCH, SAMPLES)
    x, y = np.asarray(problem.x), np.asarray(problem.y)
    resident = et.ArrayData((x, y), BATCH)
    ways = {
        "none": (resident, None),
        "inside the compiled step": (resident, inside),
        "NumPy, no workers": (et.AccessData(InNumPy(x, y), BATCH), None),
        "NumPy, 2 worker threads": (et.AccessData(InNumPy(x, y), BATCH, workers=2), None),
    }
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for seed in range(2 if quick else 5):
        for name, (data, augment) in ways.items():
            rates[name].append(_rate(problem, data, augment, seed, 4 if quick else 15))
    base = np.asarray(rates["none"])
    rows = [
        [name, f"{np.median(np.asarray(found) / base):.3f}", f"{np.median(found):,.0f}"]
        for name, found in rates.items()
    ]
    notes = [
        f"Shift, scale and noise of {BATCH} signals of {LENGTH} samples a step; a small "
        "perceptron. Medians over rounds in turn.",
    ]
    return section("Augmentation", table(["way", "steps/s, ratio to none", "steps/s"], rows), notes)


def _rate(problem, data, augment, seed: int, epochs: int) -> float:
    def loss(layers, batch, context):
        return by_hand.loss(layers, *batch)

    learner = et.Learner(et.Gradient(loss), optax.adam(1e-3))
    phase = et.Phase("fit", learner, data, et.Epochs(epochs), augment=augment)
    clock = Clock()
    model = jax.tree.map(jnp.asarray, by_hand.weights(problem))
    et.Trainer(model, phase, callbacks=[clock], progress=False, seed=seed).fit()
    return clock.rate()
