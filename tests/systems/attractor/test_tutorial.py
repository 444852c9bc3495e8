"""The seed's tutorial: by hand, compiled, and as a NumPy loop."""

import importlib.util
import sys
from pathlib import Path

import equinox as eqx
import jax
import numpy as np
import optax
import pytest

import etude as et
from etude.systems.attractor import AttractorTrainer, PrototypeData, SequentialState, no_learning

sys.path.insert(0, str(Path(__file__).parent))
from networks import SIZES, evaluate, partition, train, tutorial_network, weights
from reference import Reference

STREAM = (0.977, 0.965, 0.971, 0.967, 0.977)  # of the original, five seeds
EXAMPLE = Path(__file__).parents[3] / "examples" / "attractor_tutorial.py"


def draw(seed):
    network = tutorial_network(jax.random.key(44 + 1000 * seed))
    data_key = jax.random.split(jax.random.key(59 + 1000 * seed))[1]
    return network, PrototypeData(data_key)


def train_reference(network, x, y, num_batches, epochs):
    w_in, _, w_out = weights(network)
    loop = Reference(
        w_in,
        network.layers[1, 1].weight,
        network.layers[1, 2].weight.value,
        w_out,
        thresholds=(3.5, 0.5, 3.5),
        j_d=0.5,
        back=network.layers[1, 2].strength.value.item(),
    )
    x, y = np.array(x), np.array(y)
    for _ in range(epochs):
        for rows in np.array_split(np.arange(len(x)), num_batches):
            settled = loop.settle(x[rows], y[rows], 10, 10)
            loop.adam(loop.pseudo_gradients(x[rows], settled, y[rows]), 5e-3)
    return loop


def check(seed):
    """Float64: in float32 a field within rounding of a tie falls either way, now and then."""
    network, data = draw(seed)
    with jax.enable_x64(True):
        wide, x, y = jax.tree.map(lambda a: a.astype(float), (network, data.x, data.y))
        trained, _ = train(wide, x, y, epochs=3, optimizer=optax.adam(5e-3))
        loop = train_reference(wide, x, y, data.num_batches, epochs=3)
        for ours, theirs in zip(weights(trained), loop.weights, strict=True):
            np.testing.assert_allclose(ours, theirs, atol=1e-9, rtol=0)
    trained, _ = train(network, data.x, data.y, epochs=3, optimizer=optax.adam(5e-3))
    # The original averages over batches of 16 and 15, so the last digit may differ by one.
    assert evaluate(trained, data.x, data.y) == pytest.approx(STREAM[seed], abs=1.1e-3)
    return trained, data


@pytest.mark.slow
def test_compiled_training_is_the_numpy_loop_for_five_seeds():
    held_out = []
    for seed in range(5):
        trained, data = check(seed)
        held_out.append(evaluate(trained, *data.sample(jax.random.key(seed), 4000)))
    assert np.mean(held_out) == pytest.approx(0.956, abs=0.006)


def test_the_trainer_is_the_numpy_loop():
    """One phase of `Trainer`, in float32 as the user runs it, for the whole tutorial."""
    network, data = draw(0)
    trainer = AttractorTrainer(
        network,
        SIZES,
        data.source(),
        et.Epochs(3),
        optimizer=optax.adam(5e-3),
        validation=(data.x, data.y),
        progress=False,
    )
    result = trainer.train()
    assert result.metrics["valid/accuracy"] == pytest.approx(STREAM[0], abs=1.1e-3)
    compiled, _ = train(network, data.x, data.y, epochs=3, optimizer=optax.adam(5e-3))
    for ours, theirs in zip(weights(result.model), weights(compiled), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5, rtol=0)
    for before, after in zip(*map(frozen, (network, result.model)), strict=True):
        np.testing.assert_array_equal(before, after)


