"""How cost grows: with rows, validations, phases, leaves and layers; ours against by hand.

`python -m benchmarks growth` prints a table for each law, with the exponent by which ours and the
loop by hand grow, and ends in a line for each law that is worse than it should be.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import etude as et
from benchmarks.attractor import Ours, Scan
from benchmarks.rounds import ratio
from benchmarks.tables import section, table
from etude.systems.attractor import PrototypeData

WIDTH, BATCH = 16, 32


@dataclass(frozen=True)
class Law:
    """How the seconds that something takes grow with a size.

    `ours` and `by_hand` take a size and return seconds. The ratio may be at most `bound`, and
    ours may grow by an exponent that is at most .15 larger.
    """

    title: str
    size: str
    sizes: Sequence[int]
    ours: Callable[[int], float]
    by_hand: Callable[[int], float]
    bound: float
    notes: Sequence[str] = ()


def report(quick: bool) -> str:
    """The tables of all laws, and which are not kept."""
    rounds = 1 if quick else 3
    parts, broken = [], []
    for law in laws(quick):
        text, worse = measured(law, rounds)
        parts.append(text)
        broken += worse
    verdict = broken or ["Every law is kept."]
    return "\n".join([*parts, section("Worse than it should be", "\n".join(verdict))])


def laws(quick: bool) -> list[Law]:
    """What is measured."""
    return [
        Law(
            "300 steps on so many rows",
            "rows",
            (10_000, 100_000) if quick else (10_000, 100_000, 1_000_000, 10_000_000),
            lambda rows: phase_of(small(300, rows)),
            lambda rows: scanned(300, rows),
            1.2,
            ["By hand: one permutation and one scan. Compiled before; data on the device."],
        ),
        Law(
            "2,000 steps with so many validations",
            "validations",
            (2, 20) if quick else (2, 20, 200),
            lambda count: phase_of(small(2000, 9600, every=2000 // count)),
            lambda count: validated(2000, 9600, 2000 // count),
            1.2,
            ["Three batches of 320 each. By hand: a scan up to each, jitted losses, reads."],
        ),
        Law(
            "So many steps, each of them read",
            "steps",
            (200, 800) if quick else (500, 2000),
            lambda steps: phase_of(small(steps, 9600, callbacks=[Reading()])),
            lambda steps: read_each(steps, 9600),
            1.2,
            ["`on_batch_end` against a jitted step whose loss is read."],
        ),
        Law(
            "So many phases of ten steps that share their parts",
            "phases",
            (1, 10) if quick else (1, 10, 100),
            lambda count: first_and_all(count, 10),
            lambda count: first_and_all(1, 10 * count),
            1.2,
            ["By hand is here one phase of as many steps; both compile, without a run folder."],
        ),
        Law(
            "Time to the first step of so many layers",
            "layers",
            (10, 50) if quick else (10, 100, 200, 1000),
            lambda layers: first_step(Layers(layers)),
            lambda layers: first_step_by_hand(Layers(layers)),
            1.3,
            ["Each layer is a leaf of its own. Both trace, compile and make one step."],
        ),
        Law(
            "2,000 steps of so many layers",
            "layers",
            (10, 30) if quick else (10, 100, 1000),
            lambda layers: phase_of(training(Layers(layers), 2000)),
            lambda layers: scan_of(Layers(layers), 2000),
            1.05,
            ["Compiled before."],
        ),
        Law(
            "An epoch of an attractor network of so many units",
            "units",
            (64, 128) if quick else (256, 512, 1024, 2048),
            lambda units: epoch_of(Ours, units),
            lambda units: epoch_of(Scan, units),
            1.1,
            ["By hand: one scan for this network, whose couplings are a square of the units."],
        ),
    ]


def measured(law: Law, rounds: int) -> tuple[str, list[str]]:
    """The table of a law, and a line if it is broken."""
    rows, worse, seconds = [], [], {"ours": [], "by hand": []}
    for size in law.sizes:
        ours, hand = [], []
        for _ in range(rounds):
            ours.append(law.ours(size))
            hand.append(law.by_hand(size))
        found = ratio(ours, hand)
        seconds["ours"].append(median(ours))
        seconds["by hand"].append(median(hand))
        rows.append([f"{size:,}", _shown(median(ours)), _shown(median(hand)), str(found)])
        if found.median > law.bound:
            worse.append(f"{found.median:.2f} at {size:,} {law.size}, at most {law.bound}")
    growth = [exponent(law.sizes, seconds[who]) for who in ("ours", "by hand")]
    rows.append(["exponent", *[f"{one:.2f}" for one in growth], f"{growth[0] - growth[1]:+.2f}"])
    if growth[0] > growth[1] + 0.15:
        worse.append(f"exponent {growth[0]:.2f} against {growth[1]:.2f}")
    notes = [f"Median of {rounds} interleaved rounds (quartiles of the ratio).", *law.notes]
    body = table([law.size, "ours", "by hand", "ratio"], rows)
    return section(law.title, body, notes), [f"- {law.title}: {', '.join(worse)}."] if worse else []


def exponent(sizes: Sequence[int], seconds: Sequence[float]) -> float:
    """The slope of the logarithm of the seconds over that of the size.

    >>> round(exponent([1, 10, 100], [2.0, 200.0, 20_000.0]), 6)
    2.0
    """
    return float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])


def _shown(seconds: float) -> str:
    return f"{1e3 * seconds:.3g} ms"


# What is trained: a regression by a model of so many leaves, layers in a row.


@dataclass(frozen=True)
class Layers:
    """A network of so many layers."""

    count: int

    def weights(self) -> list[jax.Array]:
        """The first weights."""
        return [jnp.eye(WIDTH) * 0.9 for _ in range(self.count)]

    def loss(self, weights: list[jax.Array], batch: jax.Array) -> jax.Array:
        """The mean square of the outputs, less 1."""
        for w in weights:
            batch = jnp.tanh(batch @ w)
        return jnp.mean((batch - 1.0) ** 2)


SMALL = Layers(2)
ADAM = optax.adam(1e-3)


def rows_of(count: int) -> jax.Array:
    """So many samples."""
    return jax.random.normal(jax.random.key(0), (count, WIDTH))


class Reading(et.Callback):
    """Reads every step."""

    loss = 0.0

    def on_batch_end(self, event: Any, metrics: Any) -> None:
        """Reads one."""
        self.loss = metrics["loss"]


class Clock(et.Callback):
    """The seconds between the first beginning and the last end of a phase."""

    begun = ended = 0.0

    def on_phase_begin(self, event: Any) -> None:
        """Compiled, and about to begin."""
        self.begun = self.begun or time.perf_counter()

    def on_phase_end(self, event: Any, reason: Any) -> None:
        """Done."""
        self.ended = time.perf_counter()


# Learners and data are kept, so that what is measured warm has its programs.
_LEARNERS: dict[Layers, et.Learner] = {}
_DATA: dict[int, et.ArrayData] = {}


def learner(model: Layers) -> et.Learner:
    """The learner of a model."""
    if model not in _LEARNERS:
        rule = et.Gradient(lambda weights, batch, context: model.loss(weights, batch))
        _LEARNERS[model] = et.Learner(rule, ADAM)
    return _LEARNERS[model]


def data(rows: int) -> et.ArrayData:
    """Data of so many rows."""
    if rows not in _DATA:
        _DATA.clear()
        _DATA[rows] = et.ArrayData(rows_of(rows), BATCH)
    return _DATA[rows]


Making = Callable[[Sequence[et.Callback]], et.Trainer]


def training(
    model: Layers, steps: int, rows: int = 9600, every: int = 0, callbacks: Sequence[Any] = ()
) -> Making:
    """A training of one phase, without a run folder."""

    def make(more: Sequence[et.Callback]) -> et.Trainer:
        def measure(weights: Any, batch: Any, context: Any) -> Any:
            return {"loss": model.loss(weights, batch)}

        valid = et.ArrayData(rows_of(960), 320)
        validation = et.Validation(valid, measure, every=et.Steps(every)) if every else None
        phase = et.Phase("fit", learner(model), data(rows), et.Steps(steps), validation)
        callbacks_ = [*callbacks, *more]
        return et.Trainer(model.weights(), phase, progress=False, callbacks=callbacks_)

    return make


small = partial(training, SMALL)


def phase_of(make: Making) -> float:
    """The seconds of the phase itself, without tracing and compilation."""
    import warnings

    clock = Clock()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of on_batch_end, which is slow and says so
        make([]).fit()  # compiles, the first time
        make([clock]).fit()
    return clock.ended - clock.begun


def first_and_all(phases: int, steps: int) -> float:
    """The seconds of a training of several phases, compilation included."""
    model = Layers(2)
    rule = et.Gradient(lambda weights, batch, context: model.loss(weights, batch))
    own, source = et.Learner(rule, ADAM), data(9600)
    listed = [et.Phase(f"p{i}", own, source, et.Steps(steps)) for i in range(phases)]
    begin = time.perf_counter()
    et.Trainer(model.weights(), listed, progress=False).fit()
    return time.perf_counter() - begin


def first_step(model: Layers) -> float:
    """The seconds from a new learner to the loss of the first step."""
    rule = et.Gradient(lambda weights, batch, context: model.loss(weights, batch))
    phase = et.Phase("fit", et.Learner(rule, ADAM), data(9600), et.Steps(1))
    weights = model.weights()
    begin = time.perf_counter()
    et.Trainer(weights, phase, progress=False).fit()
    return time.perf_counter() - begin


_NETWORKS: dict[Any, Any] = {}


def epoch_of(kind: type[Ours] | type[Scan], units: int) -> float:
    """The seconds of an epoch of the attractor tutorial, with another number of hidden units."""
    if (kind, units) not in _NETWORKS:
        source = PrototypeData(jax.random.split(jax.random.key(59))[1])
        _NETWORKS[kind, units] = kind(source, units)
        _NETWORKS[kind, units].epoch()
    begin = time.perf_counter()
    _NETWORKS[kind, units].epoch()
    return time.perf_counter() - begin


# The same by hand.


def step_of(model: Layers, x: jax.Array, carry: Any, index: jax.Array) -> Any:
    """One step on the rows of an index."""
    weights, state = carry
    value, grads = jax.value_and_grad(model.loss)(weights, x[index])
    updates, state = ADAM.update(grads, state, weights)
    return (optax.apply_updates(weights, updates), state), value


def _scan(model: Layers, steps: int, carry: Any, x: jax.Array, key: jax.Array) -> Any:
    order = jax.random.permutation(key, len(x))
    rows = len(x) // BATCH * BATCH
    batches = order[:rows].reshape(-1, BATCH)
    chosen = batches[jnp.arange(steps) % len(batches)]
    return jax.lax.scan(lambda carry, index: step_of(model, x, carry, index), carry, chosen)


_SCAN = jax.jit(_scan, static_argnums=(0, 1), donate_argnums=2)


def start(model: Layers) -> Any:
    """Weights and the state of Adam."""
    weights = model.weights()
    return weights, ADAM.init(weights)


def scan_of(model: Layers, steps: int, rows: int = 9600) -> float:
    """The seconds of one compiled scan."""
    x, key = data(rows).arrays, jax.random.key(1)
    jax.block_until_ready(_SCAN(model, steps, start(model), x, key))
    carry = jax.block_until_ready(start(model))
    begin = time.perf_counter()
    _, losses = _SCAN(model, steps, carry, x, key)
    jax.device_get(losses)
    return time.perf_counter() - begin


def scanned(steps: int, rows: int) -> float:
    """The seconds of one compiled scan on so many rows."""
    return scan_of(SMALL, steps, rows)


def validated(steps: int, rows: int, every: int) -> float:
    """The seconds of scans up to a validation, a jitted loss of each batch, and reads."""
    x, valid, key = data(rows).arrays, rows_of(960), jax.random.key(1)

    def one(carry: Any) -> Any:
        carry, losses = _SCAN(SMALL, every, carry, x, key)
        found = [_PART(SMALL, carry[0], valid, start) for start in (0, 320, 640)]
        return carry, jax.device_get((losses, found))

    carry = one(start(SMALL))[0]
    begin = time.perf_counter()
    for _ in range(steps // every):
        carry, _ = one(carry)
    return time.perf_counter() - begin


_PART = jax.jit(
    lambda model, weights, x, start: model.loss(
        weights, jax.lax.dynamic_slice_in_dim(x, start, 320)
    ),
    static_argnums=0,
)


def read_each(steps: int, rows: int) -> float:
    """The seconds of jitted steps, each of which is read."""
    x = data(rows).arrays
    order = np.random.default_rng(0).permutation(len(x))
    batches = order[: len(x) // BATCH * BATCH].reshape(-1, BATCH)
    carry, value = _STEP(SMALL, x, start(SMALL), batches[0])
    begin = time.perf_counter()
    for number in range(steps):
        carry, value = _STEP(SMALL, x, carry, batches[number % len(batches)])
        float(value)
    return time.perf_counter() - begin


_STEP = jax.jit(step_of, static_argnums=0, donate_argnums=2)


def first_step_by_hand(model: Layers) -> float:
    """The seconds from nothing to the loss of the first step of a scan."""
    x, weights = data(9600).arrays, model.weights()
    own = jax.jit(partial(_scan, model, 1), donate_argnums=0)
    begin = time.perf_counter()
    _, losses = own((weights, ADAM.init(weights)), x, jax.random.key(1))
    jax.device_get(losses)
    return time.perf_counter() - begin
