"""Numbers of a phase: arguments of its programs, read by losses, rules, optimizers, validations."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import etude as et

DATA = jnp.arange(8.0)


def loss(weight, batch, context):
    return context.hyper["beta"] * jnp.mean((weight - batch) ** 2)


def phase(optimizer=None, **options):
    optimizer = optimizer or (lambda hyper: optax.sgd(hyper["rate"]))
    learner = et.Learner(et.Gradient(loss), optimizer)
    options = {"hyper": {"rate": 0.1, "beta": 0.5}} | options
    return et.Phase("fit", learner, et.ArrayData(DATA, 8, shuffle=False), et.Steps(5), **options)


def by_hand(rate, beta, steps=5):
    weight = np.float32(0.0)
    for _ in range(steps):
        weight -= np.float32(rate * beta * 2 * np.mean(weight - np.asarray(DATA)))
    return weight


@pytest.mark.parametrize("executor", ["loop", "dispatch"])
def test_loss_and_optimizer_see_them(executor):
    trainer = et.Trainer(jnp.zeros(()), phase(), executor=executor, progress=False)
    assert trainer.fit().model == pytest.approx(by_hand(0.1, 0.5), rel=1e-5)


def test_other_values_need_no_other_compilation():
    """One traced step serves all values, as a population needs: mapped over them as well."""
    plan = et.Plan.of(phase(), jnp.zeros(()))
    traces = []

    @jax.jit
    def run(state):
        traces.append(1)
        for _ in range(5):
            state, _ = et.train_step(plan, state, DATA)
        return state.model

    for rate, beta in [(0.1, 0.5), (0.2, 0.25)]:
        other = et.Plan.of(phase(hyper={"rate": rate, "beta": beta}), jnp.zeros(()))
        state = et.init_state(other, jnp.zeros(()))
        assert run(state) == pytest.approx(by_hand(rate, beta), rel=1e-5)
    assert len(traces) == 1


def test_validations_see_them():
    held = et.Validation(et.ArrayData(DATA, 8), lambda m, b, c: {"beta": c.hyper["beta"]})
    result = et.Trainer(jnp.zeros(()), phase(validation=held), progress=False).fit()
    assert result.metrics == {"valid/beta": 0.5}
    measure = et.evaluate(jnp.zeros(()), held.data, held.measure, hyper={"beta": 3})
    assert measure == {"beta": 3.0}


def test_a_change_is_seen_at_a_resume(tmp_path):
    def trainer(rate, length):
        settings = phase(hyper={"rate": rate, "beta": 0.5})
        longer = et.Phase("fit", settings.turns[0], settings.data, et.Steps(length),
                          hyper=settings.hyper)  # fmt: skip
        return et.Trainer(jnp.zeros(()), longer, run=tmp_path / "run", progress=False)

    trainer(0.1, 5).fit()
    with pytest.raises(et.ResumeError, match=r"phases.fit.hyper.rate: got 0.2, expected 0.1"):
        trainer(0.2, 10).resume()
    got = trainer(0.2, 10).resume(changes="allow").model
    weight = by_hand(0.1, 0.5)
    for _ in range(5):
        weight -= np.float32(0.2 * 0.5 * 2 * np.mean(weight - np.asarray(DATA)))
    assert got == pytest.approx(weight, rel=1e-5)


def test_what_is_no_number_is_refused():
    with pytest.raises(et.ConfigurationError, match=r"pytree of numbers; got 'adam' at \['name'\]"):
        phase(hyper={"name": "adam"})
    with pytest.raises(et.ConfigurationError, match="pytree of numbers"):
        phase(hyper={"rates": jnp.ones(2)})


@pytest.mark.parametrize("number", [np.float64, np.float32, np.int64, jnp.float32])
def test_numbers_of_any_library_are_told_apart(number, tmp_path):
    """A sweep over `np.linspace`: no warning, and a resume with another value is refused."""

    def trainer(rate):
        settings = phase(hyper={"rate": number(rate), "beta": 0.5})
        return et.Trainer(jnp.zeros(()), settings, run=tmp_path / "run", progress=False)

    assert trainer(1).fit().model == pytest.approx(by_hand(1, 0.5), rel=1e-5)
    assert "rate: 1" in (tmp_path / "run" / "config.yaml").read_text()
    with pytest.raises(et.ResumeError, match=r"hyper.rate: got 2"):
        trainer(2).resume()


def test_a_name_that_is_missing_is_said_with_those_there_are():
    with pytest.raises(et.ConfigurationError, match=r"KeyError: 'rat'.*'rate'"):
        et.Trainer(jnp.zeros(()), phase(lambda hyper: optax.sgd(hyper["rat"])), progress=False)

    def wrong(weight, batch, context):
        return context.hyper["bet"]

    learner = et.Learner(et.Gradient(wrong), optax.sgd(0.1))
    settings = et.Phase("fit", learner, et.ArrayData(DATA, 8), et.Steps(1), hyper={"beta": 1.0})
    with pytest.raises(KeyError) as caught:
        et.Trainer(jnp.zeros(()), settings, progress=False)
    assert any("with hyper {'beta': " in note for note in caught.value.__notes__)


@pytest.mark.parametrize("number", [2**33, 2**70, np.int64(2**33 + 5)])
def test_an_integer_that_does_not_fit_is_refused(number):
    with pytest.raises(et.ConfigurationError, match="does not fit the integers of JAX"):
        phase(hyper={"rate": 0.1, "beta": 1.0, "count": number})


def test_a_validation_is_not_called_as_the_steps_are():
    with pytest.raises(et.ConfigurationError, match="not named 'train'"):
        phase(validation=et.Validation(et.ArrayData(DATA, 8), name="train"))


def test_nan_is_refused():
    with pytest.raises(et.ConfigurationError, match=r"got NaN at \['rate'\]"):
        phase(hyper={"rate": float("nan"), "beta": 1.0})


def test_a_maker_that_was_not_called_is_no_function_of_numbers():
    with pytest.raises(et.ConfigurationError, match=r"Call its maker: optax.adam\(1e-3\)"):
        et.Learner(et.Gradient(loss), optax.adam)


def test_a_function_of_numbers_returns_an_optimizer():
    with pytest.raises(et.ConfigurationError, match="must return a transformation of optax"):
        et.Trainer(jnp.zeros(()), phase(lambda hyper: hyper["rate"]), progress=False)


def test_types_of_numbers_are_their_own():
    learner = et.Learner(et.Gradient(loss), optax.sgd(0.1))
    plan = et.Plan.of(
        et.Phase("fit", learner, et.ArrayData(DATA, 8), et.Steps(1),
                 hyper={"beta": 1.0, "count": 2, "half": np.float16(1)}),
        jnp.zeros(()),
    )  # fmt: skip
    hyper = et.init_state(plan, jnp.zeros(())).hyper
    kinds = {name: (str(one.dtype), one.weak_type) for name, one in hyper.items()}
    assert kinds == {
        "beta": ("float32", False), "count": ("int32", False), "half": ("float16", False),
    }  # fmt: skip
