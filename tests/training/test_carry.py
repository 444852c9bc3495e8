"""`Carry`: state that no optimizer owns moves with what a loss or rule returns, everywhere."""

import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen
from problems import blobs, fit, same

import etude as et

RATE, SLIDE, STEPS = 0.02, 0.1, 12
X = np.random.default_rng(3).uniform(0, 1, (24, 4)).astype(np.float32)
START = {"W": jnp.full(4, 0.4), "theta": et.Carry(0.5)}


def bcm(trainable, rest, batch, context):
    """Bienenstock, Cooper and Munro (1982): the threshold slides with the mean squared output."""
    theta = rest["theta"].value
    y = batch @ trainable["W"]
    growth = ((y * (y - theta))[:, None] * batch).mean(0)
    moved = theta + SLIDE * (jnp.mean(y**2) - theta)
    model = {"W": trainable["W"], "theta": et.Carry(moved)}
    return et.Proposal({"W": -growth, "theta": None}, {"theta": moved}, model)


def by_hand(steps=STEPS, parts=1, left_out=None, repeat=1):
    """Weights and threshold by a NumPy loop, over batches of six in their order."""
    W, theta = np.full(4, 0.4), 0.5
    for step in range(steps):
        batch = X[step % 4 * 6 :][:6].astype(np.float64)
        for _ in range(0 if step == left_out else repeat):
            growth = np.zeros(4)
            for x in np.split(batch, parts):
                y = x @ W
                growth += ((y * (y - theta))[:, None] * x).mean(0) / parts
                theta += SLIDE * (np.mean(y**2) - theta)
            W = W + RATE * growth
    return W, theta


def phase(learner=None, name="bcm", steps=STEPS, **options):
    learner = learner or learner_of()
    return et.Phase(name, learner, et.ArrayData(X, 6, shuffle=False), et.Steps(steps), **options)


def learner_of(rule=bcm, **options):
    options = {"where": lambda m: m["W"]} | options
    return et.Learner(rule, optax.sgd(RATE), **options)


def check(model, expected):
    np.testing.assert_allclose(model["W"], expected[0], rtol=1e-5)
    np.testing.assert_allclose(model["theta"].value, expected[1], rtol=1e-5)


@pytest.mark.parametrize("executor", ["loop", "dispatch"])
@pytest.mark.parametrize("options", [{}, {"accumulate": 3}, {"repeat": 2}], ids=str)
def test_a_sliding_threshold_is_that_of_a_numpy_loop(executor, options):
    result = fit(START, phase(learner_of(**options)), executor=executor)
    expected = by_hand(parts=options.get("accumulate", 1), repeat=options.get("repeat", 1))
    check(result.model, expected)
    assert abs(expected[1] - 0.5) > 0.1, "the threshold moves far enough to be seen"
    assert float(START["theta"].value) == 0.5, "the model passed in is unharmed"


def centred(model, batch, context):
    """A loss with a running mean in `Carry`; NaN at step 3, after it has changed the mean."""
    mean = 0.5 * model["mean"].value + 0.5 * batch.mean(0)
    bad = jnp.where(context.step == 3, jnp.nan, 1.0)
    loss = jnp.mean(((batch - mean) @ model["W"] - 1) ** 2) * bad
    return loss, {}, {**model, "mean": et.Carry(mean), "steps": model["steps"] + 1}


def centred_model():
    return {"W": jnp.ones(4), "mean": et.Carry(jnp.zeros(4)), "steps": jnp.int32(0)}


def running_mean(steps, left_out=None):
    mean = np.zeros(4)
    for step in range(steps):
        if step != left_out:
            mean = 0.5 * mean + 0.5 * X[step % 4 * 6 :][:6].mean(0)
    return mean


def test_a_skipped_step_leaves_what_is_carried():
    result = fit(
        centred_model(), phase(learner_of(et.Gradient(centred)), steps=6), nonfinite="skip"
    )
    np.testing.assert_allclose(result.model["mean"].value, running_mean(6, left_out=3), rtol=1e-5)
    assert int(result.model["steps"]) == 5
    assert np.isfinite(result.model["W"]).all()


