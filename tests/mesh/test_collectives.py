"""What is read of collectives from a compiled program."""

import sys
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import PartitionSpec

import etude as et

sys.path.append(str(Path(__file__).parents[2]))

from benchmarks.collectives import Collective, bytes_by_kind, collectives, sent


def test_loops_count_as_often_as_they_run():
    mesh = et.mesh(data=2)

    @jax.jit
    @partial(jax.shard_map, mesh=mesh, in_specs=PartitionSpec("data"), out_specs=PartitionSpec())
    def program(x):
        def inner(x, _):
            return x + jax.lax.psum(x, "data"), None

        def outer(x, _):
            return jax.lax.scan(inner, jnp.sin(x), length=5)[0], None

        x, _ = jax.lax.scan(outer, x, length=3)
        return jax.lax.psum(x, "data")

    text = program.lower(jnp.ones((8, 6))).compile().as_text()
    assert collectives(text) == [Collective("all-reduce", ((4, 6),), 96, 3 * 5 + 1)]
    assert bytes_by_kind(text) == {"all-reduce": 16 * 96}


def test_a_ring_of_two_sends_half_of_what_one_of_many_does():
    given = {"all-reduce": 100, "all-gather": 40, "reduce-scatter": 10}
    assert sent(given, 2) == pytest.approx(100 + 20 + 10)
    assert sent(given, 4) == pytest.approx(150 + 30 + 30)
    assert sent(given, 1) == 0
