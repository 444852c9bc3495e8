"""What a learner promises: accumulation, clipping, averages, decay, precision."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from hypothesis import given, settings, strategies as st
from problems import blobs, cross_entropy, fit, mlp, same

import etude as et
from etude.optim import WarmingDecay, decay_mask
from etude.run import Run
from etude.training.restoring import restore_model


def arrays(model):
    return [x for x in jax.tree.leaves(model) if eqx.is_array(x)]


def after(learner, steps=3, model=None, **options):
    """The model and history after a few steps on ragged batches (100 samples, 32 a batch)."""
    data = et.ArrayData(blobs(100), 32)
    phase = et.Phase("fit", learner, data, et.Steps(steps))
    return fit(mlp() if model is None else model, phase, **options)


@settings(max_examples=4)
@given(st.integers(2, 7), st.sampled_from(["loop", "dispatch"]))
def test_micro_batches_equal_their_union(parts, executor):
    """Also where they do not divide the batch, and for the short last batch of an epoch."""
    rule = et.Gradient(cross_entropy)
    whole = after(et.Learner(rule, optax.sgd(0.5)), 4, executor=executor)
    split = after(et.Learner(rule, optax.sgd(0.5), accumulate=parts), 4, executor=executor)
    for a, b in zip(arrays(whole.model), arrays(split.model), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)
    for a, b in zip(whole.history, split.history, strict=True):
        if "train/loss" in a:
            assert a["train/loss"] == pytest.approx(b["train/loss"], abs=1e-6)
            assert a["train/accuracy"] == pytest.approx(b["train/accuracy"], abs=1e-6)


def test_accumulation_counts_optimizer_steps_once():
    schedule = optax.piecewise_constant_schedule(1.0, {3: 0.0})
    rule = et.Gradient(lambda w, batch, context: jnp.mean(batch[0]) * 0 + w)
    learner = et.Learner(rule, optax.sgd(schedule), accumulate=4)
    result = after(learner, 10, model=jnp.zeros(()))
    assert float(result.model) == pytest.approx(-3.0)


def test_accumulation_carries_what_the_forward_pass_moves():
    def loss(model, batch, context):
        seen = model["seen"] + len(batch[0])
        return jnp.mean((batch[0] - model["w"]) ** 2), {}, {**model, "seen": seen}

    model = {"w": jnp.zeros(2), "seen": jnp.int32(0)}
    learner = et.Learner(et.Gradient(loss), optax.sgd(0.1), accumulate=3)
    assert int(after(learner, 4, model=model).model["seen"]) == 100


def test_clipping_by_norm_and_by_value():
    rule = et.Gradient(lambda w, batch, context: jnp.dot(w, jnp.array([3.0, -4.0])))
    by_norm = after(et.Learner(rule, optax.sgd(1.0), clip_norm=0.5), 1, model=jnp.zeros(2))
    np.testing.assert_allclose(by_norm.model, [-0.3, 0.4], rtol=1e-6)
    assert by_norm.history[1]["train/update_norm"] == pytest.approx(5.0)
    by_value = after(et.Learner(rule, optax.sgd(1.0), clip_value=0.5), 1, model=jnp.zeros(2))
    np.testing.assert_allclose(by_value.model, [-0.5, 0.5])
    small = after(et.Learner(rule, optax.sgd(1.0), clip_norm=50.0), 1, model=jnp.zeros(2))
    np.testing.assert_allclose(small.model, [-3.0, 4.0], rtol=1e-6)


def test_ema_is_its_closed_form_and_is_used_on_request():
    rule = et.Gradient(lambda w, batch, context: w)  # the weight falls by 1 a step
    data = et.ArrayData(jnp.zeros(8), 4)

    def measure(model, batch, context):
        return {"weight": model}

    phase = et.Phase(
        "fit",
        et.Learner(rule, optax.sgd(1.0), ema=0.9),
        data,
        et.Steps(5),
        [
            et.Validation(data, measure, every=et.Steps(1), name="raw"),
            et.Validation(data, measure, every=et.Steps(1), name="averaged", ema=True),
        ],
        keep="ema",
    )
    result = fit(jnp.float32(0.0), phase)
    averages, average = [], 0.0
    for step in range(1, 6):
        average = 0.9 * average + 0.1 * -step
        averages.append(average)
    records = [r for r in result.history if "raw/weight" in r]
    assert [r["raw/weight"] for r in records] == [-1, -2, -3, -4, -5]
    np.testing.assert_allclose([r["averaged/weight"] for r in records], averages, rtol=1e-6)
    assert float(result.model) == pytest.approx(averages[-1])


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "complex64"])
def test_an_average_that_warms_up(dtype):
    """min(.9, (1 + n) / (10 + n)) against the recursion by hand."""
    rule = et.Gradient(lambda w, batch, context: jnp.real(w))  # the weight falls by 1 a step
    learner = et.Learner(rule, optax.sgd(1.0), ema=WarmingDecay(0.9))
    phase = et.Phase("fit", learner, et.ArrayData(jnp.zeros(8), 4), et.Steps(200), keep="ema")
    result = fit(jnp.zeros((), dtype), phase)
    average = 0.0
    for made in range(200):
        decay = min(0.9, (1 + made) / (10 + made))
        average = decay * average - (1 - decay) * (made + 1)
    assert result.model.dtype == dtype
    assert float(result.model.real) == pytest.approx(average, rel=5e-3)


@pytest.mark.parametrize(
    "ema", [lambda updates: 1.0, lambda updates: jnp.ones(2) / 2, lambda updates: jnp.nan]
)
def test_decays_that_are_none_are_refused(ema):
    with pytest.raises(et.ConfigurationError, match=r"first value is"):
        et.Learner(et.Gradient(lambda w, b, c: w), optax.sgd(1.0), ema=ema)
    with pytest.raises(et.ConfigurationError, match="decay"):
        WarmingDecay(1.0)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_the_average_of_weights_in_half_precision_moves(dtype, tmp_path):
    """Its small steps would be rounded away in half precision."""
    learner = et.Learner(et.Gradient(lambda w, b, c: (w - 1.0) ** 2), optax.sgd(0.5), ema=0.999)
    data = et.ArrayData(jnp.zeros(8), 4)
    measure = et.Validation(data, lambda w, b, c: {"w": w}, et.Steps(1000), ema=True)
    phase = et.Phase("fit", learner, data, et.Steps(1000), measure, keep="ema")
    start = jnp.zeros((), dtype)
    result = et.Trainer(start, phase, run=tmp_path / "a", progress=False).fit()
    assert result.model.dtype == dtype
    assert float(result.model) == pytest.approx(1 - 0.999**1000, rel=2**-8)
    assert result.metrics["valid/w"] == float(result.model)
    with Run.open(tmp_path / "a", lock=False) as run:
        assert restore_model(run, start) == result.model


def test_a_skipped_step_changes_nothing():
    """NaN at one step under `skip`: model, optimizer, average and statistics keep their bits."""

    def loss(model, batch, context):
        bad = jnp.where(context.step == 2, jnp.nan, 1.0)
        value = jnp.mean((batch[0] - model["w"]) ** 2) * bad
        return value, {}, {**model, "count": model["count"] + 1}

    model = {"w": jnp.ones(2), "count": jnp.int32(0)}
    seen = {}

    class Keep(et.Callback):
        def on_batch_end(self, event, metrics):
            seen[event.step] = event.model()

    learner = et.Learner(et.Gradient(loss), optax.adam(0.1), ema=0.5)
    data = et.ArrayData(blobs(100), 20, shuffle=False)
    phase = et.Phase("fit", learner, data, et.Steps(4), keep="ema")
    with pytest.warns(UserWarning, match="on_batch_end"):
        result = fit(model, phase, nonfinite="skip", callbacks=[Keep()])
    assert same(seen[3], seen[2])
    assert not same(seen[4], seen[3])
    assert [r["train/skipped"] for r in result.history if "train/skipped" in r] == [0, 0, 1, 1]


def test_only_nan_in_the_gradients_is_seen():
    def loss(w, batch, context):
        # sqrt has an infinite slope at 0, whose product with 0 is NaN; its value is fine.
        return jnp.mean(jnp.sqrt(w * 0.0 * jnp.mean(batch[0]))) + 1.0

    learner = et.Learner(et.Gradient(loss), optax.sgd(0.1))
    with pytest.raises(et.NonFiniteError, match=r"Phase 'fit', step 1, .*the updates"):
        after(learner, 3, model=jnp.ones(()))


def test_decay_mask_finds_biases_and_norms_by_structure():
    keys = jax.random.split(jax.random.key(0), 3)
    layers = eqx.nn.Sequential(
        [
            eqx.nn.Conv2d(3, 4, 3, key=keys[0]),
            eqx.nn.LayerNorm((4, 5, 5)),
            eqx.nn.Linear(4, 2, key=keys[1]),
        ]
    )
    mask = decay_mask(eqx.filter(layers, eqx.is_array))
    conv, norm, linear = mask.layers
    assert (conv.weight, conv.bias) == (True, False)
    assert (norm.weight, norm.bias) == (False, False)
    assert (linear.weight, linear.bias) == (True, False)

    class Net(nnx.Module):
        def __init__(self, rngs):
            self.a = nnx.Linear(2, 3, rngs=rngs)
            self.b = nnx.BatchNorm(3, rngs=rngs)

    mask = decay_mask(Net(nnx.Rngs(0)))
    assert (mask.a.kernel.get_value(), mask.a.bias.get_value()) == (True, False)
    assert mask.b.scale.get_value() is False

    still = et.Gradient(lambda m, b, c: 0.0 * jnp.sum(m.layers[2].weight))
    decay = optax.adamw(0.1, weight_decay=0.5, mask=decay_mask)
    data = et.ArrayData(jnp.zeros(4), 2)
    result = fit(layers, et.Phase("fit", et.Learner(still, decay), data, et.Steps(1)))
    np.testing.assert_allclose(
        result.model.layers[0].weight, 0.95 * layers.layers[0].weight, rtol=1e-5
    )
    assert same(result.model.layers[1], layers.layers[1])
    assert same(result.model.layers[2].bias, layers.layers[2].bias)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_half_precision_computes_in_half_and_keeps_master_weights(precision):
    dtypes = set()

    def loss(model, batch, context):
        dtypes.add((str(model.layers[0].weight.dtype), str(batch[0].dtype)))
        return cross_entropy(model, batch, context)

    learner = et.Learner(et.Gradient(loss), optax.adam(1e-2), precision=precision)
    result = after(learner, 200)
    assert dtypes == {(precision, precision)}
    assert {str(x.dtype) for x in arrays(result.model)} == {"float32"}
    reference = after(et.Learner(et.Gradient(cross_entropy), optax.adam(1e-2)), 200)
    for half, single in zip(result.history[1:-1], reference.history[1:-1], strict=True):
        assert half["train/loss"] == pytest.approx(single["train/loss"], abs=0.03)
    # Updates smaller than the spacing of half-precision numbers are not lost.
    tiny = et.Learner(et.Gradient(lambda w, b, c: jnp.sum(w)), optax.sgd(1e-5), precision=precision)
    moved = after(tiny, 10, model=jnp.ones(1))
    assert float(moved.model[0]) == pytest.approx(1 - 1e-4, abs=1e-6)


def test_float16_overflow_skips_the_step_is_counted_and_halves_the_scale():
    def loss(w, batch, context):
        # At step 1 the scaled gradient is beyond the range of float16, at the others it is not.
        size = jnp.where(context.step == 1, 8.0, 1e-3).astype(w.dtype)
        return jnp.sum(w * size)

    learner = et.Learner(et.Gradient(loss), optax.sgd(1.0), precision="float16")
    result = after(learner, 4, model=jnp.zeros(1))
    rows = [r for r in result.history if "train/loss_scale" in r]
    assert [r["train/loss_scale"] for r in rows] == [2.0**15, 2.0**14, 2.0**14, 2.0**14]
    assert [r["train/skipped"] for r in rows] == [0, 1, 1, 1]
    assert float(result.model[0]) == pytest.approx(-3e-3, rel=1e-2)


def test_float16_scaling_saves_gradients_that_would_vanish():
    rule = et.Gradient(lambda w, b, c: jnp.sum(w) * jnp.asarray(1e-4, w.dtype) ** 2)
    learner = et.Learner(rule, optax.sgd(1e6), precision="float16")
    moved = float(after(learner, 1, model=jnp.zeros(1)).model[0])
    # 1e-8 is below the smallest float16; the constant itself is computed in float16 here, so
    # what is left is what the scaling of the loss could not save.
    assert moved == 0.0

    def fine(w, b, c):
        small = jnp.asarray(2.0**-12, w.dtype)
        return jnp.sum(w * small) * small  # the gradient 2**-24 is the last subnormal

    scaled = after(et.Learner(et.Gradient(fine), optax.sgd(1.0), precision="float16"), 1,
                   model=jnp.zeros(1))  # fmt: skip
    assert float(scaled.model[0]) == pytest.approx(-(2.0**-24), rel=1e-3)


def test_metrics_of_the_learning_rate_follow_the_schedule():
    schedule = optax.linear_schedule(1.0, 0.0, 4)
    optimizer = optax.inject_hyperparams(optax.sgd)(learning_rate=schedule)
    result = after(et.Learner(et.Gradient(cross_entropy), optimizer), 4)
    rates = [r["train/learning_rate"] for r in result.history if "train/learning_rate" in r]
    np.testing.assert_allclose(rates, [1.0, 0.75, 0.5, 0.25], atol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"repeat": 0}, "repeat must be a whole number from 1"),
        ({"accumulate": 0}, "accumulate must be a whole number from 1"),
        ({"clip_norm": -1.0}, "clip_norm must be positive"),
        ({"ema": 1.0}, "decay in"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(et.ConfigurationError, match=message):
        et.Learner(et.Gradient(cross_entropy), optax.sgd(0.1), **options)
