"""What is in the compiled programs of a transformer; run by `test_mesh_programs.py`."""

import re

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

#: Of an instruction: its kind, and the arrays that it gives.
COLLECTIVE = re.compile(
    r"= (.*?) (all-reduce|all-gather|reduce-scatter|all-to-all|collective-permute)(?:-start)?\("
)
SIZES = {"f32": 4, "s32": 4, "u32": 4, "pred": 1, "f64": 8, "bf16": 2}


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


def collectives(compiled):
    """Bytes that each kind of collective gives, over all instructions of a program."""
    found = {}
    for arrays, kind in COLLECTIVE.findall(compiled.as_text()):
        size = 0
        for name, shape in re.findall(r"(\w+)\[([\d,]*)\]", arrays):
            numbers = [int(n) for n in shape.split(",") if n]
            size += SIZES.get(name, 0) * int(np.prod(numbers, dtype=np.int64))
        found[kind] = found.get(kind, 0) + size
    return found


def check_fully_sharded_memory(counts):
    """Each device keeps an eighth of parameters, moments and averages, and little besides."""
    whole, size = program(8)
    spread, _ = program(8, et.Sharded(at_least=1024))
    before, after = (one.memory_analysis().argument_size_in_bytes for one in (whole, spread))
    assert before >= size
    assert after <= size / 6, (after, size)
    assert spread.memory_analysis().output_size_in_bytes <= size / 6
    assert collectives(spread).get("all-gather", 0) > 0


def check_bytes_of_data_parallel(counts):
    """One step reduces each gradient once, those of the blocks within the loop over the blocks."""
    compiled, _ = program(8)
    model, found = transformer(), collectives(compiled)
    layers = len(model.blocks.out.weight)
    wanted = bytes_of(model) - bytes_of(model.blocks) * (layers - 1) // layers
    assert set(found) == {"all-reduce"}, found
    assert wanted <= found["all-reduce"] <= 1.02 * wanted, (found, wanted)


def bytes_of(tree):
    return sum(leaf.nbytes for leaf in jax.tree.leaves(eqx.filter(tree, eqx.is_array)))
