"""Schedules against their closed forms in NumPy, against torch, and at their ends."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, strategies as st

from etude.optim import (
    SchedulerConfig,
    create_cosine_scheduler,
    create_cosine_warmrestarts_scheduler,
    create_exponential_scheduler,
    create_noam_schedule,
    create_onecycle_scheduler,
    create_polynomial_scheduler,
    create_scheduler,
    create_step_scheduler,
    create_warmup_cosine_schedule,
    create_warmup_linear_schedule,
    get_scheduler,
    with_warmup,
)


def values(schedule, count):
    """Rates of the first updates, computed as in the loop: compiled, from a traced int32 step."""
    return np.asarray(jax.jit(jax.vmap(schedule))(jnp.arange(count, dtype=jnp.int32)))


# What torch 2.13.0 gives. Made in a fresh environment with `pip install torch==2.13.0 numpy`, by
# reading `optimizer.param_groups[0]["lr"]` before each `optimizer.step(); scheduler.step()`, as
# `test_torch_still_says_so` does again where torch is installed.
TORCH = {
    "cosine": [0.1, 0.096574579, 0.086819805, 0.072220754, 0.055, 0.037779246, 0.023180195,
               0.013425421, 0.01],
    "step": [0.1, 0.1, 0.1, 0.01, 0.01, 0.01, 0.001, 0.001, 0.001],
    "multistep": [0.1, 0.1, 0.05, 0.05, 0.05, 0.025, 0.025, 0.025, 0.025],
    "exponential": [0.1, 0.09, 0.081, 0.0729, 0.06561, 0.059049, 0.0531441, 0.04782969,
                    0.043046721],
    "polynomial": [0.1, 0.0765625, 0.05625, 0.0390625, 0.025, 0.0140625, 0.00625, 0.0015625, 0.0,
                   0.0],
    "linear": [0.1, 0.08875, 0.0775, 0.06625, 0.055, 0.04375, 0.0325, 0.02125, 0.01, 0.01],
    "cosine_restarts": [0.1, 0.0775, 0.0325, 0.1, 0.093971143, 0.0775, 0.055, 0.0325, 0.016028857,
                        0.1, 0.098466662, 0.093971143],
    "onecycle": [0.004, 0.052, 0.1, 0.095048463, 0.081174565, 0.061126202, 0.038874198,
                 0.018825835, 0.0049519368, 4e-07],
}  # fmt: skip

OURS = {
    "cosine": lambda: create_cosine_scheduler(0.1, 8, eta_min=0.01),
    "step": lambda: create_step_scheduler(0.1, 3),
    "multistep": lambda: create_scheduler("multistep", 0.1, milestones=(2, 5), gamma=0.5),
    "exponential": lambda: create_exponential_scheduler(0.1, 0.9),
    "polynomial": lambda: create_polynomial_scheduler(0.1, 8, min_lr=0.0),
    "linear": lambda: create_scheduler("linear", 0.1, 8, min_lr=0.01),
    "cosine_restarts": lambda: create_cosine_warmrestarts_scheduler(0.1, 3, eta_min=0.01),
    "onecycle": lambda: create_onecycle_scheduler(0.1, 10),
}


@pytest.mark.parametrize("name", TORCH)
def test_equals_torch(name):
    np.testing.assert_allclose(
        values(OURS[name](), len(TORCH[name])), TORCH[name], rtol=2e-5, atol=1e-8
    )


@pytest.mark.parametrize("name", TORCH)
def test_torch_still_says_so(name):
    torch = pytest.importorskip("torch")
    lrs = torch.optim.lr_scheduler
    make = {
        "cosine": lambda o: lrs.CosineAnnealingLR(o, 8, eta_min=0.01),
        "step": lambda o: lrs.StepLR(o, 3, 0.1),
        "multistep": lambda o: lrs.MultiStepLR(o, [2, 5], 0.5),
        "exponential": lambda o: lrs.ExponentialLR(o, 0.9),
        "polynomial": lambda o: lrs.PolynomialLR(o, 8, 2.0),
        "linear": lambda o: lrs.LinearLR(o, 1.0, 0.1, 8),
        "cosine_restarts": lambda o: lrs.CosineAnnealingWarmRestarts(o, 3, 2, eta_min=0.01),
        "onecycle": lambda o: lrs.OneCycleLR(
            o, 0.1, total_steps=10, pct_start=0.3, cycle_momentum=False
        ),
    }[name]
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    scheduler, rates = make(optimizer), []
    for _ in TORCH[name]:
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if len(rates) < len(TORCH[name]):
            scheduler.step()
    np.testing.assert_allclose(rates, TORCH[name], rtol=1e-6, atol=1e-12)


def test_polynomial_does_not_end_in_nan():
    """Once compiled, optax's own does, for 9 updates: what is left becomes -1e-8."""
    rates = values(create_scheduler("polynomial", 0.2, 9, power=1.5), 12)
    np.testing.assert_allclose(rates, 0.2 * np.clip(1 - np.arange(12) / 9, 0, 1) ** 1.5, rtol=1e-5)


