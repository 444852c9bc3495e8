"""The Born machine against tensorkrowch: a step of a classifier, log Z with gradient, samples.

`python -m benchmarks.born` prints the table. Each side runs in a process of its own with one
thread; times are of the processor, so that other programs on the machine count little.
"""

import importlib.util
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial

from benchmarks.tables import section, table

SITES, CLASSES, BATCH = 784, 10, 64
ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
}


def report(quick: bool) -> str:
    """The table; without tensorkrowch its ratios are left out."""
    rounds = 1 if quick else 5
    sides = ["ours", "theirs"] if importlib.util.find_spec("tensorkrowch") else ["ours"]
    found = [{side: _measure(side, quick) for side in sides} for _ in range(rounds)]

    def best(side: str, name: str) -> float:
        return min(times[side][name] for times in found)

    rows = []
    goals = {"step, D=10": 8, "step, D=30": 12, "log Z with gradient, D=30": 100}
    for name, goal in goals.items() if "theirs" in sides else ():
        ratio = best("theirs", name) / best("ours", name)
        times = f"{1e3 * best('theirs', name):.1f} / {1e3 * best('ours', name):.1f} ms"
        rows.append([f"tensorkrowch / ours: {name}", f"{ratio:.1f} ({times})", f">= {goal}"])
    for name, goal in {"1,000 samples, D=30": "< 2 s", "compile a step, D=30": "< 5 s"}.items():
        rows.append([name, f"{best('ours', name):.2f} s", goal])
    notes = [
        f"{SITES} sites, d=2, {CLASSES} classes, batch {BATCH}, float32, Adam; one thread, seconds "
        "of processor time, the best of all rounds on both sides.",
        "tensorkrowch at the best of: default, without auto_stack, with auto_unbind, inline_mats.",
    ]
    return section("Born machines", table(["what", "measured", "goal"], rows), notes)


def _measure(side: str, quick: bool) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.born", side, "2" if quick else "15"]
    done = subprocess.run(
        command, env=os.environ | ONE_THREAD, check=True, capture_output=True, text=True
    )
    return json.loads(done.stdout.splitlines()[-1])


def best_of(run: Callable[[], object], repeats: int) -> float:
    """The least processor time of a run, in seconds, after one run to warm up."""
    run()
    seconds = []
    for _ in range(repeats):
        begin = time.process_time()
        run()
        seconds.append(time.process_time() - begin)
    return min(seconds)


def ours(repeats: int) -> dict[str, float]:
    """Seconds of our runs."""
    import equinox as eqx
    import jax
    import jax.numpy as jnp
    import optax

    from etude.systems.born_machine import BornMachine, Embedding, sample

    found = {}
    x = jax.random.uniform(jax.random.key(1), (BATCH, SITES))
    y = jax.random.randint(jax.random.key(2), (BATCH,), 0, CLASSES)
    optimizer = optax.adam(1e-3)

    def loss(machine):
        return -jnp.take_along_axis(machine.class_log_probabilities(x), y[:, None], 1).mean()

    def ready(function, *arguments):
        return jax.block_until_ready(function(*arguments))

    @eqx.filter_jit(donate="all")
    def step(machine, memory):
        gradient = eqx.filter_grad(loss)(machine)
        updates, memory = optimizer.update(gradient, memory)
        return eqx.apply_updates(machine, updates), memory

    for D in (10, 30):
        machine = BornMachine.create(jax.random.key(0), SITES, CLASSES, Embedding("fourier", 2), D)
        with_gradient = eqx.filter_jit(eqx.filter_value_and_grad(BornMachine.log_partition))
        found[f"log Z with gradient, D={D}"] = best_of(
            partial(ready, with_gradient, machine), repeats
        )
        drawn = BornMachine.create(jax.random.key(0), SITES, CLASSES, Embedding("onehot", 2), D)
        found[f"1,000 samples, D={D}"] = best_of(
            partial(ready, sample, drawn, jax.random.key(0), 3, 1000), 3
        )
        state = [machine, optimizer.init(eqx.filter(machine, eqx.is_inexact_array))]

        def advance(state=state):
            state[:] = jax.block_until_ready(step(*state))

        begin = time.process_time()
        advance()
        found[f"compile a step, D={D}"] = time.process_time() - begin
        found[f"step, D={D}"] = best_of(advance, repeats)
    return found


def theirs(repeats: int) -> dict[str, float]:
    """Seconds of tensorkrowch's runs, at its fastest settings for each."""
    import tensorkrowch as tk
    import torch

    torch.set_num_threads(1)
    found = {}
    x = torch.rand(BATCH, SITES)
    phi = torch.stack([torch.ones_like(x), 2**0.5 * torch.cos(2 * torch.pi * x)], -1)
    y = torch.randint(0, CLASSES, (BATCH,))
    for D in (10, 30):
        seconds = []
        for stack, unbind, inline in [
            (True, False, False),
            (False, False, False),
            (True, True, False),
            (True, False, True),
        ]:
            model = tk.models.MPSLayer(
                n_features=SITES + 1,
                in_dim=2,
                out_dim=CLASSES,
                bond_dim=D,
                out_position=SITES // 2,
                init_method="randn_eye",
                std=1e-9,
            )
            model.auto_stack, model.auto_unbind = stack, unbind
            model.trace(torch.zeros(1, SITES, 2), inline_mats=inline)
            optimizer = torch.optim.Adam(model.parameters(), 1e-3)

            def advance(model=model, optimizer=optimizer, inline=inline):
                psi = model(phi, inline_mats=inline)
                p = psi**2 / (psi**2).sum(1, keepdim=True)
                optimizer.zero_grad()
                torch.nn.functional.nll_loss(torch.log(p.clamp_min(1e-8)), y).backward()
                optimizer.step()

            seconds.append(best_of(advance, max(repeats // 3, 2)))
        found[f"step, D={D}"] = min(seconds)
    chain = tk.models.MPS(
        n_features=SITES, phys_dim=2, bond_dim=30, init_method="randn_eye", std=1e-9
    )

    def norm():
        chain.reset()
        chain.zero_grad()
        chain.norm(log_scale=True).backward()

    found["log Z with gradient, D=30"] = best_of(norm, 1)
    return found


def main() -> None:
    """Prints the table, or one side's times as JSON."""
    if len(sys.argv) > 1:
        side = {"ours": ours, "theirs": theirs}[sys.argv[1]]
        print(json.dumps(side(int(sys.argv[2]))))
    else:
        print(report(quick=False))


if __name__ == "__main__":
    main()
