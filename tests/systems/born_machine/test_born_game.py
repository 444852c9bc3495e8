"""The game with a critic: who moves, what they minimise, who comes to the rescue."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from born_small import FAST, arrays, config, data, machine, same

import etude as et
from etude.systems.born_machine import (
    ClassificationTrainer,
    Critic,
    GANStyleTrainer,
)
from etude.systems.born_machine.config_methods import CriticConfig
from etude.systems.born_machine.critic import critic_loss, generator_loss, gradient_penalty
from etude.systems.born_machine.training.ganstyle import Risen


def test_the_game_moves_both_players_and_only_in_their_turns():
    """The originals' generator never moved: its optimizer held another copy of the tensors."""
    cfg = config(ganstyle={
        "max_epoch": 2, "tolerance": 1.0, "metrics": {"acc": 1, "loss": 1},
        "optimizer": {"kwargs": {"lr": 1e-2}},
        "critic": {"hidden_multipliers": (4.0,), "discrimination": {
            "max_epoch_pre": 2, "max_epoch_gan": 3, "batch_size": 30}},
    })  # fmt: skip
    seen = {}

    class Watch(et.Callback):
        def on_phase_begin(self, event):
            seen[event.phase] = event.model()

    start = machine()
    trainer = GANStyleTrainer(start, cfg, data(cfg), callbacks=[Watch()], progress=False)
    trained = trainer.train()
    result, alone = trained.result, seen["gan"]
    assert same(alone.machine, start), "the critic's phase must not touch the machine"
    assert not same(alone.critic, trainer.game().critic)
    assert not same(result.model.critic, alone.critic)
    moved = [
        np.abs(a - b).max()
        for a, b in zip(arrays(result.model.machine), arrays(start), strict=True)
    ]
    assert min(moved) > 0, "every tensor of the machine is trained through its samples"
    keys = set(trained.summary)
    assert {"gan/avg_epoch_time_total_s", "gan/avg_epoch_time_no_retrain_s"} <= keys


def test_retraining_comes_to_the_rescue_and_the_best_machine_is_kept():
    """The originals' retrainer put tensors of an earlier retraining back, and its best state was
    a reference to the last one."""
    seen, handed_over = [], []

    class Watch(et.Callback):
        def on_phase_begin(self, event):
            if event.phase == "re":
                handed_over.append(same(event.model(), seen[-1]))

        def on_epoch_end(self, event):
            if event.phase == "gan":
                seen.append(event.model())

    cfg = config(
        classification={**FAST, "max_epoch": 40, "stop_crit": "acc", "metrics": {"acc": 1}},
        ganstyle={
            "max_epoch": 6, "tolerance": 0.02, "metrics": {"acc": 1},
            "optimizer": {"name": "sgd", "kwargs": {"lr": 30.0}},
            "critic": {"hidden_multipliers": (4.0,), "discrimination": {
                "max_epoch_pre": 0, "max_epoch_gan": 1, "batch_size": 30}},
            "retrain": {**FAST, "max_epoch": 30, "stop_crit": "acc", "metrics": {"acc": 1}},
        },
    )  # fmt: skip
    handler = data(cfg)
    pre = ClassificationTrainer(machine(), cfg, "pre", handler, progress=False).train()
    trainer = GANStyleTrainer(
        pre.bornmachine, cfg, handler, best=pre.best, progress=False, nonfinite="skip",
        callbacks=[Watch()],
    )  # fmt: skip
    trained = trainer.train()
    result = trained.result
    history = [r for r in result.history if "valid/acc" in r]
    fell = [i for i, r in enumerate(history[:-1])
            if r["phase"] == "gan" and pre.best["acc"] - r["valid/acc"] > 0.02]  # fmt: skip
    assert fell, "this game hurts classification, or the test shows nothing"
    assert all(history[i + 1]["phase"] == "re" for i in fell)
    assert not any(
        history[i + 1]["phase"] == "re"
        for i, r in enumerate(history[:-1])
        if r["phase"] == "gan" and i not in fell
    )
    game = [r["valid/acc"] for r in history if r["phase"] == "gan"]
    assert trained.summary["gan/valid/acc"] == pytest.approx(max(game))
    # Each retraining begins where the game stands; machine and critic are those of the best epoch.
    assert handed_over
    assert all(handed_over)
    assert same(result.model, seen[int(np.argmax(game))])


