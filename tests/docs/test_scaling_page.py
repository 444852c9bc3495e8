"""The cost model: its numbers, what it says, and that the page shows them."""

import sys
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

sys.path.append(str(Path(__file__).parents[2]))

from benchmarks import costs, transformer

ROOT = Path(__file__).parents[2]
H100 = costs.Machine()


def test_the_page_has_the_tables_of_the_command():
    page = (ROOT / "docs/guide/scaling.md").read_text(encoding="utf-8")
    assert f"{costs.BEGIN}\n{costs.tables()}\n\n{costs.END}" in page


def test_operations_and_parameters_are_those_that_xla_counts():
    sizes = transformer.Sizes(layers=2, width=128, tokens=64, positions=16)
    model, rows = sizes.model(jax.random.key(0)), jnp.asarray(sizes.rows(4))
    work = costs.transformer("two", sizes, 4, 4)
    assert work.parameters == sum(leaf.size for leaf in jax.tree.leaves(model))

    def loss(model, rows):
        return transformer.loss(model, rows, sizes.heads, scan=False, checkpoint=False)

    counted = jax.jit(jax.grad(loss)).lower(model, rows).cost_analysis()["flops"]
    # Without a checkpoint a layer takes 6 in place of 8 for each weight; XLA counts what lies
    # between the products, and scores of pairs that do not attend, as well.
    layers = 4 * 16 * 8 * 2 * 12 * 128**2
    assert 4 * work.flops - layers / 4 == pytest.approx(counted, rel=0.1)


def test_a_ring_sends_what_the_formula_says():
    size = 8e9
    assert H100.gather(size, 8) == pytest.approx(7 / 8 * size / 450e9)
    flat = replace(H100, size=1)
    assert flat.gather(size, 64) == pytest.approx(63 / 64 * size / 50e9)
    # Of 64 in machines of eight, each GPU sends an eighth between machines.
    assert H100.gather(size, 64) == pytest.approx(7 / 8 * size / 450e9 + 7 / 8 * size / 8 / 50e9)
    assert H100.gather(size, 1) == H100.latency(1) == 0


@pytest.mark.parametrize("sharded", [False, True], ids=["whole", "FSDP"])
@pytest.mark.parametrize("work", [costs.SMALL, costs.SIX, costs.LARGE], ids=lambda w: w.name)
def test_from_there_on_collectives_are_hidden(work, sharded):
    for devices in costs.COUNTS:
        least = costs.pays_from(work, devices, sharded, H100)
        assert costs.cost(work, least, devices, sharded, H100).bound != "collectives"
        if least > 1:
            assert costs.cost(work, least - 1, devices, sharded, H100).bound == "collectives"


def test_what_the_page_says_of_small_and_large_models():
    for sharded in (False, True):
        alone = costs.cost(costs.SMALL, 64, 1, sharded, H100)
        assert alone.step < H100.start
        assert costs.pays_up_to(costs.SMALL, sharded, H100)[0] <= 2
        assert costs.pays_up_to(costs.LARGE, sharded, H100)[0] == 256
        assert costs.pays_from(costs.SIX, 512, sharded, H100) > 500
        assert costs.pays_from(costs.LARGE, 512, sharded, H100) <= 4
    assert round(16 * costs.LARGE.parameters / 1e9) == 24


def test_on_one_gpu_nothing_is_moved_or_sharded():
    assert costs.cost(costs.LARGE, 4, 1, True, H100) == costs.cost(costs.LARGE, 4, 1, False, H100)
    assert costs.cost(costs.LARGE, 4, 1, True, H100).collectives == 0
