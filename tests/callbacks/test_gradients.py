"""Norms of updates against `jax.grad` outside the trainer, and the alerts."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from tiny import X, Y

import etude as et
from etude.callbacks import GradientMonitor


def loss(model, batch, context):
    x, y = batch
    return jnp.mean((jax.vmap(model)(x)[:, 0] - y) ** 2)


def mlp():
    return eqx.nn.MLP(2, 1, 3, 1, key=jax.random.key(0))


def train(model, monitor, steps=5, loss=loss, **options):
    learner = et.Learner(et.Gradient(loss), optax.sgd(0.05), **options)
    one = et.Phase("fit", learner, et.ArrayData((X, Y), batch_size=4), et.Steps(steps))
    return et.Trainer(model, one, callbacks=[monitor], progress=False).fit()


def test_norms_are_those_of_the_gradient_before_clipping():
    history = train(mlp(), GradientMonitor(), clip_norm=0.1).history
    gradient = eqx.filter_grad(lambda m: loss(m, (X, Y), None))(mlp())

    def norm(tree):
        return np.sqrt(sum(float((leaf**2).sum()) for leaf in jax.tree.leaves(tree)))

    first = next(r for r in history if r.get("step") == 1)
    assert first["train/gradient_norm"] == pytest.approx(norm(gradient), rel=1e-5)
    for i, layer in enumerate(gradient.layers):
        assert first[f"train/gradient_norm/layers/{i}"] == pytest.approx(norm(layer), rel=1e-5)


def test_healthy_training_raises_no_alert():
    # The original read gradients after they were cleared, and warned of "vanishing" ones.
    monitor = GradientMonitor()
    train(mlp(), monitor)
    assert monitor.alerts == []


def test_an_exploding_norm_is_named_with_its_step_once():
    def explodes_at_three(model, batch, context):
        return loss(model, batch, context) * jnp.where(context.step >= 2, 1e6, 1.0)

    monitor = GradientMonitor(alert_high=1e4)
    with pytest.warns(UserWarning, match="step 3: gradient_norm.*explodes.*clip_norm") as caught:
        train(mlp(), monitor, loss=explodes_at_three, clip_norm=1e-3, steps=9)
    assert {(a["metric"], a["step"]) for a in monitor.alerts} == {
        ("gradient_norm", 3),
        ("gradient_norm/layers/0", 3),
        ("gradient_norm/layers/1", 3),
    }
    assert len(caught) == 3


def test_a_vanishing_module_is_told_from_one_that_learns():
    def without_the_last_layer(model, batch, context):
        return jnp.mean(jax.vmap(model.layers[0])(batch[0]) ** 2)

    monitor = GradientMonitor(every=4)
    with pytest.warns(UserWarning, match="layers/1 vanishes"):
        train(mlp(), monitor, loss=without_the_last_layer)
    (alert,) = monitor.alerts
    assert alert == {
        "phase": "fit",
        "metric": "gradient_norm/layers/1",
        "kind": "vanishes",
        "step": 4,
        "norm": 0.0,
    }


def test_each_learner_has_its_own_norms():
    from tiny import loss, model

    rules = {"a": lambda m: m["body"], "b": lambda m: m["head"]}
    learners = [
        et.Learner(et.Gradient(loss), optax.sgd(0.05), where=where, name=name)
        for name, where in rules.items()
    ]
    one = et.Phase("fit", learners, et.ArrayData((X, Y), batch_size=4), et.Steps(2))
    trainer = et.Trainer(model(), one, callbacks=[GradientMonitor()], progress=False)
    (first, *_) = [r for r in trainer.fit().history if "train/a/gradient_norm" in r]
    gradient = jax.grad(lambda m: loss(m, (X, Y), None)[0])(model())
    expected = float(jnp.linalg.norm(gradient["body"]))
    assert first["train/a/gradient_norm"] == pytest.approx(expected, rel=1e-5)
    assert "train/b/gradient_norm" in first


@pytest.mark.parametrize("bad", [{"every": 0}, {"alert_low": 20.0}])
def test_impossible_bounds_are_refused(bad):
    with pytest.raises(et.ConfigurationError, match="GradientMonitor"):
        GradientMonitor(**bad)
