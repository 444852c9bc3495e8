"""Training without data; and errors of a user's own functions, which say where they arose."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from problems import fit, same

import etude as et

TARGET = jnp.array([0.5, -0.3, 0.8])


def evolution(trainable, rest, batch, context):
    """An evolution strategy with antithetic samples (Salimans et al., 2017); no batch."""
    assert batch is None
    noise = jax.random.normal(context.key, (32, 3))
    noise = jnp.concatenate([noise, -noise])
    reward = -jnp.sum((trainable + 0.1 * noise - TARGET) ** 2, -1)
    return et.Proposal(-(reward @ noise) / (64 * 0.1), {"reward": reward.mean()})


def phase(steps=60, rule=evolution, **options):
    return et.Phase("es", et.Learner(rule, optax.sgd(0.1)), None, et.Steps(steps), **options)


@pytest.mark.parametrize("executor", [None, "dispatch"])
def test_an_evolution_strategy_trains_without_data(executor, tmp_path):
    starts = []

    class Watch(et.Callback):
        def on_epoch_begin(self, event):
            starts.append(event.step)

        def on_phase_end(self, event, reason):
            assert (event.steps_per_epoch, event.total_steps) == (None, 60)

    run = {"run": tmp_path / "run", "callbacks": [Watch()]}
    result = fit(jnp.zeros(3), phase(), executor=executor, **run)
    np.testing.assert_allclose(result.model, TARGET, atol=0.05)
    steps = [r for r in result.history if "train/reward" in r]
    assert [r["step"] for r in steps] == list(range(1, 61))
    assert {r["epoch"] for r in steps} == {0}
    assert starts == [], "there are no epochs"


def test_no_data_and_epochs_are_refused_and_validation_none_is_none():
    learner = et.Learner(evolution, optax.sgd(0.1))
    with pytest.raises(et.ConfigurationError, match=r"without data there are no epochs.*Steps"):
        et.Phase("es", learner, None, et.Epochs(3))
    assert phase(validation=None).validations == ()
    assert same(
        fit(jnp.zeros(3), phase(3, validation=None)).model, fit(jnp.zeros(3), phase(3)).model
    )


def test_batches_may_be_drawn_by_augment():
    """A simulator: it is inside the compiled step."""

    def loss(model, batch, context):
        return jnp.mean((batch - model) ** 2)

    drawn = phase(
        200, et.Gradient(loss), augment=lambda batch, key: TARGET + jax.random.normal(key, (8, 3))
    )
    np.testing.assert_allclose(fit(jnp.zeros(3), drawn).model, TARGET, atol=0.3)


def test_accumulation_without_data_is_refused():
    learner = et.Learner(et.Gradient(lambda m, b, c: m.sum()), optax.sgd(0.1), accumulate=2)
    with pytest.raises(et.ConfigurationError, match="accumulate splits a batch along its first"):
        fit(jnp.zeros(3), et.Phase("es", learner, None, et.Steps(1)))


def test_an_error_in_a_loss_says_phase_learner_and_batch():
    def loss(model, batch, context):
        return (batch[0] @ model).mean()

    data = et.ArrayData((np.ones((8, 5)), np.zeros(8, int)), 4)
    learners = [
        et.Learner(et.Gradient(lambda m, b, c: m.sum()), optax.sgd(0.1), name="good"),
        et.Learner(et.Gradient(loss), optax.sgd(0.1), name="bad"),
    ]
    with pytest.raises(TypeError) as caught:
        fit(jnp.zeros(3), et.Phase("fit", learners, data, et.Steps(1)))
    notes = "\n".join(caught.value.__notes__)
    assert "In phase 'fit', learner 'bad', on the batch (f32[4,5], i32[4])." in notes

    valid = et.Validation(data, lambda m, b, c: {"x": (b[0] @ m).mean()}, name="late")
    with pytest.raises(TypeError) as caught:
        fit(jnp.zeros(3), et.Phase("fit", learners[:1], data, et.Steps(1), valid))
    assert any("phase 'fit', validation 'late'" in note for note in caught.value.__notes__)
