"""Settings that would be ignored, or give a rate of NaN, are refused by name."""

import jax.numpy as jnp
import jaxtyping
import numpy as np
import optax
import pytest

from etude.optim import (
    OptimizerConfig,
    ReduceOnPlateau,
    SchedulerConfig,
    create_noam_schedule,
    create_optimizer,
    decay_mask,
    get_scheduler,
)


@pytest.fixture(autouse=True)
def unchecked():
    """As users have it: annotations are not checked at run time."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.mark.parametrize("name", ["adan", "ademamix", "lamb", "lars", "muon", "sgd"])
def test_a_mask_without_a_decay_is_refused(name):
    with pytest.raises(ValueError, match=f"{name} has no weight decay here"):
        create_optimizer(name, mask=decay_mask)
    with pytest.raises(ValueError, match="adamw has no weight decay here"):
        create_optimizer("adamw", mask=decay_mask, weight_decay=0.0)
    create_optimizer("adamw", mask=decay_mask)  # optax's own decay
    create_optimizer(name, mask=decay_mask, weight_decay=0.1)


@pytest.mark.parametrize("kind", ["linear", "step"])
@pytest.mark.parametrize("total", [True, 2.5, float("nan"), float("inf"), "10", 0, -3])
def test_the_length_of_a_run_is_a_whole_number(kind, total):
    with pytest.raises(ValueError, match=r"got total_steps=.*expected a whole number"):
        SchedulerConfig(scheduler_type=kind).build(0.1, total)


def test_a_length_of_numpy_counts():
    schedule = SchedulerConfig(scheduler_type="linear").build(1.0, np.int64(4))
    assert schedule(1) == 0.75


@pytest.mark.parametrize("rate", [True, float("nan"), float("inf"), "0.1", 0.0])
def test_a_rate_is_a_number_above_zero(rate):
    with pytest.raises(ValueError, match="got learning_rate="):
        SchedulerConfig(scheduler_type="constant").build(rate)


@pytest.mark.parametrize(
    "wrong",
    [
        *({"peak": v} for v in (0.0, -1.0, True, float("nan"))),
        *({"floor": v} for v in (0.2, -1.0)),
        *({"factor": v} for v in (0, 1.0, float("nan"))),
        *({"patience": v} for v in (0, 2.5, True, float("nan"))),
        *({"window": v} for v in (0, 2.5)),
        *({"cooldown": v} for v in (-1, 1.5)),
        *({"threshold": v} for v in (0.0, float("nan"))),
    ],
)
def test_a_plateau_that_would_never_fall_is_refused(wrong):
    (name,) = wrong
    with pytest.raises(ValueError, match=f"ReduceOnPlateau: got {name}="):
        ReduceOnPlateau(**({"peak": 0.1, "floor": 0.0, "mode": "min"} | wrong))


def test_two_rates_are_refused():
    with pytest.raises(ValueError, match=r"two learning rates, 1\.0 and learning_rate=2\.0"):
        get_scheduler(1.0, learning_rate=2.0)


@pytest.mark.parametrize(
    "wrong", [{"d_model": 0}, {"d_model": -1}, {"d_model": True}, {"warmup_steps": 0}, {"scale": 0}]
)
def test_the_schedule_of_the_transformer_has_sizes(wrong):
    with pytest.raises(ValueError, match=f"create_noam_schedule: got {next(iter(wrong))}="):
        create_noam_schedule(**wrong)


def test_a_milestone_at_the_end_of_the_warm_up_is_refused():
    """The warm-up would rise to the rate behind the drop, and never reach the full one."""
    with pytest.raises(ValueError, match="milestone 5 does not lie behind the warm-up of 5"):
        SchedulerConfig(scheduler_type="multistep", milestones=(5,), warmup_steps=5)


@pytest.mark.parametrize(("dtype", "rate"), [(jnp.float16, 1e-8), (jnp.bfloat16, 0.1004)])
def test_a_rate_is_not_rounded_to_half_precision(dtype, rate):
    optimizer = OptimizerConfig(optimizer_type="sgd", learning_rate=rate).build()
    gradient = jnp.full(1, 1000, dtype)
    step, _ = optimizer.update(gradient, optimizer.init(gradient), gradient)
    assert step.dtype == dtype
    assert step[0] == jnp.asarray(-1000 * rate, dtype)
    plain = optax.apply_updates(gradient, step)
    assert plain.dtype == dtype
