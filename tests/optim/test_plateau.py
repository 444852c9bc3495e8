"""A rate that falls on a plateau: of the loss by default, of any metric that a learner names."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import etude as et
from etude.optim import (
    ReduceOnPlateau,
    SchedulerConfig,
    create_plateau_scheduler,
    create_scheduler,
    create_sgd_optimizer,
)

LOSSES = {"falls": lambda step: 1 / (1 + step), "stands": lambda step: 1.0 + 0 * step}
ACCURACIES = {"rises": lambda step: step / 100, "stands": lambda step: 0.5 + 0 * step}


def rates(schedule, values):
    """The rate after each update that is told a value."""
    optimizer, w = create_sgd_optimizer(schedule), jnp.ones(2)

    def body(state, value):
        _, state = optimizer.update(w, state, w, value=value)
        return state, state.hyperparams["learning_rate"]

    return jax.lax.scan(body, optimizer.init(w), jnp.asarray(values, jnp.float32))[1]


def train(schedule, loss="stands", accuracy="stands", steps=60, **options):
    """The rates of a training whose loss and accuracy go as they are told."""

    def rule(trainable, rest, batch, context):
        step = context.step.astype(jnp.float32)
        metrics = {"loss": LOSSES[loss](step), "accuracy": ACCURACIES[accuracy](step)}
        return et.Proposal(jnp.zeros(()), metrics)

    learner = et.Learner(rule, create_sgd_optimizer(schedule), **options)
    phase = et.Phase("fit", learner, et.ArrayData(jnp.zeros(4), 4), et.Steps(steps))
    history = et.Trainer(jnp.zeros(()), phase, progress=False).fit().history
    return [r["train/learning_rate"] for r in history if "train/learning_rate" in r]


@pytest.mark.parametrize(
    "make",
    [
        create_plateau_scheduler,
        lambda peak: create_scheduler("plateau", peak),
        lambda peak: SchedulerConfig(scheduler_type="plateau").build(peak),
    ],
    ids=["create_plateau_scheduler", "create_scheduler", "SchedulerConfig"],
)
def test_the_rate_stays_while_the_loss_falls(make):
    """As they come, at their defaults: 60 steps of a loss that falls leave the rate as it is."""
    np.testing.assert_allclose(rates(make(0.1), LOSSES["falls"](np.arange(60))), 0.1, rtol=1e-6)


def test_a_learner_tells_its_loss():
    np.testing.assert_allclose(train(create_plateau_scheduler(0.1), "falls"), 0.1, rtol=1e-6)
    # The first look is the best; ten without improvement follow it, twice.
    fallen = np.repeat([0.1, 0.01, 0.001], [11, 10, 4])
    np.testing.assert_allclose(train(create_plateau_scheduler(0.1), steps=25), fallen, rtol=1e-5)


def test_a_learner_tells_the_metric_that_it_watches():
    def schedule():
        return create_plateau_scheduler(0.1, mode="max")

    used = train(schedule(), accuracy="rises", watch="accuracy")
    np.testing.assert_allclose(used, 0.1, rtol=1e-6)
    used = train(schedule(), loss="falls", steps=25, watch="accuracy")
    np.testing.assert_allclose(used, np.repeat([0.1, 0.01, 0.001], [11, 10, 4]), rtol=1e-5)


def test_a_metric_that_is_not_reported_is_refused_before_training():
    with pytest.raises(et.ConfigurationError, match=r"watches 'acuracy'.*Did you mean 'accuracy'"):
        train(create_plateau_scheduler(0.1, mode="max"), watch="acuracy")


def test_an_optimizer_that_takes_no_value_cannot_be_told_one():
    for optimizer in (None, optax.scale(-0.1)):
        with pytest.raises(et.ConfigurationError, match="takes no value"):
            et.Learner(lambda *_: et.Proposal(), optimizer, watch="accuracy")


@pytest.mark.parametrize("values", [[np.nan, 3, 2, 1, 0.5, 0.2], [3, np.nan, 2, np.nan, 1, 0.5]])
def test_nan_is_no_improvement_and_does_not_disable_the_schedule(values):
    schedule = ReduceOnPlateau(1.0, 0.0, "min", factor=0.5, patience=2)
    np.testing.assert_array_equal(rates(schedule, [*values, 0.1]), 1.0)
    assert rates(schedule, [*values, np.nan, np.nan, 0.1])[-1] == 0.5
