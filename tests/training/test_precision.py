"""Half precision casts parameters and inputs, and nothing else; what is reported is never half."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from problems import fit

import etude as et

HALVES = ("bfloat16", "float16")


def near_thousand(samples: int = 64):
    """Ones, and targets whose differences half precision cannot hold; their mean in float64."""
    y = 1000 + np.random.default_rng(0).random(samples).astype(np.float32)
    return (np.ones(samples, np.float32), y), float(y.astype(np.float64).mean())


def train_losses(result):
    return [r["train/loss"] for r in result.history if "train/loss" in r]


@pytest.mark.parametrize("precision", HALVES)
def test_targets_near_a_thousand_are_fitted(precision):
    def loss(w, batch, context):
        x, y = batch
        # Under strict promotion a user says in which type a difference is computed.
        return jnp.mean(((w * x).astype(y.dtype) - (y - 1000)) ** 2)

    (x, y), mean = near_thousand()
    data = et.ArrayData((x, y), len(x))
    learner = et.Learner(et.Gradient(loss), optax.sgd(0.2), precision=precision)
    phase = et.Phase("fit", learner, data, et.Steps(60), et.Validation(data, every=et.Steps(60)))
    result = fit(jnp.float32(0), phase)
    # The gradient is zero where the half-precision weight is as near to the mean as it can be.
    spacing = float(jnp.finfo(precision).eps) / 2
    found = float(result.model)
    assert abs(1000 + found - mean) < spacing
    truth = np.mean((np.float64(found) - (y.astype(np.float64) - 1000)) ** 2)
    assert result.metrics["valid/loss"] == pytest.approx(truth, rel=1e-5)
    assert et.evaluate(result.model, data, loss)["loss"] == pytest.approx(truth, rel=1e-5)
    residual = np.mean((y.astype(np.float64) - 1000) ** 2)
    assert train_losses(result)[0] == pytest.approx(residual, rel=1e-5)
    assert train_losses(result)[-1] == pytest.approx(truth, abs=1e-4)


@pytest.mark.parametrize("precision", HALVES)
@pytest.mark.parametrize("accumulate", [1, 3])
def test_a_loss_of_predictions_near_a_thousand_is_right(precision, accumulate):
    """The loss itself used to be 0.0, because the targets were rounded to the prediction."""

    def loss(w, batch, context):
        x, y = batch
        return jnp.mean(((w * x).astype(y.dtype) - y) ** 2)

    (x, y), _ = near_thousand()
    options = {"precision": precision, "accumulate": accumulate}
    learner = et.Learner(et.Gradient(loss), optax.sgd(1e-6), **options)
    phase = et.Phase("fit", learner, et.ArrayData((x, y), len(x)), et.Steps(1))
    truth = np.mean((1000 - y.astype(np.float64)) ** 2)
    assert train_losses(fit(jnp.float32(1000), phase)) == [pytest.approx(truth, rel=1e-5)]


X, Y = jnp.ones((4, 2)), jnp.zeros(4)


@pytest.mark.parametrize(
    ("arrays", "inputs", "cast"),
    [
        ((X, Y), None, ["[0]"]),
        ([X, Y], None, ["[0]"]),
        (({"a": X, "b": Y}, Y), None, ["[0]['a']", "[0]['b']"]),
        ((jnp.arange(4), Y), None, []),
        (X, None, []),
        (X, lambda batch: batch, [""]),
        ({"x": X, "y": Y}, None, []),
        ({"x": X, "y": Y}, lambda batch: batch["x"], ["['x']"]),
        ({"x": X, "y": Y, "z": Y}, lambda b: (b["x"], b["z"]), ["['x']", "['z']"]),
        ((X, Y), lambda batch: batch[1], ["[1]"]),
    ],
)
def test_only_the_inputs_of_a_batch_are_cast(arrays, inputs, cast):
    found = set()

    def loss(w, batch, context):
        assert w.dtype == jnp.bfloat16
        for path, leaf in jax.tree_util.tree_leaves_with_path(batch):
            if leaf.dtype == jnp.bfloat16:
                found.add(jax.tree_util.keystr(path))
            else:
                assert leaf.dtype in (jnp.float32, jnp.int32)
        return jnp.sum(w)

    learner = et.Learner(
        et.Gradient(loss), optax.sgd(0.1), precision="bfloat16", inputs=inputs, accumulate=2
    )
    plan = et.Plan.of(et.Phase("fit", learner, et.ArrayData(arrays, 4), et.Steps(1)), jnp.ones(2))
    jax.eval_shape(lambda s: et.train_step(plan, s, arrays), et.init_state(plan, jnp.ones(2)))
    assert found == set(cast)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (lambda batch: batch["image"], "`inputs` fails: KeyError: 'image'"),
        (lambda batch: None, "`inputs` selects nothing"),
    ],
)
def test_inputs_that_are_not_in_the_batch_are_refused_before_training(inputs, message):
    learner = et.Learner(et.Gradient(lambda w, b, c: w), optax.sgd(0.1), inputs=inputs)
    phase = et.Phase("fit", learner, et.ArrayData({"x": X}, 2), et.Steps(1))
    with pytest.raises(et.ConfigurationError, match=message):
        et.Trainer(jnp.zeros(()), phase, progress=False)


def test_double_precision_is_cast_and_stays_stored():
    def loss(model, batch, context):
        assert model["w"].dtype == model["v"].dtype == batch[0].dtype == jnp.float16
        assert (model["z"].dtype, batch[1].dtype) == (jnp.complex128, jnp.float64)
        return jnp.mean((batch[0] @ model["w"]).astype(jnp.float64) - batch[1])

    with jax.enable_x64(True):
        model = {"w": jnp.ones(2, float), "v": jnp.ones(2, jnp.float32), "z": jnp.ones(2, complex)}
        learner = et.Learner(
            et.Gradient(loss), optax.sgd(0.5), lambda m: m["w"], precision="float16"
        )
        data = et.ArrayData((np.ones((4, 2)), np.zeros(4)), 4)
        result = fit(model, et.Phase("fit", learner, data, et.Steps(1)))
        assert {x.dtype.name for x in result.model.values()} == {"float32", "float64", "complex128"}
        np.testing.assert_allclose(result.model["w"], [0.5, 0.5])


def test_metrics_in_half_precision_are_averaged_in_more():
    """The mean of four times 256 and three times 260, 257.714, is no number of bfloat16."""

    def loss(w, batch, context):
        value = jnp.mean(batch[0]).astype(jnp.bfloat16)
        return jnp.sum(w), {"value": value}

    values = np.array([256.0] * 4 + [260.0] * 3, np.float32)
    data = et.ArrayData((values,), 7, shuffle=False)
    halves = et.ArrayData((values,), 4)
    learner = et.Learner(et.Gradient(loss), optax.sgd(0.1), precision="bfloat16", accumulate=2)
    phase = et.Phase("fit", learner, data, et.Steps(1), et.Validation(halves))
    result = fit(jnp.ones(1), phase)
    truth = values.astype(np.float64).mean()
    row = next(r for r in result.history if "train/value" in r)
    assert row["train/value"] == pytest.approx(truth, rel=1e-7)
    assert result.metrics["valid/value"] == pytest.approx(truth, rel=1e-7)
    assert et.evaluate(jnp.ones(1), halves, loss)["value"] == pytest.approx(truth, rel=1e-7)


def test_complex_metrics_are_refused():
    learner = et.Learner(
        et.Gradient(lambda w, b, c: (w, {"phase": jax.lax.complex(w, w)})), optax.sgd(0.1)
    )
    phase = et.Phase("fit", learner, et.ArrayData(X, 2), et.Steps(1))
    with pytest.raises(et.ConfigurationError, match="'phase' is complex"):
        et.Trainer(jnp.zeros(()), phase, progress=False)
    with pytest.raises(et.RuleError, match="'phase' is complex"):
        et.evaluate(jnp.zeros(()), phase.data, lambda w, b, c: {"phase": jax.lax.complex(w, w)})
