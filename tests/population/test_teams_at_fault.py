"""A team of which every member is at fault stays behind, and the others go on."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from crowd import equal
from test_resuming_population import Breaking

import etude as et

#: Not within the forty steps.
NEVER = 1000
DATA = et.ArrayData(jnp.eye(4), 2)


def init(key, width=4):
    return jax.random.normal(key, (width,))


def loss(model, batch, context):
    """Not finite from the step `at` on."""
    value = jnp.mean((batch @ model[:4]) ** 2)
    return jnp.where(context.step + 1 >= context.hyper["at"], jnp.inf, value)


#: Shared by all trainers here, which compile its steps once.
LEARNER = et.Learner(et.Gradient(loss), optax.sgd(0.1))


def trainer(at, team, callbacks=(), phases=1, **more):
    made = [et.Phase(f"p{n}", LEARNER, DATA, et.Steps(40)) for n in range(phases)]
    vary = {"at": at, "seed": range(len(at)), **more.pop("vary", {})}
    population = et.Population(init, vary=vary, team=team)
    return et.Trainer(
        phases=made, population=population, progress=False, callbacks=callbacks, **more
    )


@pytest.mark.parametrize(
    ("at", "team"),
    [
        ([1, NEVER], 1),
        ([NEVER, 6], 1),
        ([40, 6, NEVER], 2),
        pytest.param([NEVER, 6], None, marks=pytest.mark.slow),
        pytest.param([1, 1, NEVER, 40], 2, marks=pytest.mark.slow),
    ],
)
def test_the_others_go_on(at, team):
    result = trainer(at, team).fit()
    assert [one.step for one in result.members] == [min(40, one) for one in at]
    assert [one.reason.name == "FAULT" for one in result.members] == [one <= 40 for one in at]
    for number, one in enumerate(at):
        losses = result.history[f"train/loss.{number}"].value
        assert len(losses) == 40
        assert np.isfinite(losses).sum() == min(40, one - 1)


def test_steps_that_are_dispatched_after_a_fault_do_not_count():
    result = trainer([6, NEVER], 1, executor="dispatch").fit()
    assert [one.step for one in result.members] == [6, 40]
    assert np.isnan(result.history["train/loss.0"].value[6:]).all()


def test_groups_of_which_one_is_at_fault(tmp_path):
    result = trainer([6, 6, NEVER], 2, vary={"width": [4, 4, 5]}, run=tmp_path / "run").fit()
    assert [one.step for one in result.members] == [6, 6, 40]


@pytest.mark.parametrize(
    ("at", "team"),
    [([1, 1], 1), ([6, 9], 2), ([40, 40], 1), pytest.param([6, 9], 1, marks=pytest.mark.slow)],
)
def test_all_at_fault(at, team):
    told = rf"No member goes on:\nMember 0: Phase 'p0', step {at[0]},.*\nMember 1: .* step {at[1]},"
    with pytest.raises(et.NonFiniteError, match=told):
        trainer(at, team).fit()


@pytest.mark.parametrize("step", [12, pytest.param(50, marks=pytest.mark.slow)])
def test_a_resume_goes_on_without_it(tmp_path, step):
    def save():
        return et.ModelCheckpoint(every=et.Steps(4))

    whole = trainer([6, NEVER], 1, [save()], phases=2, run=tmp_path / "whole").fit()
    folder = tmp_path / "run"
    with pytest.raises(RuntimeError, match="plug"):
        trainer([6, NEVER], 1, [save(), Breaking(step)], phases=2, run=folder).fit()
    result = trainer([6, NEVER], 1, [save()], phases=2, run=folder).resume()
    equal(result.model, whole.model)
    assert [one.reason.name for one in result.members] == ["FAULT", "LENGTH"]
    assert (folder / "history.bin").read_bytes() == (whole.run / "history.bin").read_bytes()
