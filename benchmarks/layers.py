"""Layers one after another, scanned, checkpointed: what the compiled gradient takes."""

import time
from functools import partial

import jax
import jax.numpy as jnp

from benchmarks.tables import section, table
from benchmarks.transformer import Sizes, loss

HEAD = ["layers", "memory, MB", "program, kB", "compilation, s"]
WAYS = {
    "one after another": {"scan": False, "checkpoint": False},
    "one after another, checkpoint": {"scan": False, "checkpoint": True},
    "scan": {"scan": True, "checkpoint": False},
    "scan, checkpoint": {"scan": True, "checkpoint": True},
}
ROWS = 64


def report(quick: bool) -> str:
    """The table."""
    counts = (6,) if quick else (6, 12)
    found = [_row(layers, name, **how) for layers in counts for name, how in WAYS.items()]
    notes = [
        f"The gradient of a transformer of width {Sizes().width} on {ROWS} rows of "
        f"{Sizes().positions} tokens, on one device. Memory: beside arguments and results "
        "(`memory_analysis().temp_size_in_bytes`). Program: its text.",
    ]
    return section("Layers of a transformer", table(HEAD, found), notes)


def _row(layers: int, name: str, **how: bool) -> list[str]:
    sizes = Sizes(layers=layers)
    model, rows = sizes.model(jax.random.key(0)), jnp.asarray(sizes.rows(ROWS))
    lowered = jax.jit(jax.grad(partial(loss, heads=sizes.heads, **how))).lower(model, rows)
    begin = time.perf_counter()
    compiled = lowered.compile()
    seconds = time.perf_counter() - begin
    memory = compiled.memory_analysis().temp_size_in_bytes / 1e6
    size = len(compiled.as_text()) / 1e3
    return [f"{layers}, {name}", f"{memory:.1f}", f"{size:.0f}", f"{seconds:.1f}"]
