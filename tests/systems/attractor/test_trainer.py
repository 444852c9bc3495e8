"""The local rule in the trainer is the compiled loop of these tests."""

import sys
from functools import partial
from pathlib import Path

import jax
import numpy as np
import optax

import etude as et
from etude.systems.attractor import (
    LocalRule,
    PrototypeData,
    local_updates,
    softmax_cross_entropy,
)

sys.path.insert(0, str(Path(__file__).parent))
from networks import partition, train, tutorial_network, weights

SIZES = (30, 40, 4)


def test_trainer_with_a_local_rule():
    data = PrototypeData(
        jax.random.key(0), num_prototypes=4, dim_prototypes=30, num_data=128, p_noise=0.2
    )
    network = tutorial_network(jax.random.key(1), SIZES)
    update = partial(local_updates, readout=softmax_cross_entropy, clamped_steps=3, free_steps=3)
    # Not Adam: its bias correction mixes a count with floats, which strict promotion refuses.
    optimizer = optax.chain(optax.add_decayed_weights(0.1), optax.sgd(0.02, momentum=0.9))
    learner = et.Learner(LocalRule(SIZES, update), optimizer)
    source = et.ArrayData((data.x, data.y), batch_size=16, shuffle=False)
    phase = et.Phase("local", learner, data=source, length=et.Epochs(2))
    with jax.numpy_dtype_promotion("standard"):  # the engine counts steps with a comparison
        trained = et.Trainer(network, phase, progress=False).fit().model
    expected, _ = train(network, data.x, data.y, epochs=2, optimizer=optimizer, update=update)
    for ours, theirs in zip(weights(trained), weights(expected), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)
    for before, after in zip(
        jax.tree.leaves(partition(network)[1]), jax.tree.leaves(partition(trained)[1]), strict=True
    ):
        np.testing.assert_array_equal(before, after)