def test_warmup_cosine_closed_form():
    steps, W, T, low = np.arange(40), 5, 30, 0.02
    progress = np.clip((steps - W) / (T - W), 0, 1)
    cosine = low + (1 - low) * 0.5 * (1 + np.cos(np.pi * progress))
    expected = np.where(steps < W, (steps + 1) / W, cosine)
    schedule = create_warmup_cosine_schedule(1.0, W, T, min_lr=low)
    np.testing.assert_allclose(values(schedule, 40), expected, rtol=1e-5, atol=1e-7)


def test_warmup_linear_closed_form():
    steps, W, T = np.arange(20), 4, 12
    expected = np.where(steps < W, (steps + 1) / W, np.clip(1 - (steps - W) / (T - W), 0, 1))
    schedule = create_warmup_linear_schedule(1.0, W, T)
    np.testing.assert_allclose(values(schedule, 20), expected, rtol=1e-6, atol=1e-7)


def test_noam_closed_form_and_its_first_two_steps_differ():
    d, W, t = 256, 4000, np.arange(1, 10_001.0)
    expected = d**-0.5 * np.minimum(t**-0.5, t * W**-1.5)
    rates = values(create_noam_schedule(d, W), 10_000)
    np.testing.assert_allclose(rates, expected, rtol=1e-5)
    assert rates[1] == pytest.approx(2 * rates[0])
    assert rates.argmax() == W - 1


def test_noam_of_the_configuration_peaks_at_the_learning_rate():
    schedule = SchedulerConfig(scheduler_type="noam", warmup_steps=10).build(3e-4)
    assert values(schedule, 100).max() == pytest.approx(3e-4)


def test_step_decay_never_stops():
    """An original stopped after 19 drops."""
    rates = values(create_step_scheduler(1.0, 1, gamma=0.5), 40)
    np.testing.assert_allclose(rates, 0.5 ** np.arange(40.0), rtol=1e-5)


def test_restarts_fall_on_the_exact_update():
    """A logarithm in float32 misses some of them."""
    schedule = create_cosine_warmrestarts_scheduler(1.0, 7, T_mult=3, eta_min=0.0)
    starts = 7 * (3 ** np.arange(12) - 1) // 2
    around = jnp.asarray(np.concatenate([starts, starts[1:] - 1]), jnp.int32)
    rates = np.asarray(jax.vmap(schedule)(around))
    np.testing.assert_array_equal(rates[:12], 1.0)
    assert rates[12:].max() < 0.06  # the last update of a cycle is near the minimum


def test_restarts_end_at_the_minimum():
    schedule = create_scheduler("cosine_restarts", 1.0, 10, cycle_length=4, min_lr=0.1)
    rates = values(schedule, 20)
    assert rates[4] == rates[8] == 1.0
    np.testing.assert_allclose(rates[10:], 0.1)


LENGTHS = {
    "constant": {}, "linear": {}, "cosine": {}, "polynomial": {"power": 1.5},
    "exponential": {"decay_rate": 0.7, "decay_steps": 3}, "step": {"step_size": 4},
    "multistep": {"milestones": (21, 25)}, "onecycle": {}, "noam": {},
    "cosine_restarts": {"cycle_length": 5},
}  # fmt: skip


@given(
    kind=st.sampled_from(sorted(LENGTHS)),
    warmup=st.integers(0, 20),
    decay=st.integers(8, 60),
    ratio=st.sampled_from([0.0, 0.05, 0.5, 1.0]),
)
def test_every_schedule_warms_up_falls_and_never_rises_again(kind, warmup, decay, ratio):
    bounded = kind not in ("constant", "noam")
    settings = LENGTHS[kind] | ({"min_lr_ratio": ratio} if bounded else {})
    warmup = max(warmup, 1) if kind == "noam" else warmup
    total, peak = warmup + decay, 0.2
    config = SchedulerConfig(scheduler_type=kind, warmup_steps=warmup, **settings)
    rates = values(config.build(peak, total), total + 40).astype(float)
    assert np.all(np.isfinite(rates))
    assert rates[0] > 0
    assert rates.max() <= peak * (1 + 1e-6)
    if warmup and kind != "noam":
        first = rates[warmup]
        np.testing.assert_allclose(
            rates[:warmup], first * np.arange(1, warmup + 1) / warmup, rtol=1e-5
        )
    after = rates[warmup:] if kind not in ("onecycle", "cosine_restarts") else rates[total:]
    if kind == "onecycle":
        after = rates[warmup + int(np.ceil(0.3 * decay)) :] if decay > 10 else rates[total:]
    assert np.all(np.diff(after) <= 1e-7)
    if bounded:
        assert rates[warmup:].min() >= ratio * peak * (1 - 1e-6) or kind == "onecycle"
    if kind in ("linear", "cosine", "polynomial", "onecycle", "cosine_restarts"):
        np.testing.assert_allclose(rates[total:], ratio * peak, rtol=1e-5, atol=1e-8)