def test_an_averaged_model_has_what_is_carried_now():
    def measure(model, batch, context):
        return {"w": model["W"].sum(), "theta": model["theta"].value}

    data = et.ArrayData(X, 6)
    validations = [
        et.Validation(data, measure, et.Steps(4), name="raw"),
        et.Validation(data, measure, et.Steps(4), name="averaged", ema=True),
    ]
    result = fit(START, phase(learner_of(ema=0.9), validation=validations, keep="ema"))
    for steps in (4, 8, 12):
        record = next(r for r in result.history if r["step"] == steps and "raw/theta" in r)
        W, theta = by_hand(steps)
        assert record["raw/theta"] == pytest.approx(theta, rel=1e-5)
        assert record["averaged/theta"] == record["raw/theta"]
        assert record["raw/w"] == pytest.approx(W.sum(), rel=1e-5)
        assert record["averaged/w"] != record["raw/w"]
    assert float(result.model["theta"].value) == pytest.approx(by_hand()[1], rel=1e-5)


def test_alternating_learners_share_what_is_carried():
    def counting(name):
        def loss(model, batch, context):
            seen = model["seen"].value + 1.0
            return jnp.mean(model[name] * batch), {"seen": seen}, {**model, "seen": et.Carry(seen)}

        return et.Learner(et.Gradient(loss), optax.sgd(0.1), lambda m: m[name], name)

    model = {"a": jnp.ones(4), "b": jnp.ones(4), "seen": et.Carry(0.0)}
    result = fit(model, phase([counting("a"), counting("b")], steps=5))
    assert float(result.model["seen"].value) == 10
    row = next(r for r in result.history if r["step"] == 1 and "train/a/seen" in r)
    assert (row["train/a/seen"], row["train/b/seen"]) == (1, 2)


def test_half_precision_keeps_it_in_its_own_type():
    dtypes = set()

    def loss(model, batch, context):
        dtypes.update({str(model["W"].dtype), str(model["mean"].value.dtype)})
        mean = model["mean"].value + 2.0**-12
        return jnp.sum(model["W"]), {}, {**model, "mean": et.Carry(mean)}

    model = {"W": jnp.ones(4), "mean": et.Carry(jnp.ones(()))}
    result = fit(model, phase(learner_of(et.Gradient(loss), precision="bfloat16")))
    assert dtypes == {"bfloat16", "float32"}
    assert float(result.model["mean"].value) == 1 + STEPS * 2.0**-12


class Breaking(et.Callback):
    """Ends a training after a step, as a power cut would."""

    def __init__(self, step):
        self.step = step

    def on_steps_end(self, event, metrics):
        if event.step >= self.step:
            raise RuntimeError("power cut")


def test_a_killed_run_resumes_to_the_same_bits(tmp_path):
    def trainer(*callbacks):
        listed = [et.ModelCheckpoint(et.Steps(5)), *callbacks]
        return et.Trainer(START, phase(), run=tmp_path / "run", callbacks=listed, progress=False)

    whole = fit(START, phase())
    with pytest.raises(RuntimeError, match="power cut"):
        trainer(Breaking(6)).fit()
    assert float(trainer().load()["theta"].value) == pytest.approx(by_hand(5)[1], rel=1e-5)
    assert same(trainer().resume().model, whole.model)


def test_a_roll_back_takes_it_back(tmp_path):
    """A NaN at one step, with the random numbers of the first attempt only."""
    from etude.engine import randomness

    key = randomness.learner_key(randomness.phase_key(0, "bcm", 0), jnp.int32(7), 0)
    drawn = jax.random.uniform(key)

    def rule(trainable, rest, batch, context):
        found = bcm(trainable, rest, batch, context)
        bad = jnp.where(jax.random.uniform(context.key) == drawn, jnp.nan, 1.0)
        return et.Proposal({**found.updates, "W": found.updates["W"] * bad}, {}, found.model)

    result = fit(
        START, phase(learner_of(rule)), nonfinite="rollback", run=tmp_path / "run",
        callbacks=[et.ModelCheckpoint(et.Steps(5))],
    )  # fmt: skip
    assert [r["step"] for r in result.history if r.get("event") == "rollback"] == [5]
    check(result.model, by_hand())