def test_the_penalty_is_of_the_gradient_of_each_sample():
    """For D(x) = w x it is (1 - |w|)^2, whatever the number of samples and classes."""
    real, fake = jnp.zeros((64, 2, 3)), jnp.ones((16, 2, 3))
    for w in (0.0, 0.5, 3.0):
        found = gradient_penalty(lambda x, w=w: w * x[..., 0], real, fake, jax.random.key(0))
        assert float(found) == pytest.approx((1 - w) ** 2, abs=1e-5)
    flat = jax.grad(
        lambda w: gradient_penalty(lambda x: w * x[..., 0], real, fake, jax.random.key(0))
    )
    assert np.isfinite(float(flat(0.0)))
    assert float(flat(0.5)) == pytest.approx(-1.0, abs=1e-4)


def test_losses_of_the_game_against_their_formulas():
    critic = Critic(2, 2, CriticConfig(hidden_multipliers=(3.0,)), key=jax.random.key(0))
    a, b = jax.random.normal(jax.random.key(1), (2, 8, 2, 2))
    real, fake = np.asarray(critic(a), float), np.asarray(critic(b), float)
    sigmoid = lambda v: 1 / (1 + np.exp(-v))  # noqa: E731
    loss, _ = critic_loss(critic, a, b, CriticConfig(), jax.random.key(0))
    expected = -np.log(sigmoid(real)).mean() - np.log(1 - sigmoid(fake)).mean()
    assert float(loss) == pytest.approx(expected, rel=1e-5)
    swapped = generator_loss(critic, b, CriticConfig())
    assert float(swapped) == pytest.approx(-np.log(sigmoid(fake)).mean(), rel=1e-5)
    zero_sum = generator_loss(critic, b, CriticConfig(swapped=False))
    assert float(zero_sum) == pytest.approx(np.log(1 - sigmoid(fake)).mean(), rel=1e-5)
    wasserstein = CriticConfig(criterion="wgan-gp", lamb=0.0)
    loss, _ = critic_loss(critic, a, b, wasserstein, jax.random.key(0))
    assert float(loss) == pytest.approx(fake.mean() - real.mean(), abs=1e-5)
    # Each class has its own head.
    turned = critic(a[:, ::-1])
    assert not np.allclose(turned[:, ::-1], real)


def test_a_relative_rise_of_the_loss_calls_for_retraining():
    risen = Risen("valid/loss", tolerance=0.1)
    steps = [{"valid/loss": 2.0}, {"valid/loss": 1.0}, {"valid/loss": 1.09}]
    assert not risen(steps)
    assert risen([*steps, {"valid/loss": 1.11}])
    assert not risen([*steps, {"valid/loss": 1.2}, {"valid/fid": 3.0}])
    assert Risen("valid/loss", 0.1, reference=0.5)(steps)
    assert not Risen("valid/loss", 0.1)([{"valid/loss": -2.0}, {"valid/loss": -1.9}])


def test_a_loss_has_risen_above_its_best_by_a_fraction_or_to_nan():
    def seen(*values):
        return [{"valid/loss": value} for value in values]

    risen = Risen("valid/loss", tolerance=0.1)
    assert not risen(seen(2.0, 2.1))
    assert risen(seen(2.0, 2.3))
    # NaN has risen, and one in the first validation does not disable the rescue.
    assert risen(seen(2.0, np.nan))
    assert risen(seen(np.nan, 2.0, 2.3))
    assert not risen(seen(np.nan, 2.0, 2.1))
    assert Risen("valid/loss", 0.1, reference=-2.0)(seen(-1.7))
