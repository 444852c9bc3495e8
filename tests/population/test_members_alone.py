"""A member of a population is trained as it would be alone."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from crowd import DATA, alone, close, equal, init, loss, numbers, phase, trainer

import etude as et

VARY = {"rate": [0.003, 0.01, 0.03], "seed": [5, 6, 5]}


def adversarial(hyper):
    """A head against a body: turns, repeats, micro-batches, clipped norms, an average."""

    def against(model, batch, context):
        return -loss(model, batch, context) + jnp.sum(model["body"] ** 2)

    head = et.Learner(
        et.Gradient(loss), lambda h: optax.adam(h["rate"]), lambda m: m["head"], "head",
        repeat=2, clip_norm=0.3, ema=0.9,
    )  # fmt: skip
    body = et.Learner(
        et.Gradient(against), optax.sgd(0.01, momentum=0.9), lambda m: m["body"], "body",
        accumulate=2, clip_norm=0.1,
    )  # fmt: skip
    return phase([head, body], steps=100, keep="ema", hyper=hyper)


class Carrying(eqx.Module):
    """Weights with a frozen part and a running mean of the inputs."""

    w: jax.Array
    frozen: et.Fixed
    mean: et.Carry

    def __init__(self, key):
        self.w = jax.random.normal(key, (3, 2))
        self.frozen = et.Fixed(jax.random.normal(jax.random.fold_in(key, 1), (2,)))
        self.mean = et.Carry(jnp.zeros(3))


def carrying(hyper):
    """LAMB, whose norms are of one member; carried numbers; a scaled loss; augmentation."""

    def moving(model, batch, context):
        x, y = batch
        mean = 0.9 * model.mean.value + 0.1 * x.mean(0)
        out = ((x - mean) @ model.w) @ model.frozen.value
        value = context.hyper["scale"] * jnp.mean((out - y) ** 2)
        return value, {}, eqx.tree_at(lambda m: m.mean.value, model, mean)

    def shaken(batch, key):
        x, y = batch
        return x + 0.1 * jax.random.normal(key, x.shape), y

    learner = et.Learner(et.Gradient(moving), optax.lamb(0.03, weight_decay=0.1))
    return phase(learner, steps=100, validation=None, augment=shaken, hyper=hyper)


CASES = {
    "adversarial": (adversarial, init, VARY),
    "carrying": (carrying, Carrying, {"scale": [0.5, 1.0, 2.0], "seed": [5, 6, 5]}),
}


@pytest.mark.parametrize("case", CASES)
def test_agrees_with_its_lone_training(case):
    phase_of, make, vary = CASES[case]
    template = phase_of({})
    result = trainer(template, vary, make=make).fit()

    def own(hyper):  # the same learners: programs that are compiled serve all
        return et.Phase(
            "fit", template.learners, DATA, template.length, template.validation,
            template.augment, keep=template.keep, hyper=hyper,
        )  # fmt: skip

    for number in range(3):
        one = alone(own, number, vary, make)
        close(result.member(number), one.model)
        mine = result.history[next(n for n in result.history.names if n.endswith(f".{number}"))]
        theirs = one.history[next(iter(one.history.names))]
        np.testing.assert_array_equal(mine.step, theirs.step)
        np.testing.assert_allclose(mine.value, theirs.value, rtol=1e-4, atol=1e-5)
        for name, value in one.metrics.items():
            np.testing.assert_allclose(result.metrics[f"{name}.{number}"], value, rtol=1e-4)


def test_a_team_of_one_has_the_bits_of_the_lone_training():
    vary = {"rate": [0.01, 0.03], "seed": [1, 2]}
    result = trainer(phase(), vary, team=1).fit()
    for number in range(2):
        one = alone(lambda hyper: phase(hyper=hyper), number, vary)
        equal(result.member(number), one.model)
        column = result.history[f"train/loss.{number}"]
        np.testing.assert_array_equal(column.value, one.history["train/loss"].value)


def test_two_phases_and_groups_of_two_shapes():
    """Widths make groups; the second phase begins with what the first has kept."""
    vary = {"width": [4, 2, 4], "rate": [0.01, 0.02, 0.03]}
    phases = [
        phase(steps=12, keep=et.Best("valid/error", "min")),
        phase(name="on", steps=5, validation=None),
    ]
    result = trainer(phases, vary, team=2).fit()
    assert [result.member(n)["head"].shape for n in range(3)] == [(4,), (2,), (4,)]
    assert result.history.events[0]["teams"] == [2, 1]
    for number in range(3):
        one = alone(
            lambda hyper: [
                phase(steps=12, keep=et.Best("valid/error", "min"), hyper=hyper),
                phase(name="on", steps=5, validation=None, hyper=hyper),
            ],
            number,
            {"rate": vary["rate"]},
            lambda key, number=number: init(key, vary["width"][number]),
        )
        close(result.member(number), one.model)
    assert [one.varied["width"] for one in result.members] == [4, 2, 4]


def test_convolutions_are_trained_one_by_one_on_a_cpu():
    def make(key):
        return {"kernel": jax.random.normal(key, (2, 1, 3))}

    def convolved(model, batch, context):
        return jnp.mean(jax.lax.conv(batch[0][:, None], model["kernel"], (1,), "SAME") ** 2)

    learner = et.Learner(et.Gradient(convolved), optax.sgd(0.1))
    one = et.Phase("fit", learner, DATA, et.Steps(3))
    result = et.Trainer(phases=one, population=et.Population(make, 2), progress=False).fit()
    assert result.history.events[0]["teams"] == [1, 1]
    seeds = [one.seed for one in result.members]
    assert seeds == [0, 1]
    for number in seeds:
        model = make(jax.random.key(number))
        equal(
            result.member(number), et.Trainer(model, one, seed=number, progress=False).fit().model
        )


@pytest.mark.slow
def test_what_is_timed_is_kept_and_changes_no_bit():
    """Whatever teams are chosen, they are those that the history says."""
    result = trainer(phase(), team=None).fit()
    sizes = result.history.events[0]["teams"]
    assert sizes in ([1, 1, 1], [3])
    equal(result.model, trainer(phase(), team=sizes[0]).fit().model)


@pytest.mark.slow
def test_without_data_and_models_stay_the_users():
    def climb(model, batch, context):
        return -jnp.sum(model["head"]) * context.hyper["rate"]

    learner = et.Learner(et.Gradient(climb), optax.sgd(1.0))
    one = et.Phase("climb", learner, None, et.Steps(4))
    kept = {seed: init(jax.random.key(seed)) for seed in range(2)}
    vary = {"rate": [1.0, 2.0], "seed": [0, 1]}
    population = et.Population(lambda key: kept[int(jax.random.key_data(key)[-1])], vary=vary)
    train = et.Trainer(phases=one, population=population, progress=False)
    first, again = train.fit(), train.fit()
    equal(first.model, again.model)
    for number in range(2):
        grown = numbers(first.member(number)["head"] - kept[number]["head"])[0]
        np.testing.assert_allclose(grown, 4.0 * (number + 1), rtol=1e-6)
