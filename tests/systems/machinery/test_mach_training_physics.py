"""`PINNTrainer`: the weights of the physics move as they should, and move the network."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import etude as et
from etude.losses import cross_entropy
from etude.optim import OptimizerConfig
from etude.systems.machinery import (
    BEARINGS,
    CNN1D,
    FrequencyConsistencyLoss,
    Groups,
    HybridNetwork,
    PINNTrainer,
    PINNTrainingState,
    Records,
    SommerfeldConsistencyLoss,
    TemporalSmoothnessLoss,
    TrainingState,
)

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
DATA = {
    "signal": RNG.normal(size=(12, 32)).astype(np.float32),
    "label": (np.arange(12) % 2).astype(np.int32),
    "sommerfeld": np.full(12, 0.01, np.float32),
    "record": np.arange(12) // 4,
    "window": np.arange(12) % 4,
}
KNOWN = {name: jnp.asarray(DATA[name]) for name in ("sommerfeld", "record", "window")}
THIN = SommerfeldConsistencyLoss([0, 1])  # a thin film speaks against class 1


def network(classes=2, **changed):
    settings = {"kernels": 3, "strides": 4, "hidden": (), "dropout": 0.0, **changed}
    return CNN1D(classes, (3,), key=KEY, **settings)


def trainer(**changed):
    settings = {
        "lambda_freq": 0.0,
        "lambda_temporal": 0.0,
        "sommerfeld": THIN,
        "optimizer": OptimizerConfig(optimizer_type="adam", learning_rate=0.02),
        "batch_size": 4,
        "progress": False,
        **changed,
    }
    return PINNTrainer(settings.pop("model", network()), DATA, DATA, **settings)


def test_the_state_tells_the_weights_and_the_terms_of_each_epoch():
    result = trainer(lambda_temporal=0.1).train(3)
    state = PINNTrainingState.of(result)
    assert (state.epoch, state.global_step, state.early_stopped) == (3, 9, False)
    assert state.best_val_loss == min(result.history["valid/loss"].value)
    assert set(state.lambda_history) == {"sommerfeld", "temporal"}
    assert set(state.loss_components) == {"data", "sommerfeld", "temporal"}
    weights = result.history["train/lambda_temporal"].value.reshape(3, 3).mean(1)
    np.testing.assert_allclose(state.lambda_history["temporal"], weights, rtol=1e-6)
    assert TrainingState.of(result).history["val_loss"] == state.history["val_loss"]


@pytest.mark.parametrize(
    ("schedule", "weights"),
    [
        ("linear", [0.0, 0.25, 0.5, 1.0]),
        ("exponential", [0.0, 0.7183, 0.9241, 1.0]),
        ("step", [0.0, 0.0, 0.5, 1.0]),
        ("constant", [1.0, 1.0, 1.0, 1.0]),
    ],
)
def test_the_weight_follows_its_schedule(schedule, weights):
    one = trainer(lambda_sommerfeld=2.0, lambda_schedule=schedule, adaptive_lambda=False)
    logits = jnp.zeros((12, 2))
    for progress, weight in zip((0.0, 0.25, 0.5, 1.0), weights, strict=True):
        total, parts = one.compute_loss(logits, DATA["label"], DATA["signal"], KNOWN, progress)
        assert parts["lambda_sommerfeld"] == pytest.approx(2 * weight, abs=1e-4)
        assert total == pytest.approx(
            float(parts["data_loss"] + parts["lambda_sommerfeld"] * parts["sommerfeld"]), rel=1e-5
        )


def test_an_adaptive_weight_makes_the_gradients_alike():
    """At the logits, that of a term has lambda times the norm of that of the labels."""
    one = trainer(
        lambda_sommerfeld=0.5,
        lambda_temporal=0.2,
        lambda_schedule="constant",
        temporal=TemporalSmoothnessLoss(7.0),  # a factor that makes no difference
    )
    logits = jnp.asarray(RNG.normal(size=(12, 2)), jnp.float32)

    def gradients(logits):
        def parts(logits):
            return one.compute_loss(logits, DATA["label"], DATA["signal"], KNOWN)[1]

        found = jax.jacrev(parts)(logits)
        return {name: jnp.linalg.norm(found[name]) for name in found}

    norms = jax.jit(gradients)(logits)
    _, parts = one.compute_loss(logits, DATA["label"], DATA["signal"], KNOWN)
    for name, wanted in (("sommerfeld", 0.5), ("temporal", 0.2)):
        share = parts[f"lambda_{name}"] * norms[name] / norms["data_loss"]
        assert share == pytest.approx(wanted, rel=1e-4)
        assert norms[f"lambda_{name}"] == 0  # the weight itself is no way to a smaller loss


@pytest.mark.parametrize("adaptive", [True, False])
def test_physics_moves_the_network_to_what_it_allows(adaptive):
    """The labels say nothing here: half of all samples are of either class."""
    result = trainer(
        lambda_sommerfeld=1.0, lambda_schedule="constant", adaptive_lambda=adaptive, keep="last"
    ).train(20)
    logits = eqx.filter_jit(result.model)(DATA["signal"])
    allowed = float(jax.nn.softmax(logits)[:, 0].mean())
    assert allowed > 0.65
    assert result.metrics["valid/sommerfeld"] == pytest.approx(1 - allowed, abs=1e-3)
    labels = float(cross_entropy(logits, DATA["label"]))
    assert result.metrics["valid/loss"] == pytest.approx(labels, rel=1e-4)


def test_the_term_of_the_spectrum_and_a_hybrid_network_are_told_the_speed():
    """Impulses at BPFO are allowed of class 1 alone; the metadata come in a batch of three."""
    rate, orders, samples = 4000, BEARINGS["NICE"].orders, 2800
    since = (np.arange(samples) / rate) % (1 / (orders.bpfo * 25))
    signals = np.exp(-300 * since) * np.sin(2 * np.pi * 1300 * since)
    signals = (signals + 0.1 * RNG.normal(size=(4, 1, samples))).astype(np.float32)
    batch = signals, np.zeros(4, np.int32), {"speed": np.full(4, 25.0, np.float32)}
    term = FrequencyConsistencyLoss(
        {1: ["BPFO"]}, sample_rate=rate, speeds=(24.0, 26.0), bearings=[orders], harmonics=1
    )
    hybrid = HybridNetwork(network(strides=64), {"speed": 1}, width=2, hidden=(), key=KEY)
    one = PINNTrainer(
        hybrid, batch, frequency=term, sample_rate=rate, lambda_sommerfeld=0.0, lambda_temporal=0.0,
        lambda_schedule="constant", metadata_keys=["speed"], progress=False,
    )  # fmt: skip
    first = one.train(1).history["train/freq"].value[0]
    logits, _ = hybrid.forward(jnp.asarray(signals), batch[2])
    share = jax.nn.softmax(logits, axis=-1)[:, 0].mean()
    assert first == pytest.approx(float(share), abs=0.05)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"lambda_schedule": "cosine"}, "lambda_schedule is one of"),
        ({"lambda_freq": 1.0}, "lambda_freq=1.0 weighs no term"),
        ({"lambda_sommerfeld": 0.0}, "sommerfeld has the weight lambda_sommerfeld=0"),
        ({"model": network(multi_label=True)}, "several labels"),
        ({"device": "cpu"}, "no device"),
        (
            {"frequency": FrequencyConsistencyLoss({1: [1.0]}, 4000, speeds=(20.0, 30.0))},
            "sample_rate=20480 Hz, but frequency is at 4000 Hz",
        ),
    ],
    ids=["schedule", "term", "weight", "labels", "device", "rate"],
)
def test_what_contradicts_itself_is_refused(given, told):
    with pytest.raises(et.ConfigurationError, match=told):
        trainer(**given)


@pytest.mark.parametrize("place", ["train", "valid"])
def test_signals_of_another_bearing_than_that_of_the_term_are_refused(place):
    own, other = BEARINGS["NICE"].orders, BEARINGS["6203"].orders
    term = FrequencyConsistencyLoss({1: ["BPFO"]}, 20480, speeds=(20.0, 30.0), bearings=[own])

    def made(orders):
        known = {"orders": np.tile(np.array(list(orders), np.float32), (12, 1))}
        right = {**DATA, "orders": np.tile(np.array(list(own), np.float32), (12, 1))}
        wrong = {**DATA, **known}
        loaders = (wrong, right) if place == "train" else (right, wrong)
        return PINNTrainer(network(), *loaders, frequency=term, sommerfeld=THIN, progress=False)

    with pytest.raises(et.ConfigurationError) as error:
        made(other)
    for said in (f"{other.bpfo:.4g}", f"{own.bpfo:.4g}", "train_loader" * (place == "train")):
        assert said in str(error.value)
    made(np.array(list(own)) * 1.01)


def test_windows_that_are_there_twice_are_refused_where_neighbours_are_paired():
    doubled = {**DATA, "record": DATA["record"] // 2}
    with pytest.raises(et.DataError, match="train_loader has window 0 of record 0 2 times"):
        PINNTrainer(network(), doubled, lambda_freq=0.0, sommerfeld=THIN)
    PINNTrainer(network(), doubled, lambda_freq=0.0, lambda_temporal=0.0, sommerfeld=THIN)


@pytest.mark.parametrize(
    ("keys", "told"),
    [(["speed"], "no metadata 'speed'"), (["record"], "needs 'sommerfeld' in the metadata")],
    ids=["absent", "left-out"],
)
def test_metadata_that_are_not_there_are_refused(keys, told):
    with pytest.raises(et.ConfigurationError, match=told):
        trainer(metadata_keys=keys).train(1)


def test_windows_bring_the_metadata_that_the_terms_need():
    records = Records(
        DATA["signal"],
        20480.0,
        DATA["label"],
        ("a", "b"),
        Groups.of(bearing=[str(i) for i in range(12)]),
        {"sommerfeld": DATA["sommerfeld"], "load": DATA["sommerfeld"]},
    )
    one = PINNTrainer(
        network(), records.windows(16), lambda_freq=0.0, sommerfeld=THIN, progress=False
    )
    (phase,) = one.phases(1)
    assert set(phase.data.arrays) == {"signal", "label", "sommerfeld", "record", "window"}
