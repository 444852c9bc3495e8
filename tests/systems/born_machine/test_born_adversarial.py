"""Training against attacks: TRADES as published, curriculum, and what it is for."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from born_small import FAST, config, data, machine

import etude as et
from etude.systems.born_machine import (
    AdversarialTrainer,
    ClassificationTrainer,
    PerformanceEvaluator,
)
from etude.systems.born_machine.attacks import ascend
from etude.systems.born_machine.criteria import ClassificationNLL
from etude.systems.born_machine.training.adversarial import divergence, trades_loss


def test_trades_attacks_the_divergence_and_trains_both_of_its_sides():
    cfg = config(adversarial={"method": "trades", "trades_beta": 1.0, "evasion": {
        "method": "PGD", "norm": "linf", "strengths": (0.1,), "num_steps": 10}})  # fmt: skip
    part, born = cfg.trainer.adversarial, machine(3)
    x, y = (jnp.asarray(a[:30]) for a in data(cfg).splits["train"])
    context = et.Context.at(jax.random.key(0))
    _, metrics = trades_loss(born, (x, y), context, part, ClassificationNLL(), (-1.0, 1.0))
    assert float(metrics["epsilon"]) == pytest.approx(0.2)

    # The attack climbs to more than any corner of the ball gives on average, and knows no labels.
    clean = born.class_log_probabilities(x)
    corners = jnp.asarray([(0.2, 0.2), (0.2, -0.2), (-0.2, 0.2), (-0.2, -0.2)])
    apart = [
        divergence(clean, born.class_log_probabilities(jnp.clip(x + corner, -1, 1))).mean()
        for corner in corners
    ]
    assert float(metrics["kl_loss"]) > float(max(apart))
    _, other = trades_loss(born, (x, 1 - y), context, part, ClassificationNLL(), (-1.0, 1.0))
    assert float(other["kl_loss"]) == float(metrics["kl_loss"])

    def kl_alone(m):
        loss, found = trades_loss(m, (x, y), context, part, ClassificationNLL(), (-1.0, 1.0))
        return loss - found["clean_loss"]

    # Were the clean side a constant, the gradient would be that of the attacked side alone.
    gradient = eqx.filter_jit(eqx.filter_grad(kl_alone))(born)
    one_sided = eqx.filter_jit(eqx.filter_grad(lambda m: _one_sided(m, born, x, y, context, part)))(
        born
    )
    assert not np.allclose(gradient.centre, one_sided.centre, rtol=1e-2, atol=1e-6)


def _one_sided(model, constant, x, y, context, part):
    moved = trades_points(constant, x, context, part)
    clean = constant.class_log_probabilities(x)
    return divergence(clean, model.class_log_probabilities(moved)).mean()


def trades_points(born, x, context, part):
    clean = born.class_log_probabilities(x)
    return ascend(
        lambda near: divergence(clean, born.class_log_probabilities(near)), x, context.key,
        epsilon=0.2, domain=(-1.0, 1.0), norm="linf", num_steps=10,
    )  # fmt: skip


@pytest.mark.slow
def test_adversarial_training_follows_its_curriculum_and_resists_more():
    attack = {"method": "PGD", "norm": "l2", "strengths": (0.1,), "num_steps": 5}
    cfg = config(
        classification={**FAST, "max_epoch": 60, "stop_crit": "loss", "metrics": {"loss": 1}},
        adversarial={**FAST, "max_epoch": 20, "evasion": attack, "curriculum": True,
                     "curriculum_end_epoch": 10, "metrics": {"rob": 1}},
    )  # fmt: skip
    handler = data(cfg)
    pre = ClassificationTrainer(machine(), cfg, "pre", handler, progress=False).train()
    trained = AdversarialTrainer(pre.bornmachine, cfg, handler, progress=False).train()
    epsilon = [r["train/epsilon"] for r in trained.result.history if "train/epsilon" in r]
    assert epsilon[0] == 0
    assert epsilon == sorted(epsilon)
    assert epsilon[-1] == pytest.approx(0.2)
    evaluator = PerformanceEvaluator(cfg, handler, cfg.trainer.adversarial)
    before = evaluator.evaluate(pre.bornmachine, "valid")
    assert trained.summary["adv/valid/rob"] > before["rob"]
