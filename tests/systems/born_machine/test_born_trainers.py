"""The trainers of a Born machine: what is minimised, what is measured, what is kept."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from born_small import FAST, arrays, config, data, machine

import etude as et
from etude.systems.born_machine import (
    BornMachine,
    ClassificationTrainer,
    DataHandler,
    DatasetConfig,
    Embedding,
    GANStyleTrainer,
    GenerativeTrainer,
    JointNLL,
    MixedNLL,
)
from etude.systems.born_machine.criteria import ClassificationNLL, ConditionalNLL, GenerativeNLL


def test_classification_keeps_its_best_and_reaches_every_key_of_a_goal():
    cfg = config(
        classification={
            **FAST,
            "max_epoch": 60,
            "stop_crit": "acc",
            "metrics": {"loss": 1, "acc": 1, "nll": 2},
        }
    )  # fmt: skip
    start, handler = machine(), data(cfg)
    before = arrays(start)
    trainer = ClassificationTrainer(start, cfg, "pre", handler, progress=False)
    trained = trainer.train(goal={"acc": 0.88, "loss": 0.4})
    result, best, summary = trained.result, trained.best, trained.summary
    assert result.reason is et.Reason.GOAL
    assert best["acc"] >= 0.88
    assert best["loss"] <= 0.4
    # One metric of a goal alone does not end a training.
    values = [r for r in result.history if "valid/acc" in r][:-1]
    assert all(r["valid/acc"] < 0.88 or r["valid/loss"] > 0.4 for r in values)
    # Each metric comes at its own frequency, and all at the end.
    epochs = [r["epoch"] + 1 for r in result.history if "valid/nll" in r]
    assert all(epoch % 2 == 0 for epoch in epochs[:-1])
    # The machine that is kept is the one that was measured.
    x, y = handler.splits["valid"]
    accuracy = float(np.mean(np.asarray(trained.bornmachine.predict(jnp.asarray(x))) == y))
    assert accuracy == pytest.approx(best["acc"])
    assert summary["pre/valid/acc"] == best["acc"]
    assert {"pre/test/acc", "pre/avg_epoch_time_s"} <= set(summary)
    # The epoch of the best is that of the history, and the training changed nothing it began with.
    accuracies = [r["valid/acc"] for r in result.history if "valid/acc" in r]
    assert summary["pre/epoch/best"] == accuracies.index(max(accuracies)) + 1
    assert summary["pre/epoch/last"] == len(accuracies)
    assert trainer.bornmachine is start
    assert all(np.array_equal(a, b) for a, b in zip(before, arrays(start), strict=True))


def test_what_cannot_work_is_refused_before_training():
    cfg, handler = config(), data(config())
    onehot = BornMachine.create(jax.random.key(0), 64, 10, Embedding("onehot", 2), 2)
    binary = DataHandler(DatasetConfig(name="digits", scaler="binary"), (0.0, 1.0))
    three = BornMachine.create(jax.random.key(0), 3, 2, Embedding("legendre", 4), 3)
    fourier = BornMachine.create(jax.random.key(0), 2, 2, Embedding("fourier", 4), 3)
    refused = et.ConfigurationError
    with pytest.raises(refused, match="stage 'post'"):
        ClassificationTrainer(machine(), cfg, "post", handler)
    with pytest.raises(refused, match="3 sites, the data 'moons_small' have 2"):
        GenerativeTrainer(three, cfg, handler)
    with pytest.raises(refused, match="scaled to"):
        GenerativeTrainer(fourier, cfg, handler)
    with pytest.raises(refused, match="'mmd' is not measured"):
        ClassificationTrainer(machine(), cfg, "pre", handler).train({"mmd": 0.1})
    with pytest.raises(refused, match="no gradient"):
        GANStyleTrainer(onehot, cfg, binary)
    with pytest.raises(refused, match=r"best is .*without a number for 'acc'"):
        GANStyleTrainer(machine(), cfg, handler, best={"loss": 0.3})


def test_criteria_are_normalised_and_mixed_ones_lie_between():
    born = machine(1)
    axis = np.polynomial.legendre.leggauss(30)
    grid = jnp.asarray(np.stack(np.meshgrid(axis[0], axis[0]), -1).reshape(-1, 2), jnp.float32)
    weight = np.outer(axis[1], axis[1]).ravel()
    labels = jnp.zeros(len(grid), jnp.int32)
    joint = [np.exp(-np.asarray(JointNLL().each(born, grid, labels + c))) @ weight for c in (0, 1)]
    assert sum(joint) == pytest.approx(1, abs=1e-4)
    for c in (0, 1):
        given = np.exp(-np.asarray(ConditionalNLL().each(born, grid, labels + c))) @ weight
        assert given == pytest.approx(1, abs=1e-4)
    ends = ClassificationNLL().each(born, grid, labels), JointNLL().each(born, grid, labels)
    for alpha in (0.0, 0.3, 1.0):
        expected = (1 - alpha) * ends[0] + alpha * ends[1]
        np.testing.assert_allclose(MixedNLL(alpha).each(born, grid, labels), expected, atol=2e-5)


def test_generative_training_never_reports_more_density_than_there_is():
    """The originals' log Z left the model: NLL far below what any normalised density can have."""
    cfg = config(
        generative={**FAST, "max_epoch": 25, "metrics": {"loss": 1, "nll": 1, "genloss": 1}}
    )
    handler = data(cfg)
    trained = GenerativeTrainer(machine(), cfg, handler, progress=False).train()
    born = trained.bornmachine
    axis, weight = np.polynomial.legendre.leggauss(30)
    grid = jnp.asarray(np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2), jnp.float32)
    total = np.exp(np.asarray(born.log_joint(grid))).sum(1) @ np.outer(weight, weight).ravel()
    assert total == pytest.approx(1, abs=1e-3)
    # |psi|^2 <= Z |phi(x_1)|^2 |phi(x_2)|^2, largest at the corners: (d^2 / 2)^2.
    assert trained.best["nll"] > -np.log((5**2 / 2) ** 2)
    start = machine()
    x, y = (jnp.asarray(a) for a in handler.splits["valid"])
    assert trained.best["nll"] < float(ConditionalNLL()(start, (x, y)))


def test_a_criterion_of_the_users_own_is_trained_and_reported():
    class Tempered(GenerativeNLL):
        def compute_unnormalized_log_prob(self, bornmachine, data, labels):
            return 0.5 * JointNLL().compute_unnormalized_log_prob(bornmachine, data, labels)

        def compute_log_partition(self, bornmachine, labels):
            return 0.5 * bornmachine.log_partition()

    cfg = config(generative={**FAST, "max_epoch": 2, "metrics": {"loss": 1, "genloss": 1}})
    best = GenerativeTrainer(machine(), cfg, data(cfg), Tempered(), progress=False).train().best
    assert best["loss"] == pytest.approx(0.5 * best["genloss"], abs=1e-5)
