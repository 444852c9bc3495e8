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

SITES, CLASSES, BATCH, BONDS = 784, 10, 64, (10, 30)
#: of tensorkrowch: auto_stack, auto_unbind, inline_mats
SETTINGS = {
    "default": (True, False, False),
    "no stacking": (False, False, False),
    "unbind": (True, True, False),
    "inline_mats": (True, False, True),
}
ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
}


def report(quick: bool) -> str:
    """The table; without tensorkrowch its ratios are left out."""
    rounds, repeats = (1, 2) if quick else (3, 15)
    peer = importlib.util.find_spec("tensorkrowch") is not None
    ours: dict[str, list[float]] = {}
    theirs: dict[str, list[float]] = {}
    for turn in range(rounds):
        _gather(ours, _measure(repeats, "ours"))
        # The settings are compared once; the best of each D is then timed in every round.
        if peer:
            for task in _tasks() if turn == 0 else _best_tasks(theirs):
                _gather(theirs, _measure(max(repeats // 3, 2), *task))
            _gather(theirs, _measure(1, "norm"))

    rows = []
    goals = {"step, D=10": 8, "step, D=30": 12, "log Z with gradient, D=30": 100}
    for name, goal in goals.items() if peer else ():
        here = min(ours[name])
        there, setting = min((min(t), key) for key, t in theirs.items() if key.startswith(name))
        times = f"{1e3 * there:.1f} / {1e3 * here:.1f} ms"
        rows.append(
            [f"tensorkrowch / ours: {setting}", f"{there / here:.1f} ({times})", f">= {goal}"]
        )
    for name, goal in {"1,000 samples, D=30": "< 2 s", "compile a step, D=30": "< 5 s"}.items():
        rows.append([name, f"{min(ours[name]):.2f} s", goal])
    notes = [
        f"{SITES} sites, d=2, {CLASSES} classes, batch {BATCH}, float32, Adam; one thread, seconds "
        "of processor time, the best of all rounds on both sides, in turns.",
        f"tensorkrowch: the best of the settings {', '.join(SETTINGS)}, each in its own process.",
    ]
    return section("Born machines", table(["what", "measured", "goal"], rows), notes)


def _tasks() -> list[tuple[str, ...]]:
    return [("step", str(D), name) for D in BONDS for name in SETTINGS]


def _best_tasks(theirs: dict[str, list[float]]) -> list[tuple[str, ...]]:
    """The fastest setting of each bond dimension."""
    return [
        min(
            (task for task in _tasks() if task[1] == str(D)),
            key=lambda task: min(theirs[_label(int(task[1]), task[2])]),
        )
        for D in BONDS
    ]


def _label(bond: int, setting: str) -> str:
    return f"step, D={bond}, {setting}"


def _gather(into: dict[str, list[float]], found: dict[str, float]) -> None:
    for name, seconds in found.items():
        into.setdefault(name, []).append(seconds)


def _measure(repeats: int, *task: str) -> dict[str, float]:
    """Seconds by name, from a process of its own."""
    print("benchmarks.born:", *task, file=sys.stderr, flush=True)
    command = [sys.executable, "-m", "benchmarks.born", str(repeats), *task]
    done = subprocess.run(command, env=os.environ | ONE_THREAD, check=True, stdout=subprocess.PIPE)
    return json.loads(done.stdout.decode().splitlines()[-1])


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

    for D in BONDS:
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


def their_step(repeats: int, bond: str, setting: str) -> dict[str, float]:
    """Seconds of a step of tensorkrowch's classifier."""
    import tensorkrowch as tk
    import torch

    torch.set_num_threads(1)
    stack, unbind, inline = SETTINGS[setting]
    x = torch.rand(BATCH, SITES)
    phi = torch.stack([torch.ones_like(x), 2**0.5 * torch.cos(2 * torch.pi * x)], -1)
    y = torch.randint(0, CLASSES, (BATCH,))
    model = tk.models.MPSLayer(
        n_features=SITES + 1,
        in_dim=2,
        out_dim=CLASSES,
        bond_dim=int(bond),
        out_position=SITES // 2,
        init_method="randn_eye",
        std=1e-9,
    )
    model.auto_stack, model.auto_unbind = stack, unbind
    model.trace(torch.zeros(1, SITES, 2), inline_mats=inline)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)

    def advance():
        psi = model(phi, inline_mats=inline)
        p = psi**2 / (psi**2).sum(1, keepdim=True)
        optimizer.zero_grad()
        torch.nn.functional.nll_loss(torch.log(p.clamp_min(1e-8)), y).backward()
        optimizer.step()

    return {_label(int(bond), setting): best_of(advance, repeats)}


def their_norm(repeats: int) -> dict[str, float]:
    """Seconds of tensorkrowch's log Z with gradient, which takes some 9 GB."""
    import tensorkrowch as tk
    import torch

    torch.set_num_threads(1)
    chain = tk.models.MPS(
        n_features=SITES, phys_dim=2, bond_dim=30, init_method="randn_eye", std=1e-9
    )

    def norm():
        chain.reset()
        chain.zero_grad()
        chain.norm(log_scale=True).backward()

    return {"log Z with gradient, D=30": best_of(norm, repeats)}


def main() -> None:
    """Prints the table, or the times of one task as JSON."""
    if len(sys.argv) > 1:
        task = {"ours": ours, "step": their_step, "norm": their_norm}[sys.argv[2]]
        print(json.dumps(task(int(sys.argv[1]), *sys.argv[3:])))
    else:
        print(report(quick=False))


if __name__ == "__main__":
    main()
