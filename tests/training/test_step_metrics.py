"""Metrics of a step over micro-batches and turns: means, sums, counts and objects that merge."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from problems import fit

import etude as et
from etude.metrics import ROCAUC, Accuracy, ConfusionMatrix, Mean, PerClass, Sum

RNG = np.random.default_rng(0)
LENGTHS = np.array([9, 1, 7, 2, 8, 3, 1, 1, 5, 10])
TOKENS = (np.arange(10) < LENGTHS[:, None]).astype(np.float32)  # ragged: 47 of 100 count
X = RNG.normal(size=(10, 10)).astype(np.float32)
W = 0.3


def token_loss(model, batch, context):
    x, mask = batch
    squares = (x - model) ** 2
    count = mask.sum()
    value = (squares * mask).sum() / jnp.maximum(count, 1.0)
    return value, {"tokens": Sum.of(mask), "squares": Mean.of(squares, mask), "plain": count}


class Both(eqx.Module):
    """Two values of one object."""

    count: Sum
    total: Sum

    def merge(self, other):
        return Both(self.count.merge(other.count), self.total.merge(other.total))

    def compute(self):
        return {"count": self.count.compute(), "sum": self.total.compute()}


def trained(learner, steps=1, **options):
    data = et.ArrayData((X, TOKENS), 10, shuffle=False)
    return fit(jnp.float32(W), et.Phase("fit", learner, data, et.Steps(steps), **options))


def weight(batch):
    return batch[1].sum()


def row(result, step=1):
    return next(r for r in result.history if r["step"] == step and "train/loss" in r)


@pytest.mark.parametrize("parts", [1, 3, 4, 10])
def test_a_token_weighted_loss_has_the_update_of_the_whole_batch(parts):
    learner = et.Learner(et.Gradient(token_loss, weight), optax.sgd(1.0), accumulate=parts)
    result = trained(learner)
    count = TOKENS.sum()
    slope = (2 * (W - X) * TOKENS).sum() / count
    np.testing.assert_allclose(result.model, W - slope, rtol=1e-5)
    loss = ((X - W) ** 2 * TOKENS).sum() / count
    found = row(result)
    assert found["train/loss"] == pytest.approx(loss, rel=1e-5)
    assert found["train/squares"] == pytest.approx(loss, rel=1e-5)
    assert found["train/tokens"] == count, "a sum is a sum, whatever the number of parts"
    if parts > 1:
        unweighted = trained(et.Learner(et.Gradient(token_loss), optax.sgd(1.0), accumulate=parts))
        assert abs(float(unweighted.model) - (W - slope)) > 1e-3, "the weights matter here"


def test_a_micro_batch_without_tokens_counts_for_nothing():
    def loss(model, batch, context):
        x, mask = batch
        return ((x - model) ** 2 * mask).sum() / mask.sum()  # 0/0 where there is none

    mask = TOKENS.copy()
    mask[5:] = 0
    data = et.ArrayData((X, mask), 10, shuffle=False)
    learner = et.Learner(et.Gradient(loss, weight), optax.sgd(1.0), accumulate=2)
    result = fit(jnp.float32(W), et.Phase("fit", learner, data, et.Steps(1)))
    np.testing.assert_allclose(result.model, W - (2 * (W - X) * mask).sum() / mask.sum(), rtol=1e-5)


def test_a_weight_that_is_no_scalar_is_refused():
    for parts in (1, 2):
        rule = et.Gradient(token_loss, lambda batch: batch[1].sum(-1))
        with pytest.raises(et.ConfigurationError, match=r"weight of the learner .*real scalar"):
            trained(et.Learner(rule, optax.sgd(1.0), accumulate=parts))


def test_the_validation_of_a_weighted_loss_is_weighted_alike():
    valid = et.Validation(et.ArrayData((X, TOKENS), 3))
    learner = et.Learner(et.Gradient(token_loss, weight), optax.sgd(0.0))
    loss = ((X - W) ** 2 * TOKENS).sum() / TOKENS.sum()
    metrics = trained(learner, validation=valid).metrics
    assert metrics["valid/loss"] == pytest.approx(loss, rel=1e-5)
    assert metrics["valid/tokens"] == TOKENS.sum()


def test_objects_are_merged_over_turns_and_scalars_are_those_of_the_last():
    def loss(model, batch, context):
        return model * 1.0, {"last": model, "all": Mean.of(model), "turns": Sum.of(jnp.ones(()))}

    learner = et.Learner(et.Gradient(loss), optax.sgd(1.0), repeat=3, accumulate=2)
    found = row(trained(learner, steps=2), 2)
    turns = W - np.arange(3, 6)
    assert found["train/last"] == pytest.approx(turns[-1], rel=1e-5)
    assert found["train/all"] == pytest.approx(turns.mean(), rel=1e-5)
    assert found["train/turns"] == 6


@pytest.mark.parametrize("parts", [1, 4])
def test_objects_with_several_values(parts):
    logits, labels = RNG.normal(size=(10, 3)).astype(np.float32), np.arange(10) % 3

    def loss(model, batch, context):
        z, y = batch
        scores = z * model
        return scores.mean(), {
            "accuracy": Accuracy.empty().update(scores, y),
            "big": Both(Sum.of(scores > 1), Sum.of(scores)),
        }

    data = et.ArrayData((logits, labels), 10, shuffle=False)
    learner = et.Learner(et.Gradient(loss), optax.sgd(1.0), accumulate=parts)
    found = row(fit(jnp.float32(2.0), et.Phase("fit", learner, data, et.Steps(1))))
    assert found["train/accuracy"] == pytest.approx((logits.argmax(1) == labels).mean())
    assert found["train/big/count"] == (2 * logits > 1).sum()
    assert found["train/big/sum"] == pytest.approx(2 * logits.sum(), rel=1e-4)


def ids(x):
    return (x > 0).astype(jnp.int32)


class Opaque:
    def merge(self, other):
        return self

    def compute(self):
        return 1.0


@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize(
    ("metric", "match"),
    [
        (lambda x: ROCAUC.empty().update(x, jnp.arange(len(x)) % 2), r"'m' computes its value on"),
        (
            lambda x: ConfusionMatrix.empty(2).update(ids(x), ids(x)),
            r"ConfusionMatrix .*'m' computes",
        ),
        (lambda x: PerClass.empty(2).update(ids(x), ids(x)), r"'m/precision' has shape \(2,\)"),
        (lambda x: x, r"'m' has shape"),
        (lambda x: "much", "got 'm': 'much'"),
        (lambda x: jax.lax.complex(x.mean(), x.mean()), r"'m' is complex"),
        (lambda x: jax.random.key(0), r"'m' is of type key"),
        (lambda x: Opaque(), r"'m' is a Opaque.*no pytree"),
    ],
)
def test_what_cannot_be_a_metric_of_a_step_is_refused_by_name(metric, match, parts):
    def loss(model, batch, context):
        x = batch[0][:, 0]
        return model * x.mean(), {"m": metric(x)}

    learner = et.Learner(et.Gradient(loss), optax.sgd(1.0), accumulate=parts)
    with pytest.raises(et.ConfigurationError, match=match):
        trained(learner)


def test_accumulation_needs_a_common_first_axis():
    data = et.ArrayData((X, TOKENS), 10)
    learner = et.Learner(et.Gradient(lambda m, b, c: m * b[0].mean()), optax.sgd(1.0), accumulate=2)
    phase = et.Phase("fit", learner, data, et.Steps(1), augment=lambda b, key: (b[0], b[1][:3]))
    with pytest.raises(et.ConfigurationError, match="same for all of its arrays; got first axes"):
        fit(jnp.float32(W), phase)
