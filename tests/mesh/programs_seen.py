"""What is in the compiled programs of a transformer; run by `test_mesh_programs.py`."""

import sys
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

import etude as et
from etude.engine.compiled_loop import TracedLoop
from etude.engine.layout import Layout
from etude.engine.program import columns
from etude.systems.generative import CausalTransformer

sys.path.append(str(Path(__file__).parents[2]))

from benchmarks import scaling
from benchmarks.collectives import bytes_by_kind, sent


def transformer():
    return CausalTransformer.create(jax.random.key(0), (8, 4), width=64, layers=6, heads=4)


def loss(model, batch, context):
    return -jnp.mean(model.log_prob(batch))


def program(devices, sharding=None):
    """The compiled loop on so many devices, and the bytes of its first state."""
    model = transformer()
    data = et.ArrayData(np.zeros((16, 8, 4), np.float32), 16)
    learner = et.Learner(et.Gradient(loss), optax.adam(1e-3), ema=0.99)
    phase = et.Phase("fit", learner, data, et.Steps(10))
    layout = Layout.of(et.mesh(data=devices), sharding, model)
    plan = et.Plan.of(phase, model, layout=layout)
    state = et.init_state(plan, model)
    arrays = layout.put_data(data.arrays)
    traced = TracedLoop(plan, data, state, arrays, columns(plan, state), layout.place)
    return traced.compiled(), bytes_of((state.model, state.learners))


def check_fully_sharded_memory(counts):
    """Each device keeps an eighth of parameters, moments and averages, and little besides."""
    whole, size = program(8)
    spread, _ = program(8, et.Sharded(at_least=1024))
    before, after = (one.memory_analysis().argument_size_in_bytes for one in (whole, spread))
    assert before >= size
    assert after <= size / 6, (after, size)
    assert spread.memory_analysis().output_size_in_bytes <= size / 6
    assert bytes_by_kind(spread.as_text()).get("all-gather", 0) > 0


def check_bytes_of_data_parallel(counts):
    """One step reduces each gradient once, those of the blocks within the loop over the blocks."""
    compiled, _ = program(8)
    found, wanted = bytes_by_kind(compiled.as_text()), bytes_of(transformer())
    assert set(found) == {"all-reduce"}, found
    assert wanted <= found["all-reduce"] <= 1.02 * wanted, (found, wanted)


def check_placed_activations_stay_where_they_are(counts):
    """FSDP moves the weights of a loss that says where activations are, and else activations."""
    problem, moved = scaling.six_layers(), {}
    for placed in (True, False):
        engine = scaling.Engine(problem, 8, 64, scaling.SHARDED, placed)
        moved[placed] = sent(bytes_by_kind(engine.compiled.as_text()), 8) / problem.bytes
    assert moved[True] <= 1.2 * 4 * 7 / 8, moved
    assert moved[False] >= 3 * moved[True], moved


def bytes_of(tree):
    return sum(leaf.nbytes for leaf in jax.tree.leaves(eqx.filter(tree, eqx.is_array)))
