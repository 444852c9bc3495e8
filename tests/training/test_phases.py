"""Every shape of training that the systems need can be said: one test each, on a real model."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from problems import blobs, cross_entropy, fit, learner, mlp, same

import etude as et


class Two(eqx.Module):
    """An encoder and a head."""

    encoder: eqx.nn.Linear
    head: eqx.nn.Linear

    def __init__(self, seed=0):
        a, b = jax.random.split(jax.random.key(seed))
        self.encoder = eqx.nn.Linear(2, 6, key=a)
        self.head = eqx.nn.Linear(6, 2, key=b)

    def __call__(self, x):
        return self.head(jnp.tanh(self.encoder(x)))


def reconstruction(model, batch, context):
    """A self-supervised loss of the encoder: tied-weight reconstruction."""
    x, _ = batch
    hidden = jnp.tanh(jax.vmap(model.encoder)(x))
    return jnp.mean((hidden @ model.encoder.weight - x) ** 2)


def test_three_phases_over_one_model():
    seen = {}

    class Watch(et.Callback):
        def on_phase_begin(self, event):
            seen[event.phase] = event.model()

    def both(model, batch, context):
        value, metrics = cross_entropy(model, batch, context)
        return value + 0.3 * reconstruction(model, batch, context), metrics

    data = et.ArrayData(blobs(), 32)
    decay = optax.adamw(1e-2, weight_decay=0.3)
    phases = [
        et.Phase(
            "pretrain",
            et.Learner(et.Gradient(reconstruction), decay, where=lambda m: m.encoder),
            data,
            et.Epochs(5),
        ),
        et.Phase(
            "head",
            et.Learner(et.Gradient(cross_entropy), decay, where=lambda m: m.head),
            data,
            et.Epochs(5),
        ),
        et.Phase("joint", et.Learner(et.Gradient(both), decay), data, et.Epochs(5)),
    ]
    model = Two()
    result = fit(model, phases, callbacks=[Watch()])
    assert same(seen["pretrain"], model)
    assert same(seen["head"].head, model.head), "phase 1 trains the encoder alone"
    assert not same(seen["head"].encoder, model.encoder)
    assert same(seen["joint"].encoder, seen["head"].encoder), "phase 2 leaves the encoder's bits"
    assert not same(seen["joint"].head, seen["head"].head)
    assert not same(result.model.encoder, seen["joint"].encoder)
    last, first = (
        [r["train/loss"] for r in result.history if r["phase"] == "joint" and "train/loss" in r][i]
        for i in (-1, 0)
    )
    assert last < first


class Gan(eqx.Module):
    generator: eqx.nn.MLP
    critic: eqx.nn.MLP

    def __init__(self):
        a, b = jax.random.split(jax.random.key(3))
        self.generator = eqx.nn.MLP(2, 1, 16, 1, key=a)
        self.critic = eqx.nn.MLP(1, 1, 16, 1, key=b)

    def sample(self, key, number):
        return jax.vmap(self.generator)(jax.random.normal(key, (number, 2)))


def critic_loss(model, batch, context):
    fake = model.sample(context.key, len(batch))
    real, fake = jax.vmap(model.critic)(batch), jax.vmap(model.critic)(fake)
    return jnp.mean(jax.nn.softplus(-real)) + jnp.mean(jax.nn.softplus(fake))


def generator_loss(model, batch, context):
    fake = model.sample(context.key, len(batch))
    return jnp.mean(jax.nn.softplus(-jax.vmap(model.critic)(fake)))


def test_two_learners_alternate_with_their_own_optimizers():
    real = 2.0 + 0.5 * jax.random.normal(jax.random.key(0), (512, 1))
    data = et.ArrayData(real, 64)
    phase = et.Phase(
        "gan",
        [
            et.Learner(
                et.Gradient(critic_loss),
                optax.adam(3e-3),
                where=lambda m: m.critic,
                name="critic",
                repeat=3,
            ),
            et.Learner(
                et.Gradient(generator_loss),
                optax.rmsprop(3e-3),
                where=lambda m: m.generator,
                name="generator",
            ),
        ],
        data,
        et.Epochs(60),
    )
    result = fit(Gan(), phase)
    samples = result.model.sample(jax.random.key(9), 2000)
    assert float(samples.mean()) == pytest.approx(2.0, abs=0.3)
    assert {"train/critic/loss", "train/generator/loss"} <= set(result.history[1])


def test_turns_and_fresh_noise_against_a_hand_written_alternation():
    """k turns of the one per turn of the other, each on its own key; parts do not leak."""
    keys_seen = []

    def rule(name, size):
        def compute(trainable, rest, batch, context):
            noise = jax.random.normal(context.key, ())
            return et.Proposal(
                jax.tree.map(lambda w: jnp.full_like(w, size) + 0 * noise, trainable),
                {"noise": noise},
            )

        return compute

    model = {"a": jnp.zeros(3), "b": jnp.zeros(2)}
    phase = et.Phase(
        "turns",
        [
            et.Learner(rule("a", -1.0), optax.sgd(1.0), where=lambda m: m["a"], name="a", repeat=4),
            et.Learner(rule("b", -10.0), optax.sgd(1.0), where=lambda m: m["b"], name="b"),
        ],
        et.ArrayData(jnp.zeros(8), 4),
        et.Steps(5),
    )
    result = fit(model, phase)
    np.testing.assert_array_equal(result.model["a"], np.full(3, 4.0 * 5))
    np.testing.assert_array_equal(result.model["b"], np.full(2, 10.0 * 5))
    noises = [r[f"train/{n}/noise"] for r in result.history if "train/a/noise" in r for n in "ab"]
    assert len(set(noises)) == len(noises) == 10, (noises, keys_seen)


@pytest.mark.parametrize("executor", ["loop", "dispatch"])
def test_a_perceptron_rule_in_the_same_compiled_loop(executor):
    x, labels = blobs(300)
    x = jnp.concatenate([x, jnp.ones((300, 1))], axis=1)
    signs = 2.0 * labels.astype(jnp.float32) - 1

    def perceptron(trainable, rest, batch, context):
        inputs, y = batch
        wrong = jnp.where(y * (inputs @ trainable) <= 0, y, 0)
        updates = -inputs.T @ wrong / len(y)
        return et.Proposal(updates, {"mistakes": jnp.mean(jnp.abs(wrong))})

    data = et.ArrayData((x, signs), 10, shuffle=False)
    phase = et.Phase("fit", et.Learner(perceptron, optax.sgd(0.5)), data, et.Epochs(20))
    result = fit(jnp.zeros(3), phase, executor=executor)

    weights = np.zeros(3, np.float32)
    for _ in range(20):
        for start in range(0, 300, 10):
            inputs, y = np.asarray(x)[start : start + 10], np.asarray(signs)[start : start + 10]
            wrong = np.where(y * (inputs @ weights) <= 0, y, 0)
            weights = weights + 0.5 * inputs.T @ wrong / 10
    np.testing.assert_allclose(result.model, weights, atol=1e-4)
    assert np.mean(np.sign(x @ result.model) == signs) > 0.85


def test_a_learner_without_optimizer_replaces_its_part():
    """One EM-like sweep: the mean of the batch, computed in closed form."""

    def mean(trainable, rest, batch, context):
        return et.Proposal(model={"mean": batch.mean(0), "other": rest["other"]})

    model = {"mean": jnp.zeros(2), "other": jnp.ones(2)}
    data = et.ArrayData(jnp.arange(8.0).reshape(4, 2), 4)
    phase = et.Phase("em", et.Learner(mean, where=lambda m: m["mean"]), data, et.Steps(1))
    result = fit(model, phase)
    np.testing.assert_array_equal(result.model["mean"], [3.0, 4.0])
    np.testing.assert_array_equal(result.model["other"], [1.0, 1.0])


def damage_and_repair(limit=math.inf):
    """A phase that ruins the accuracy, and one that restores it."""
    data = et.ArrayData(blobs(), 50)
    validation = et.Validation(data, every=et.Steps(8))

    def ruin(trainable, rest, batch, context):
        # Ascent on the loss.
        proposal = et.Gradient(cross_entropy)(trainable, rest, batch, context)
        return et.Proposal(jax.tree.map(jnp.negative, proposal.updates), proposal.metrics)

    repair = et.Phase(
        "repair", learner(), data, et.Epochs(20), validation, goal=et.AtLeast("valid/accuracy", 0.9)
    )
    return et.Phase(
        "ruin",
        et.Learner(ruin, optax.sgd(1.0)),
        data,
        et.Steps(32),
        et.Validation(data, lambda m, b, c: cross_entropy(m, b, c)[1], every=et.Steps(8)),
        rescue=et.Rescue(repair, when=et.Fallen("valid/accuracy", 0.05, "max", reference=0.9)),
    )


def test_a_rescue_mends_the_model_and_the_phase_goes_on():
    pre = et.Phase("pre", learner(), et.ArrayData(blobs(), 50), et.Epochs(20))
    result = fit(mlp(), [pre, damage_and_repair()])
    events = [(r["phase"], r["event"], r["step"]) for r in result.history if "event" in r]
    rescues = [e for e in events if e[1] == "rescue"]
    assert rescues, events
    position = events.index(rescues[0])
    assert events[position + 1][:2] == ("repair", "phase_begin")
    assert events[position + 2][:2] == ("repair", "phase_end")
    # The interrupted phase goes on with its own count of steps, to its full length.
    ruin = [r["step"] for r in result.history if r["phase"] == "ruin" and "train/loss" in r]
    assert ruin == list(range(1, 33))
    again = [r for r in result.history if r["phase"] == "repair" and r["event" if 0 else "visit"]]
    assert len(rescues) == 1 or again, "a second rescue is another visit"


def test_phases_with_longer_and_longer_signals_compile_once_each():
    traces = []

    def loss(model, batch, context):
        traces.append(batch.shape)
        return jnp.mean((batch.mean(-1) - model) ** 2)

    phases = [
        et.Phase(
            f"length-{n}",
            et.Learner(et.Gradient(loss), optax.sgd(0.1)),
            et.ArrayData(jnp.ones((8, n)), 4),
            et.Epochs(30),
        )
        for n in (16, 32, 64)
    ]
    result = fit(jnp.zeros(()), phases)
    assert float(result.model) == pytest.approx(1.0, abs=0.05)
    shapes = [(4, 16), (4, 32), (4, 64)]
    assert sorted(set(traces)) == shapes
    # A constant number of traces per shape (checks and compilation), whatever the epochs.
    counts = {shape: traces.count(shape) for shape in shapes}
    assert len(set(counts.values())) == 1
    assert max(counts.values()) <= 4, counts


def test_weights_of_losses_move_with_progress_without_a_retrace():
    traces = []

    def loss(model, batch, context):
        traces.append(1)
        weight = 0.5 * context.progress
        physics = jnp.sum(model**2)
        return jnp.mean((batch - model) ** 2) + weight * physics, {"weight": weight}

    data = et.ArrayData(jnp.ones(40), 4)
    learner = et.Learner(et.Gradient(loss), optax.sgd(0.1))
    result = fit(jnp.zeros(()), et.Phase("fit", learner, data, et.Epochs(10)))
    weights = [r["train/weight"] for r in result.history if "train/weight" in r]
    np.testing.assert_allclose(weights, 0.5 * np.arange(100) / 100, atol=1e-6)
    assert len(traces) <= 4


def test_a_teacher_inside_the_model_is_not_trained():
    model = {"teacher": mlp(1), "student": mlp(2)}

    def distil(model, batch, context):
        x, _ = batch
        teacher = jax.nn.softmax(jax.vmap(model["teacher"])(x))
        student = jax.nn.log_softmax(jax.vmap(model["student"])(x))
        return jnp.mean(jnp.sum(teacher * (jnp.log(teacher) - student), axis=-1))

    data = et.ArrayData(blobs(), 50)
    phase = et.Phase(
        "distil",
        et.Learner(
            et.Gradient(distil), optax.adamw(1e-2, weight_decay=0.1), where=lambda m: m["student"]
        ),
        data,
        et.Epochs(50),
    )
    result = fit(model, phase)
    assert same(result.model["teacher"], model["teacher"])
    losses = [r["train/loss"] for r in result.history if "train/loss" in r]
    assert losses[-1] < 0.1 * losses[0]


def test_ends_by_patience_goal_and_time():
    data = et.ArrayData(blobs(), 50)

    def phase(**options):
        return et.Phase("fit", learner(), data, et.Epochs(500), et.Validation(data), **options)

    patience = fit(mlp(), phase(), callbacks=[et.EarlyStopping("valid/loss", 3, min_delta=0.05)])
    assert patience.reason is et.Reason.PATIENCE
    goal = fit(mlp(), phase(goal=et.AtLeast("valid/accuracy", 0.8)))
    assert goal.reason is et.Reason.GOAL
    values = [r["valid/accuracy"] for r in goal.history if "valid/accuracy" in r]
    assert values[-1] >= 0.8 > max(values[:-1], default=0)
    timed = fit(mlp(), phase(limit=et.Seconds(1e-3)))
    assert timed.reason is et.Reason.TIME
    assert len(timed.history) < 500 * 4


def test_the_best_weights_are_restored():
    data = et.ArrayData(blobs(), 50)
    phase = et.Phase(
        "fit",
        et.Learner(et.Gradient(cross_entropy), optax.sgd(30.0)),  # far too fast: it jumps about
        data,
        et.Epochs(15),
        et.Validation(data),
        keep=et.Best("valid/loss"),
    )
    result = fit(mlp(), phase)
    losses = [r["valid/loss"] for r in result.history if "valid/loss" in r]
    assert min(losses) < losses[-1], "the last must not be the best for this test to say anything"
    again = et.evaluate(result.model, data, lambda m, b, c: {"loss": cross_entropy(m, b, c)[0]})
    assert again["loss"] == pytest.approx(min(losses), rel=1e-6)


def test_costly_metrics_are_measured_less_often_under_the_same_name():
    """Two validations of one name at different intervals, both watched by the phase."""

    def length(model, batch, context):
        return {"length": jnp.sum(model.layers[0].weight ** 2)}

    data = et.ArrayData(blobs(), 50)

    def phase(measure):
        seldom = et.Validation(data, measure, every=et.Epochs(2))
        return et.Phase(
            "fit", learner(), data, et.Epochs(4), validation=[et.Validation(data), seldom],
            keep=et.Best("valid/loss"),
        )  # fmt: skip

    history = fit(mlp(), phase(length)).history
    measured = [set(record) for record in history if "valid/loss" in record]
    assert ["valid/length" in names for names in measured] == [False, True, False, True]
    with pytest.raises(et.ConfigurationError, match="report 'valid/accuracy', 'valid/loss'"):
        fit(mlp(), phase(None))
