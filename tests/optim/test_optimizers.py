"""Optimizers against closed forms and optax, in a compiled loop under strict promotion."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from etude.optim import (
    OptimizerConfig,
    SchedulerConfig,
    create_adamw_optimizer,
    create_optimizer,
    create_plateau_scheduler,
    create_rmsprop_optimizer,
    create_sgd_optimizer,
    decay_mask,
)
from etude.optim.registry import CATALOGUE


def loss(params):
    return sum(
        jnp.sum(jnp.square(leaf.astype(jnp.float32) - 0.3)) for leaf in jax.tree.leaves(params)
    )


def train(optimizer, params, steps):
    """Parameters, and the rate that the state shows after each update, from a compiled loop."""

    def body(carry, _):
        params, state = carry
        updates, state = optimizer.update(jax.grad(loss)(params), state, params)
        return (optax.apply_updates(params, updates), state), state.hyperparams["learning_rate"]

    carry = (params, optimizer.init(params))
    (params, _), rates = jax.jit(lambda c: jax.lax.scan(body, c, None, length=steps))(carry)
    return params, rates


PARAMS = {"w": jnp.array([[1.0, -2.0], [0.5, 3.0], [0.0, 1.0]]), "b": jnp.array([0.1, -0.2])}


@pytest.mark.parametrize("name", sorted(CATALOGUE))
def test_every_optimizer_descends_in_a_compiled_loop(name):
    rate = 1e-2 if name != "adadelta" else 5.0
    schedule = SchedulerConfig(scheduler_type="linear").build(rate, 1000)
    optimizer = OptimizerConfig(optimizer_type=name, learning_rate=rate).build(schedule)
    params, rates = train(optimizer, PARAMS, 30)
    assert loss(params) < loss(PARAMS)
    np.testing.assert_allclose(rates, rate * (1 - np.arange(30) / 1000), rtol=1e-5)


@pytest.mark.parametrize("name", ["adamw", "sgd", "adafactor", "muon"])
def test_half_precision_and_mixed_leaves_keep_their_dtype(name):
    params = {"w": PARAMS["w"].astype(jnp.bfloat16), "b": PARAMS["b"]}
    config = OptimizerConfig(
        optimizer_type=name, learning_rate=1e-2, weight_decay=1e-3, gradient_clip_norm=1.0
    )
    trained, rates = train(config.build(), params, 3)
    assert trained["w"].dtype == jnp.bfloat16
    assert trained["b"].dtype == jnp.float32
    np.testing.assert_allclose(rates, 1e-2, rtol=1e-6)  # the monitor reads float32


@pytest.mark.parametrize(
    ("config", "direct"),
    [
        (
            OptimizerConfig(optimizer_type="adamw", learning_rate=0.1, weight_decay=0.2, beta2=0.9),
            lambda: optax.adamw(0.1, b2=0.9, weight_decay=0.2),
        ),
        (
            OptimizerConfig(optimizer_type="lion", learning_rate=0.1, beta1=0.8),
            lambda: optax.lion(0.1, b1=0.8),
        ),
        (
            OptimizerConfig(
                optimizer_type="sgd", learning_rate=0.1, momentum=0.9, nesterov=True,
            ),
            lambda: optax.sgd(0.1, momentum=0.9, nesterov=True),
        ),
        (
            OptimizerConfig(
                optimizer_type="rmsprop", learning_rate=0.01, beta2=0.7, momentum=0.5, eps=1e-3
            ),
            lambda: optax.rmsprop(0.01, decay=0.7, momentum=0.5, eps=1e-3),
        ),
        (
            OptimizerConfig(optimizer_type="muon", learning_rate=0.1, momentum=0.8),
            lambda: optax.contrib.muon(0.1, beta=0.8),
        ),
        (
            OptimizerConfig(optimizer_type="adafactor", learning_rate=0.1, momentum=0.5),
            lambda: optax.adafactor(0.1, momentum=0.5),
        ),
    ],
)  # fmt: skip
def test_equals_optax_at_a_constant_rate(config, direct):
    ours, _ = train(config.build(), PARAMS, 5)
    with jax.numpy_dtype_promotion("standard"):
        theirs, _ = train(optax.inject_hyperparams(lambda learning_rate: direct())(0.1), PARAMS, 5)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-6), ours, theirs)


def one_update(config, gradient, weight, **arguments):
    optimizer = config.build(**arguments)
    return optimizer.update(gradient, optimizer.init(weight), weight)[0]


def adam_direction(gradient, eps=1e-8):
    return gradient / (np.abs(gradient) + eps)  # the first step, bias corrected


def test_adamw_first_update_closed_form():
    g, w = np.array([0.5, -2.0, 1e-3]), np.array([1.0, 2.0, -3.0])
    config = OptimizerConfig(optimizer_type="adamw", learning_rate=0.1, weight_decay=0.3)
    update = one_update(config, jnp.asarray(g, jnp.float32), jnp.asarray(w, jnp.float32))
    np.testing.assert_allclose(update, -0.1 * (adam_direction(g) + 0.3 * w), rtol=1e-4)


@pytest.mark.parametrize("name", ["sgd", "rmsprop", "radam", "adagrad", "adafactor"])
def test_added_weight_decay_is_decoupled(name):
    """With a zero gradient a weight loses exactly rate * decay * itself, whatever came before."""
    config = OptimizerConfig(optimizer_type=name, learning_rate=0.1, weight_decay=0.3)
    w = jnp.array([1.0, -2.0])
    update = one_update(config, jnp.zeros(2), w)
    np.testing.assert_allclose(update, -0.03 * w, rtol=1e-5)


@pytest.mark.parametrize("name", ["adamw", "sgd", "lion", "muon"])
def test_masked_leaves_do_not_decay(name):
    params = {"weight": jnp.ones((2, 2)), "bias": jnp.ones(2)}
    config = OptimizerConfig(optimizer_type=name, learning_rate=0.1, weight_decay=0.3)
    update = one_update(config, jax.tree.map(jnp.zeros_like, params), params, mask=decay_mask)
    np.testing.assert_array_equal(update["bias"], 0.0)
    np.testing.assert_allclose(update["weight"], -0.03, rtol=1e-5)


def test_decay_mask_knows_norm_layers_that_have_only_a_number():
    """By name alone the scale of a normalisation layer at `layers[1].weight` would decay."""
    params = {"layers": [{"weight": jnp.ones((4, 3, 3))}, {"weight": jnp.ones(4)}],
              "conv": {"bias": jnp.ones((4, 1))}}  # fmt: skip
    assert decay_mask(params) == {
        "layers": [{"weight": True}, {"weight": False}], "conv": {"bias": False}
    }  # fmt: skip


def test_frozen_leaves_absent_as_none():
    params = {"w": jnp.ones(2), "frozen": None}
    update = one_update(OptimizerConfig.default(), {"w": jnp.ones(2), "frozen": None}, params)
    assert update["frozen"] is None


def test_clipping_by_value_then_by_norm():
    config = OptimizerConfig(
        optimizer_type="sgd", learning_rate=1.0, gradient_clip_value=3.0, gradient_clip_norm=1.0
    )
    update = one_update(config, jnp.array([100.0, -4.0, 0.0]), jnp.zeros(3))
    np.testing.assert_allclose(update, [-(0.5**0.5), 0.5**0.5, 0.0], rtol=1e-5)


def test_presets():
    reference = {"optimizer_type": "adamw", "learning_rate": 1e-3, "weight_decay": 1e-4}
    assert reference.items() <= OptimizerConfig.default().model_dump().items()
    assert OptimizerConfig.fast_convergence().learning_rate == 3e-3
    assert OptimizerConfig.strong_regularization().weight_decay == 1e-3
    sgd = {"optimizer_type": "sgd", "learning_rate": 1e-2, "momentum": 0.9, "nesterov": True}
    assert sgd.items() <= OptimizerConfig.sgd_baseline().model_dump().items()


def test_factories_equal_the_configurations():
    g, w = jnp.array([0.5, -1.0]), jnp.array([1.0, 2.0])
    pairs = [
        (create_adamw_optimizer(), OptimizerConfig.default()),
        (create_sgd_optimizer(), OptimizerConfig.sgd_baseline()),
        (
            create_rmsprop_optimizer(),
            OptimizerConfig(
                optimizer_type="rmsprop", learning_rate=1e-3, weight_decay=1e-5, beta2=0.99
            ),
        ),
    ]
    for made, config in pairs:
        update = made.update(g, made.init(w), w)[0]
        np.testing.assert_array_equal(update, one_update(config, g, w))


def plateau_rates(optimizer, observed):
    w = jnp.ones(2)

    def body(state, value):
        updates, state = optimizer.update(w, state, w, value=value)
        return state, (state.hyperparams["learning_rate"], -updates[0])

    return jax.lax.scan(body, optimizer.init(w), jnp.asarray(observed))[1]


def test_plateau_rate_is_what_the_monitor_reads():
    config = SchedulerConfig(scheduler_type="plateau", factor=0.5, patience=2, min_lr=0.3)
    optimizer = OptimizerConfig(optimizer_type="sgd", learning_rate=1.0).build(config.build(1.0))
    rates, used = plateau_rates(optimizer, [5.0, 4.0, 4.0, 4.0, 3.0, 3.0, 3.0, 3.0, 3.0])
    # Two looks without improvement at updates 2 and 3: the next update has half the rate.
    np.testing.assert_allclose(rates, [1, 1, 1, 1, 0.5, 0.5, 0.5, 0.3, 0.3], rtol=1e-6)
    np.testing.assert_allclose(used, rates, rtol=1e-6)


@pytest.mark.parametrize(("mode", "values"), [("max", [0.9] * 6), ("min", [-20.0] * 6)])
def test_plateau_sees_a_standstill_of_accuracies_and_of_negative_losses(mode, values):
    """A relative threshold would take each of these for an improvement."""
    optimizer = create_optimizer("sgd", create_plateau_scheduler(1.0, mode=mode, patience=2))
    rates, _ = plateau_rates(optimizer, values)
    np.testing.assert_allclose(rates, [1, 1, 1, 0.1, 0.1, 0.01], rtol=1e-5)


def test_plateau_counts_improvement_in_its_mode():
    optimizer = create_optimizer("sgd", create_plateau_scheduler(1.0, mode="max", patience=2))
    rates, _ = plateau_rates(optimizer, [0.1, 0.2, 0.3, 0.4, 0.5])
    np.testing.assert_array_equal(rates, 1.0)


def test_plateau_averages_a_window_and_warms_up():
    config = SchedulerConfig(
        scheduler_type="plateau", factor=0.5, patience=1, window=2, warmup_steps=2
    )
    optimizer = OptimizerConfig(optimizer_type="sgd", learning_rate=1.0).build(config.build(1.0))
    rates, _ = plateau_rates(optimizer, [1.0, 3.0, 0.0, 4.0, 2.0, 2.0])
    np.testing.assert_allclose(rates, [0.5, 1, 1, 1, 0.5, 0.5])


def test_plateau_without_a_value_says_how_to_pass_one():
    optimizer = create_optimizer("sgd", create_plateau_scheduler(1.0))
    w = jnp.ones(2)
    with pytest.raises(ValueError, match="value=loss"):
        optimizer.update(w, optimizer.init(w), w)


@pytest.mark.parametrize(
    ("fields", "cure"),
    [
        ({"optimizer_type": "adamm"}, "did you mean 'adam'"),
        ({"optimizer_type": "adam", "weight_decay": 0.1}, "use optimizer_type='adamw'"),
        ({"optimizer_type": "nadam", "weight_decay": 0.1}, "use optimizer_type='nadamw'"),
        ({"optimizer_type": "adam", "nesterov": True}, "use optimizer_type='nadam'"),
        ({"optimizer_type": "sgd", "nesterov": True}, "set momentum=0.9"),
        ({"optimizer_type": "sgd", "beta1": 0.9}, "sgd does not take beta1"),
        ({"optimizer_type": "adamw", "momentum": 0.9}, "adamw does not take momentum"),
        ({"optimizer_type": "adamw", "lr": 1.0}, "write learning_rate"),
        ({"optimizer_type": "adamw", "weight_deacy": 1.0}, "did you mean 'weight_decay'"),
        ({"optimizer_type": "adamw", "learning_rate": 0.0}, "greater than 0"),
        ({"optimizer_type": "adamw", "learning_rate": float("inf")}, "finite"),
        ({"optimizer_type": "adamw", "beta1": 1.0}, "less than 1"),
    ],
)
def test_refuses_with_the_cure(fields, cure):
    with pytest.raises(ValueError, match=cure):
        OptimizerConfig(**{"learning_rate": 0.1} | fields)


def test_all_problems_come_in_one_message():
    with pytest.raises(ValueError, match=r"(?s)did you mean 'adam'.*greater than 0.*weight_decay"):
        OptimizerConfig(optimizer_type="adamm", learning_rate=-1, weight_deacy=1)


def test_a_mask_without_decay_is_refused():
    with pytest.raises(ValueError, match="set weight_decay"):
        OptimizerConfig(optimizer_type="sgd", learning_rate=0.1).build(mask=decay_mask)
