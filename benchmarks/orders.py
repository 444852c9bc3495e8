"""The order of an epoch: a computed one beside a drawn one, and a training on a million rows."""

import time
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax

import etude as et
from benchmarks import by_hand, ours, problems
from benchmarks.tables import section, table
from etude.data.shuffle import Computed, order_of

STEPS = 300


def report(quick: bool) -> str:
    """The tables of orders and of steps."""
    sizes = (10_000,) if quick else (10_000, 1_000_000, 1_000_003, 1_000_000_000)
    body = [
        [f"{size:,}", *[f"{_computed(size, batch):.1f}" for batch in (32, 64)], _drawn(size)]
        for size in sizes
    ]
    head = ["ns a sample", "computed, batches of 32", "of 64", "jax.random.permutation"]
    notes = ["Batch by batch in a compiled loop; the best of 5."]
    costs = section("The order of an epoch", table(head, body), notes)
    return "\n".join([costs, _few_steps(10_000 if quick else 1_000_000)])


def _computed(size: int, batch: int) -> float:
    order = Computed(size)
    batches = min(size // batch, 10_000)

    @jax.jit
    def run(drawn):
        def take(index, total):
            places = index.astype(jnp.uint32) * np.uint32(batch)
            return total + order.at(drawn, places + jnp.arange(batch, dtype=jnp.uint32))

        return jax.lax.fori_loop(0, batches, take, jnp.zeros(batch, jnp.uint32))

    return 1e9 * _best(run, order.draw(jax.random.key(0)[None])) / (batches * batch)


def _drawn(size: int) -> str:
    if size > 10_000_000:
        return "-"
    run = jax.jit(order_of("exact", size).draw)
    return f"{1e9 * _best(run, jax.random.key(0)[None]) / size:.0f}"


def _few_steps(samples: int) -> str:
    """The first steps of an epoch: a drawn order is paid for as a whole."""
    problem = problems.b(100)
    data = jnp.ones((samples, 2)), jnp.zeros(samples, jnp.int32)
    phase = ours.phase(problem, 1)
    times = {}
    for name, shuffle in (("étude", True), ('étude, `shuffle="exact"`', "exact")):
        source = et.ArrayData(data, problem.batch, shuffle=shuffle)
        steps = et.Phase("fit", phase.learners, source, et.Steps(STEPS))
        times[name] = _best(lambda steps=steps: _fitted(problem, steps))
    adam = optax.adam(problem.learning_rate)
    layers = by_hand.weights(problem)
    carry, key = (layers, adam.init(layers)), jax.random.key(0)
    scan = jax.jit(partial(by_hand.epoch, adam, problem.batch, steps=STEPS))
    times["by hand, one scan"] = _best(scan, carry, *data, key)
    body = [[name, f"{1e3 * seconds:.0f}"] for name, seconds in times.items()]
    title = f"{STEPS} steps of (b) on {samples:,} samples"
    notes = ["`Trainer.fit` without a run folder, its program compiled before; the best of 5."]
    return section(title, table(["peer", "ms"], body), notes)


def _fitted(problem: problems.Problem, phase: et.Phase):
    return et.Trainer(by_hand.weights(problem), phase, progress=False).fit().model


def _best(run, *arguments) -> float:
    jax.block_until_ready(run(*arguments))
    seconds = []
    for _ in range(5):
        begin = time.perf_counter()
        jax.block_until_ready(run(*arguments))
        seconds.append(time.perf_counter() - begin)
    return min(seconds)
