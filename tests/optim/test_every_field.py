"""Every field of an optimizer and of a schedule changes what they compute."""

import jax
import jax.numpy as jnp
import pytest

from etude.optim import OptimizerConfig, SchedulerConfig
from fields import Change, check_field, fields_of

WEIGHTS = jnp.array([[1.0, -2.0], [0.5, 3.0]])


def weights(config):
    """The weights after a few updates of a quadratic."""
    optimizer, weights = config.build(), WEIGHTS
    state = optimizer.init(weights)
    for _ in range(3):
        updates, state = optimizer.update(weights, state, weights)
        weights = weights + updates
    return weights.tolist()


def rates(config):
    """The rates of a run of 24 updates, and of some behind its end."""
    return jax.vmap(config.build(0.01, total_steps=24))(jnp.arange(40)).tolist()


def watching_rates(config):
    """The rates after updates that are told a value which improves a little, then stands still."""
    schedule = config.build(0.01)
    values = 1 - 0.01 * jnp.minimum(jnp.arange(40.0), 6)

    def told(state, value):
        state = schedule.update(state, value=value)
        return state, schedule(state)

    return jax.lax.scan(told, schedule.init(), values)[1].tolist()


def label(config):
    """That it gets into the run is tested with `TrainingConfig`."""
    return config.model_dump()["name"]


ADAMW = {"optimizer_type": "adamw", "learning_rate": 0.1}
SGD = {"optimizer_type": "sgd", "learning_rate": 0.1}
OPTIMIZER = {
    "name": Change("a", "b", label, ADAMW),
    "optimizer_type": Change("adamw", "lion", weights, ADAMW),
    "learning_rate": Change(0.1, 0.2, weights, ADAMW),
    "weight_decay": Change(0.1, 0.2, weights, ADAMW),
    "beta1": Change(0.5, 0.8, weights, ADAMW),
    "beta2": Change(0.5, 0.8, weights, ADAMW),
    "eps": Change(1e-8, 1e-1, weights, ADAMW),
    "momentum": Change(0.0, 0.9, weights, SGD),
    "nesterov": Change(False, True, weights, SGD | {"momentum": 0.9}),
    "gradient_clip_norm": Change(1.0, 2.0, weights, SGD),
    "gradient_clip_value": Change(1.0, 2.0, weights, SGD),
}


def of(scheduler_type, **fields):
    return {"scheduler_type": scheduler_type, **fields}


PLATEAU = of("plateau", patience=2)
SCHEDULER = {
    "name": Change("a", "b", label, of("linear")),
    "scheduler_type": Change("linear", "cosine", rates),
    "warmup_steps": Change(0, 5, rates, of("linear")),
    "min_lr": Change(0.0, 0.005, rates, of("linear")),
    "min_lr_ratio": Change(0.0, 0.5, rates, of("linear")),
    "total_steps": Change(10, 20, rates, of("linear")),
    "cycle_length": Change(10, 20, rates, of("cosine")),
    "cycle_mult": Change(1, 2, rates, of("cosine_restarts", cycle_length=5)),
    "decay_rate": Change(0.5, 0.9, rates, of("exponential", decay_steps=10)),
    "decay_steps": Change(10, 20, rates, of("exponential")),
    "step_size": Change(10, 20, rates, of("step")),
    "gamma": Change(0.1, 0.5, rates, of("step", step_size=10)),
    "milestones": Change((5, 10), (5, 15), rates, of("multistep")),
    "power": Change(1.0, 2.0, rates, of("polynomial")),
    "pct_start": Change(0.3, 0.5, rates, of("onecycle")),
    "div_factor": Change(5.0, 25.0, rates, of("onecycle")),
    "final_div_factor": Change(5.0, 1e4, rates, of("onecycle")),
    "mode": Change("min", "max", watching_rates, PLATEAU),
    "factor": Change(0.1, 0.5, watching_rates, PLATEAU),
    "patience": Change(2, 4, watching_rates, of("plateau")),
    "threshold": Change(1e-4, 0.5, watching_rates, PLATEAU),
    "cooldown": Change(0, 5, watching_rates, PLATEAU),
    "window": Change(1, 3, watching_rates, PLATEAU),
}


@pytest.mark.parametrize("field", fields_of(OptimizerConfig, OPTIMIZER))
def test_every_field_of_an_optimizer_changes_something(field):
    check_field(OptimizerConfig, field, OPTIMIZER)


@pytest.mark.parametrize("field", fields_of(SchedulerConfig, SCHEDULER))
def test_every_field_of_a_schedule_changes_something(field):
    check_field(SchedulerConfig, field, SCHEDULER)