def test_absolute_and_relative_minimum_agree():
    absolute = SchedulerConfig(scheduler_type="cosine", min_lr=0.02).build(0.2, 10)
    relative = SchedulerConfig(scheduler_type="cosine", min_lr_ratio=0.1).build(0.2, 10)
    np.testing.assert_array_equal(values(absolute, 12), values(relative, 12))


def test_milestones_count_from_the_start_of_training():
    config = SchedulerConfig(scheduler_type="multistep", warmup_steps=2, milestones=(4,))
    np.testing.assert_allclose(values(config.build(1.0), 6), [0.5, 1, 1, 1, 0.1, 0.1], rtol=1e-6)


def test_names_of_the_transformer_factory():
    np.testing.assert_array_equal(
        values(get_scheduler("warmup_cosine", 1.0, 9, warmup_steps=3), 12),
        values(get_scheduler("cosine", 1.0, 9, warmup_steps=3), 12),
    )


def test_the_name_may_come_first_or_second():
    wanted = values(create_scheduler("polynomial", 0.5, 9, power=3.0), 12)
    np.testing.assert_array_equal(
        values(get_scheduler("polynomial", 0.5, 9, power=3.0), 12), wanted
    )
    np.testing.assert_array_equal(
        values(get_scheduler(0.5, "polynomial", 9, power=3.0), 12), wanted
    )
    named = get_scheduler(0.5, scheduler_type="polynomial", total_steps=9, power=3.0)
    np.testing.assert_array_equal(values(named, 12), wanted)
    for two in [("cosine", "step"), (0.5, 0.1)]:
        with pytest.raises(ValueError, match="in either order; got"):
            get_scheduler(*two)


def test_warmup_wraps_any_optax_schedule():
    schedule = with_warmup(optax.linear_schedule(1.0, 0.0, 4), 2)
    np.testing.assert_allclose(values(schedule, 8), [0.5, 1, 1, 0.75, 0.5, 0.25, 0, 0])


@pytest.mark.parametrize(
    ("fields", "cure"),
    [
        ({"scheduler_type": "cosin"}, "did you mean 'cosine'"),
        ({"scheduler_type": "cosine", "warmup_step": 3}, "did you mean 'warmup_steps'"),
        ({"scheduler_type": "cosine", "eta_min": 0.1}, "write min_lr"),
        ({"scheduler_type": "cosine", "min_lr": 0.1, "min_lr_ratio": 0.1}, "keep one"),
        ({"scheduler_type": "cosine", "gamma": 0.1}, "cosine does not take gamma"),
        ({"scheduler_type": "cosine", "total_steps": 9, "cycle_length": 9}, "keep one"),
        ({"scheduler_type": "cosine", "total_steps": 9, "warmup_steps": 9}, "leaves nothing"),
        ({"scheduler_type": "constant", "min_lr": 0.1}, "constant does not take min_lr"),
        ({"scheduler_type": "multistep"}, "needs milestones"),
        ({"scheduler_type": "multistep", "milestones": (5, 2)}, "must rise"),
        ({"scheduler_type": "multistep", "milestones": (2,), "warmup_steps": 3}, "warm-up of 3"),
        ({"scheduler_type": "cosine_restarts"}, "needs cycle_length"),
        ({"scheduler_type": "noam"}, "set warmup_steps"),
        ({"scheduler_type": "step", "gamma": 1.5}, "less than 1"),
        (
            {"scheduler_type": "onecycle", "min_lr": 0.1, "final_div_factor": 10},
            "final_div_factor",
        ),
    ],
)
def test_refuses_with_the_cure(fields, cure):
    with pytest.raises(ValueError, match=cure):
        SchedulerConfig(**fields)


@pytest.mark.parametrize(
    ("fields", "arguments", "cure"),
    [
        ({"scheduler_type": "linear"}, (0.1,), "set total_steps"),
        ({"scheduler_type": "linear", "warmup_steps": 10}, (0.1, 10), "shorten the warm-up"),
        ({"scheduler_type": "cosine", "min_lr": 0.2}, (0.1, 10), "lies above learning_rate"),
        ({"scheduler_type": "onecycle"}, (0.1, 3), "too short"),
    ],
)
def test_build_refuses_with_the_cure(fields, arguments, cure):
    with pytest.raises(ValueError, match=cure):
        SchedulerConfig(**fields).build(*arguments)
