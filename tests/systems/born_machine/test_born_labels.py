"""Labels that are no classes are refused, or seen as NaN; criteria are losses of the engine."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import etude as et
from etude.errors import NonFiniteError, RuleError
from etude.systems.born_machine import (
    BornMachine,
    ClassificationNLL,
    ConditionalNLL,
    Embedding,
    GenerativeNLL,
    JointNLL,
    MixedNLL,
    TwoSiteSweep,
    likelihoods,
    of_label,
    pair_matrix,
    pgd,
    sample,
    sample_labels,
    site_matrices,
)
from etude.systems.born_machine.attacks import fgm, joint_pgd
from etude.systems.born_machine.labels import checked

MACHINE = BornMachine.create(jax.random.key(0), 2, 3, Embedding("legendre", 3), 2, init="gaussian")
X = jnp.array([[0.1, -0.7], [0.2, 0.3], [-0.5, 0.9]])
KEY = jax.random.key(1)


class Own(GenerativeNLL):
    """What a user writes, by the documented helper."""

    def compute_unnormalized_log_prob(self, bornmachine, data, labels):
        return of_label(bornmachine.log_weights(data), labels)

    def compute_log_partition(self, bornmachine, labels):
        return bornmachine.log_partition()


CRITERIA = [ClassificationNLL(), ConditionalNLL(), JointNLL(), MixedNLL(0.3), Own()]


def attack(method):
    return lambda labels: method(
        MACHINE.log_weights, X, labels, KEY, epsilon=0.1, domain=(-1.0, 1.0)
    )


#: everything that takes labels, one value or row for each sample
TAKERS = {
    **{type(c).__name__: (lambda y, c=c: c.each(MACHINE, X, y)) for c in CRITERIA},
    "log_conditional": lambda labels: MACHINE.log_conditional(X, labels),
    "generator": lambda labels: MACHINE.generator(X, labels),
    "likelihoods": lambda labels: jnp.stack([*likelihoods(MACHINE, X, labels).values()], axis=1),
    "sample": lambda labels: sample(MACHINE, KEY, labels),
    "fgm": attack(fgm),
    "pgd": attack(pgd),
    "joint_pgd": attack(joint_pgd),
}


@pytest.mark.parametrize("name", TAKERS)
def test_a_class_that_is_not_there(name):
    """-1 was the last class, 3 of 3 was NaN or the last class in silence."""
    take = TAKERS[name]
    good, wrong = jnp.array([2, 0, 1]), jnp.array([2, -1, 3])
    with pytest.raises(ValueError, match=r"labels\): got class -1 at 1, expected 0 to 2"):
        take(wrong)
    with pytest.raises(ValueError, match="got class 3 at 2"):
        take(jnp.array([2, 0, 3], jnp.uint8))
    compiled = jax.jit(take)
    expected, found = np.asarray(take(good)), np.asarray(compiled(wrong))
    np.testing.assert_allclose(compiled(good), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-4, atol=1e-5)
    assert np.isnan(found[1:]).all()


def test_marginals_of_a_class():
    """A label in an array gave a tracer's error."""
    for name, of in {
        "site_matrices": lambda label: site_matrices(MACHINE, label),
        "pair_matrix": lambda label: pair_matrix(MACHINE, 0, 1, label),
    }.items():
        expected = of(1)
        for label in (np.int64(1), jnp.array(1), jnp.array(1, jnp.uint8)):
            np.testing.assert_allclose(of(label), expected, rtol=1e-5)
        np.testing.assert_allclose(jax.jit(of)(1), expected, rtol=1e-5)
        for label in (3, np.int64(3), jnp.array(3), -1):
            with pytest.raises(
                ValueError, match=rf"{name}\(label\): got class -?\d, expected 0 to 2"
            ):
                of(label)
        assert np.isnan(jax.jit(of)(3)).all()