def test_weight_decay_in_the_trainer_moves_nothing_that_is_fixed():
    data = PrototypeData(jax.random.key(0), 16, 3, 20, 96, p_noise=0.1)
    network, sizes = tutorial_network(jax.random.key(1), (20, 30, 3)), (20, 30, 3)
    optimizer = optax.adamw(1e-2, weight_decay=0.5)
    trainer = AttractorTrainer(
        network, sizes, data.source(), et.Epochs(4), optimizer=optimizer, progress=False
    )
    trained = trainer.train().model
    assert len(frozen(network)) == 10  # W_back, 3 strengths, 5 thresholds, j_d
    for before, after in zip(*map(frozen, (network, trained)), strict=True):
        np.testing.assert_array_equal(before, after)
    for before, after in zip(weights(network), weights(trained), strict=True):
        assert np.any(np.asarray(before != after))
    np.testing.assert_array_equal(np.diag(trained.layers[1, 1].coupling), np.float32(0.5))
    np.testing.assert_array_equal(np.diag(trained.layers[1, 1].weight), 0)


def test_a_training_leaves_nothing_in_the_trainer():
    """So that a second one is the first again, and a resumed one knows no more than a new one."""
    data = PrototypeData(jax.random.key(0), 16, 3, 20, 96, p_noise=0.1)
    network = tutorial_network(jax.random.key(1), (20, 30, 3))
    trainer = AttractorTrainer(
        network, (20, 30, 3), data.source(), et.Epochs(1), optimizer=optax.adam(1e-2),
        progress=False,
    )  # fmt: skip
    before = dict(vars(trainer))
    first, second = trainer.train().model, trainer.train().model
    assert vars(trainer) == before
    for one, other in zip(weights(first), weights(second), strict=True):
        np.testing.assert_array_equal(one, other)


def test_sweeps_of_a_prediction_that_nobody_makes_are_refused():
    data = PrototypeData(jax.random.key(0), 16, 3, 20, 96, p_noise=0.1)
    network = tutorial_network(jax.random.key(1), (20, 30, 3))
    with pytest.raises(et.ConfigurationError, match=r"partial\(local_updates, free_steps=3\)"):
        AttractorTrainer(
            network, (20, 30, 3), data.source(), et.Epochs(1), optimizer=optax.adam(1e-2),
            free_steps=3,
        )  # fmt: skip


def frozen(network):
    return jax.tree.leaves(partition(network)[1])


def test_hidden_layer_learns_much_more_than_a_read_out_alone():
    gain = []
    for seed in range(2):
        network, data = draw(seed)
        fresh = data.sample(jax.random.key(seed), 2000)
        both, _ = train(network, data.x, data.y, epochs=3, optimizer=optax.adam(5e-3))
        alone, _ = train(
            network, data.x, data.y, epochs=3, optimizer=optax.adam(5e-3), hidden=no_learning
        )
        gain.append(evaluate(both, *fresh) - evaluate(alone, *fresh))
    assert np.mean(gain) > 0.05


def test_the_loop_written_by_hand_gives_the_compiled_weights():
    """The example's loop, un-jitted and with the seed's names only, for half an epoch."""
    spec = importlib.util.spec_from_file_location("attractor_tutorial", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    network, data = draw(0)
    x, y = data.x[:480], data.y[:480]
    compiled, _ = train(network, x, y, epochs=1, optimizer=optax.adam(5e-3))

    state, optimizer = SequentialState(SIZES), optax.adam(5e-3)
    by_hand = example.build(jax.random.key(44))
    memory = optimizer.init(eqx.filter(by_hand, eqx.is_inexact_array))
    rng = jax.random.key(0)
    with jax.numpy_dtype_promotion("standard"):  # optax mixes a count with floats
        for rows in np.array_split(np.arange(480), 30):
            by_hand, memory = example.train_step(
                by_hand, state, x[rows], y[rows], rng, optimizer=optimizer, opt_state=memory
            )
    for ours, theirs in zip(weights(compiled), weights(by_hand), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5, rtol=0)
    expected = evaluate(compiled, x, y)
    assert example.eval_step(by_hand, state, x, y, rng) == pytest.approx(expected, abs=1e-6)