def test_a_rescue_hands_it_on_and_back():
    def measure(model, batch, context):
        return {"theta": model["theta"].value}

    rescue = et.Rescue(phase(name="again", steps=4), when=lambda found: len(found) == 1)
    result = fit(
        START,
        phase(
            steps=8,
            validation=et.Validation(et.ArrayData(X, 6), measure, every=et.Steps(4)),
            rescue=rescue,
        ),
    )
    # Four steps, the same four batches again in the rescue, and the last four.
    check(result.model, by_hand(12))


def test_batch_statistics_of_linen_in_a_dictionary():
    """Training accuracy in validation, where they used to stay at their first values."""

    class Net(linen.Module):
        @linen.compact
        def __call__(self, x, train):
            x = linen.BatchNorm(use_running_average=not train, momentum=0.9)(x)
            x = linen.relu(linen.Dense(8)(x))
            return linen.Dense(2)(x)

    x, labels = blobs(200)
    x = 30.0 + 5.0 * x
    net = Net()
    variables = net.init(jax.random.key(0), x, train=False)
    model = {"params": variables["params"], "stats": et.Carry(variables["batch_stats"])}

    def loss(model, batch, context):
        x, labels = batch
        variables = {"params": model["params"], "batch_stats": model["stats"].value}
        logits, moved = net.apply(variables, x, train=True, mutable=["batch_stats"])
        value = optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()
        accuracy = jnp.mean(logits.argmax(-1) == labels)
        return value, {"accuracy": accuracy}, {**model, "stats": et.Carry(moved["batch_stats"])}

    def measure(model, batch, context):
        variables = {"params": model["params"], "batch_stats": model["stats"].value}
        return {
            "accuracy": jnp.mean(net.apply(variables, batch[0], train=False).argmax(-1) == batch[1])
        }

    data = et.ArrayData((x, labels), 50)
    learner = et.Learner(et.Gradient(loss), optax.adam(3e-2))
    result = fit(model, et.Phase("fit", learner, data, et.Epochs(30), et.Validation(data, measure)))
    last = [r["train/accuracy"] for r in result.history if "train/accuracy" in r][-4:]
    assert np.mean(last) > 0.85
    assert result.metrics["valid/accuracy"] == pytest.approx(np.mean(last), abs=0.03)
    stats = result.model["stats"].value["BatchNorm_0"]
    np.testing.assert_allclose(stats["mean"], x.mean(0), rtol=0.02)


def test_a_learner_without_an_optimizer_may_own_nothing_but_what_is_carried():
    def collect(trainable, rest, batch, context):
        buffer = jax.lax.dynamic_update_slice(rest["buffer"].value, batch, (context.step * 6, 0))
        return et.Proposal(model={"w": rest["w"], "buffer": et.Carry(buffer)})

    model = {"w": jnp.ones(4), "buffer": et.Carry(jnp.zeros((24, 4)))}
    result = fit(model, phase(et.Learner(collect, where=lambda m: m["buffer"]), steps=4))
    assert same(result.model, {"w": jnp.ones(4), "buffer": et.Carry(X)})


def test_a_target_network_follows():
    """The outermost box decides: a whole network inside, its fixed arrays and functions too."""
    net = eqx.nn.MLP(4, 1, 3, 1, key=jax.random.key(0))
    model = {"online": net, "target": et.Carry(net)}

    def loss(model, batch, context):
        gap = jax.vmap(model["online"])(batch) - jax.vmap(model["target"].value)(batch) - 1.0
        online, _ = eqx.partition(model["online"], eqx.is_array)
        target, static = eqx.partition(model["target"].value, eqx.is_array)
        moved = optax.incremental_update(online, target, 0.5)
        return jnp.mean(gap**2), {}, {**model, "target": et.Carry(eqx.combine(moved, static))}

    learner = et.Learner(et.Gradient(loss), optax.sgd(0.1), where=lambda m: m["online"])
    seen = []

    class Watch(et.Callback):
        def on_validation_end(self, event, metrics):
            seen.append(event.model())

    valid = et.Validation(et.ArrayData(X, 24), lambda m, b, c: {"x": 0.0}, every=et.Steps(1))
    fit(model, phase(learner, steps=3, validation=valid), callbacks=[Watch()])
    for before, after in itertools.pairwise(seen):
        halves = (before["online"].layers[0].weight, before["target"].value.layers[0].weight)
        np.testing.assert_allclose(
            after["target"].value.layers[0].weight, 0.5 * (halves[0] + halves[1]), rtol=1e-6
        )