def test_the_value_is_that_of_the_class():
    """In NumPy, for every integer type, also where a machine has more classes than it counts."""
    values = jax.random.normal(KEY, (4, 300))
    for dtype in (jnp.int8, jnp.uint8, jnp.int16, jnp.int32, jnp.uint32):
        labels = jnp.array([0, 5, 100, 127], dtype)
        expected = np.asarray(values)[np.arange(4), np.asarray(labels, int)]
        np.testing.assert_array_equal(of_label(values, labels), expected)
        np.testing.assert_array_equal(jax.jit(of_label)(values, labels), expected)


def test_what_is_no_label():
    for labels, got in ((X[0], "float32"), (jnp.array([True, False]), "bool")):
        with pytest.raises(ValueError, match=f"got {got}, expected integers from 0 to 2"):
            checked("sample", labels, 3)
    with pytest.raises(ValueError, match=r"got shape \(1,\), expected \(3,\)"):
        checked("log_conditional", jnp.array([0]), 3, count=3)
    with pytest.raises(ValueError, match=r"got shape \(3, 1\), expected \(3,\)"):
        checked("log_conditional", jnp.array([[0], [1], [2]]), 3, count=3)


def test_numbers_of_samples():
    """0 gave "len() of unsized object"."""
    for n in (0, -2):
        with pytest.raises(ValueError, match=rf"sample\(n\): got {n}, expected 1 or more"):
            sample(MACHINE, KEY, 1, n)
        with pytest.raises(ValueError, match=rf"sample_labels\(n\): got {n}, expected 1 or more"):
            sample_labels(MACHINE, KEY, n)
    with pytest.raises(ValueError, match=r"sample\(n\): got 0 but 2 labels"):
        sample(MACHINE, KEY, jnp.array([0, 1]), 0)
    with pytest.raises(ValueError, match=r"sample\(labels\): got class 3, expected 0 to 2"):
        sample(MACHINE, KEY, 3, 5)


def test_a_criterion_is_a_loss_of_the_engine():
    labels = jnp.array([2, 0, 1])
    for criterion in CRITERIA:
        mean = criterion(MACHINE, (X, labels), et.Context.at(KEY))
        assert float(mean) == pytest.approx(float(np.mean(criterion.each(MACHINE, X, labels))))
    learner = et.Learner(et.Gradient(Own()), optax.adam(0.02))
    phase = et.Phase("fit", learner, et.ArrayData((X, labels), 3), et.Steps(20))
    learnt = et.Trainer(MACHINE, phase, progress=False).fit().model
    assert Own()(learnt, (X, labels)) < Own()(MACHINE, (X, labels)) - 0.1


def test_data_alone_are_a_batch_of_one_class():
    one = BornMachine.create(KEY, 2, 1, Embedding("legendre", 3), 2)
    assert float(JointNLL()(one, X)) == pytest.approx(float(-one.log_marginal(X).mean()), rel=1e-5)
    with pytest.raises(RuleError, match=r"JointNLL: .* 3 class.*Pass \(x, labels\)"):
        JointNLL()(MACHINE, X)
    with pytest.raises(RuleError, match="JointNLL: the batch is dict"):
        JointNLL()(one, {"x": X})


def test_other_calls_of_a_criterion_name_the_right_one():
    labels = jnp.array([2, 0, 1])
    with pytest.raises(RuleError, match=r"criterion.each\(bornmachine, data, labels\)"):
        JointNLL()(MACHINE, X, labels)
    with pytest.raises(RuleError, match=r"got dict, expected a BornMachine.*model.machine"):
        JointNLL()({"machine": MACHINE}, (X, labels))


@pytest.mark.parametrize("rule", [et.Gradient(JointNLL()), TwoSiteSweep()])
def test_a_training_on_wrong_labels_ends(rule):
    optimizer = () if isinstance(rule, TwoSiteSweep) else (optax.adam(0.01),)
    data = et.ArrayData((X, jnp.array([2, 0, -1])), 3)
    phase = et.Phase("fit", et.Learner(rule, *optimizer), data, et.Steps(2))
    with pytest.raises(NonFiniteError, match="loss"):
        et.Trainer(MACHINE, phase, progress=False).fit()
