"""Networks: any shape that is documented, statistics that move, others refused by name."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import etude as et
from etude.systems.machinery.models import (
    CNN1D,
    WDCNN,
    HybridNetwork,
    ResNet1D,
    SpectrogramCNN,
)

KEY = jax.random.key(0)
SMALL = {
    "CNN1D": CNN1D(3, (4, 6), kernels=5, strides=2, hidden=(8,), dropout=0.5, key=KEY),
    "ResNet1D": ResNet1D(3, (4, 6), blocks=1, stem=8, reduction=2, key=KEY),
    "WDCNN": WDCNN(3, (4, 6), kernel=16, stride=4, key=KEY),
    "SpectrogramCNN": SpectrogramCNN(3, (4, 6), key=KEY),
}
SIGNALS = jax.random.normal(jax.random.key(1), (4, 96))


@eqx.filter_jit
def train(network, x):
    return network.forward(x, jax.random.key(2))


@eqx.filter_jit
def infer(network, *x):
    return network(*x)


def inputs(name):
    return SIGNALS.reshape(4, 12, 8) if name == "SpectrogramCNN" else SIGNALS


@pytest.mark.parametrize("name", SMALL)
def test_a_network_infers_by_running_statistics_and_trains_by_those_of_the_batch(name):
    network, x = SMALL[name], inputs(name)
    logits, moved = train(network, x)
    assert logits.shape == (4, 3)
    assert jax.tree.structure(moved) == jax.tree.structure(network)
    changed = [
        jax.tree_util.keystr(path)
        for (path, old), new in zip(
            jax.tree_util.tree_leaves_with_path(network), jax.tree.leaves(moved), strict=True
        )
        if eqx.is_array(old) and (old != new).any()
    ]
    carried = [path for path in changed if ".running" in path]
    assert changed == carried
    assert len(carried) == 2 * sum("scale" in p for p in paths(network))
    # One by one, or all at once: inference does not look at the batch.
    alone = jnp.concatenate([infer(network, x[i : i + 1]) for i in range(4)])
    found = infer(network, x)
    np.testing.assert_allclose(found, alone, atol=1e-5)
    np.testing.assert_allclose(infer(network, x[:, None]), found, atol=1e-6)
    assert not np.allclose(logits, found, atol=1e-3)


def paths(model):
    return [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(model)]


@pytest.mark.parametrize("name", ["CNN1D", "ResNet1D", "WDCNN"])
@pytest.mark.parametrize("shape", [(96,), (4, 2, 96), (4, 3)])
def test_signals_of_another_shape_are_refused_by_the_name_of_the_network(name, shape):
    with pytest.raises(et.DataError, match=f"{name}: got signals of"):
        SMALL[name](jnp.zeros(shape))


def test_spectrograms_of_another_shape_and_integers_are_refused():
    with pytest.raises(et.DataError, match=r"SpectrogramCNN: got spectrograms of shape \(4, 2"):
        SMALL["SpectrogramCNN"](jnp.zeros((4, 2, 8, 8)))
    with pytest.raises(et.DataError, match="CNN1D: got int32, expected floating-point"):
        SMALL["CNN1D"](jnp.zeros((4, 96), jnp.int32))


def test_the_defaults_take_the_records_of_the_domain():
    """Shapes alone: 1 x 102400 at 20480 Hz, eleven classes."""
    for maker in (CNN1D, ResNet1D, WDCNN):
        network = eqx.filter_eval_shape(maker, 11, key=KEY)
        found = eqx.filter_eval_shape(
            lambda net, x: net.forward(x, jax.random.key(0)),
            network,
            jax.ShapeDtypeStruct((2, 1, 102400), jnp.float32),
        )
        assert found[0].shape == (2, 11)


def test_several_labels_at_once_are_independent():
    network = CNN1D(3, (4,), kernels=5, strides=2, dropout=0.0, multi_label=True, key=KEY)
    logits, found = infer(network, SIGNALS), eqx.filter_jit(network.probabilities)(SIGNALS)
    np.testing.assert_allclose(found, jax.nn.sigmoid(logits), rtol=1e-5)
    alone = eqx.filter_jit(SMALL["CNN1D"].probabilities)(SIGNALS)
    np.testing.assert_allclose(alone.sum(-1), 1.0, rtol=1e-5)


def test_a_residual_block_without_convolutions_is_the_way_around():
    network = SMALL["ResNet1D"]
    layer = network.trunk.layers[2]
    layer = eqx.tree_at(lambda one: one.second.norm.scale, layer, jnp.zeros(4))
    x = jax.nn.relu(jax.random.normal(KEY, (2, 1, 8, 4)))
    np.testing.assert_allclose(eqx.filter_jit(layer)(x)[0], x)


def test_a_hybrid_sees_the_machine_in_any_unit():
    """What the signal does not say, the speed does; its unit makes no difference."""
    backbone = CNN1D(2, (4,), kernels=5, strides=4, hidden=(), dropout=0.0, key=KEY)
    speed = jnp.array([10.0, 10.5, 30.0, 30.5]) * 60
    labels = jnp.array([0, 0, 1, 1])

    def loss(model, batch, context):
        signals, labels, speed = batch
        logits, model = model.forward(signals, {"speed": speed}, context.key)
        value = optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()
        return value, {}, model

    network = HybridNetwork(backbone, {"speed": 1}, width=4, hidden=(), key=KEY)
    data = et.ArrayData((SIGNALS * 0, labels, speed), 4)
    phase = et.Phase("fit", et.Learner(et.Gradient(loss), optax.adam(0.05)), data, et.Steps(60))
    trained = et.Trainer(network, phase, progress=False).fit().model
    assert infer(trained, SIGNALS * 0, {"speed": speed}).argmax(-1).tolist() == [0, 0, 1, 1]


def test_metadata_that_are_missing_or_of_another_shape_are_refused():
    network = HybridNetwork(SMALL["CNN1D"], {"orders": 4}, key=KEY)
    with pytest.raises(et.DataError, match=r"no 'orders'\. Did you mean 'order'"):
        network(SIGNALS, {"order": jnp.ones((4, 4))})
    with pytest.raises(et.DataError, match=r"'orders' of shape \(4, 3\), expected \(4, 4\)"):
        network(SIGNALS, {"orders": jnp.ones((4, 3))})


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: CNN1D(3, (4, 8), kernels=(3,), key=KEY), r"kernels=\[3\] for 2 blocks"),
        (lambda: CNN1D(0, key=KEY), "classes=0"),
        (lambda: CNN1D(3, dropout=1.0, key=KEY), "dropout=1.0"),
        (lambda: ResNet1D(3, (4, 8), blocks=(1, 1, 1), key=KEY), r"blocks=\[1, 1, 1\] for 2"),
        (lambda: HybridNetwork(SMALL["CNN1D"], {}, key=KEY), "no features"),
    ],
    ids=["kernels", "classes", "dropout", "blocks", "features"],
)
def test_bad_sizes_are_refused_when_a_network_is_made(make, told):
    with pytest.raises(et.ModelError, match=told):
        make()
