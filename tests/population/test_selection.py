"""Selection between members: copies of the best take the place of the worst."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from crowd import RATES, equal, phase, trainer
from test_resuming_population import Breaking

import etude as et

#: The mean of noise is learnt: a large rate arrives soon and stays noisy, a small one is late.
NOISE = np.random.default_rng(0).normal(size=(512, 16)).astype(np.float32)
DATA = et.ArrayData(jnp.asarray(NOISE - NOISE.mean(0)), 4)
RATE = {"rate": (0.002 * 2 ** np.arange(8)).tolist()}


def squared(w, x, context):
    return jnp.sum((w - x) ** 2) / (2 * len(x))


LEARNER = et.Learner(et.Gradient(squared), lambda hyper: optax.sgd(hyper["rate"]))
WHOLE = et.ArrayData(DATA.arrays, 512)
FAR = et.Validation(WHOLE, lambda w, x, context: {"far": jnp.mean(w**2)}, every=et.Steps(20))


def descend(callbacks=(), vary=RATE, **options):
    population = et.Population(lambda key: jnp.full(16, 10.0), vary=vary, team=8)
    one = et.Phase("fit", LEARNER, DATA, et.Steps(400), FAR)
    return et.Trainer(
        phases=one, population=population, callbacks=callbacks, progress=False, **options
    )


def selection(**options):
    return et.Selection("valid/far", ["rate"], mode="min", factors=(0.5, 2.0), **options)


def test_a_schedule_that_is_found_beats_every_constant_rate():
    constant = descend().fit()
    best = min(constant.metrics.values())
    # The best constant rate is within the grid, not at its end.
    assert best < min(constant.metrics["valid/far.0"], constant.metrics["valid/far.7"])
    found = descend([selection()]).fit()
    assert min(found.metrics.values()) < 0.5 * best
    exchanges = [one for one in found.history.events if one["event"] == "exchange"]
    assert len(exchanges) == 19 * 2
    rates = [one["rate"] for one in exchanges]
    assert max(rates[:4]) > 4 * max(rates[-4:])
    last = {one["member"]: one["rate"] for one in exchanges}
    present = {number: one.varied["rate"] for number, one in enumerate(found.members)}
    wanted = {number: last.get(number, RATE["rate"][number]) for number in range(8)}
    assert present == pytest.approx(wanted, rel=1e-6)


@pytest.mark.slow
def test_a_copy_is_its_source_with_another_number():
    seen = {}

    class Looking(et.Callback):
        def with_members(self):
            return "all"

        def on_validation_end(self, event, metrics):
            if event.step == 5:
                return et.Exchange(source=0, member=2, factors={"rate": 2.0})
            return None

        def next_step(self, event):
            return 6 if event.step == 5 else None

        def on_steps_end(self, event, metrics):
            if event.step == 5:
                seen["before"] = event.model()
            if event.step == 6:
                seen["losses"] = metrics.last()

    for team in (3, 2):
        vary = {"rate": RATES, "seed": [4, 5, 4]}
        result = trainer(phase(), vary, team, callbacks=[Looking()]).fit()
        # Equal weights, batches and noise: one step later the losses are still the same.
        assert seen["losses"]["loss.0"] == pytest.approx(seen["losses"]["loss.2"], rel=1e-6)
        (event,) = [one for one in result.history.events if one["event"] == "exchange"]
        assert event["rate"] == pytest.approx(2 * RATES[0])
        moved = jax.tree.map(lambda a, b: jnp.abs(a - b).max(), *result.model[::2])
        assert max(jax.tree.leaves(moved)) > 1e-4


@pytest.mark.slow
def test_resumed_to_the_same_bits(tmp_path):
    whole = descend([selection(every=2)]).fit()
    with pytest.raises(RuntimeError, match="plug"):
        descend(
            [selection(every=2), Breaking(130), et.ModelCheckpoint(every=et.Steps(50))],
            run=tmp_path / "run",
        ).fit()
    again = [selection(every=2), et.ModelCheckpoint(every=et.Steps(50))]
    result = descend(again, run=tmp_path / "run").resume()
    equal(result.model, whole.model)
    assert result.history.events == whole.history.events


def test_one_model_has_nothing_to_select_from():
    one = et.Phase("fit", LEARNER, DATA, et.Steps(2), FAR, hyper={"rate": 0.1})
    train = et.Trainer(jnp.zeros(16), one, callbacks=[selection()], progress=False)
    with pytest.raises(et.ConfigurationError, match=r"Selection is between the members"):
        train.fit()
    bare = et.Learner(et.Gradient(squared), optax.sgd(0.1))
    one = et.Phase("fit", bare, DATA, et.Steps(2), FAR)
    message = r"perturbs 'rate', which does not vary. Nothing does: .* vary={'rate': \[...\]}\)\)"
    with pytest.raises(et.ConfigurationError, match=message):
        et.Trainer(jnp.zeros(16), one, callbacks=[selection()], progress=False)


def test_wrong_selections_are_refused():
    for options, message in (
        ({"perturb": "rate"}, "perturb lists the names"),
        ({"perturb": []}, r"perturb lists the names of varied numbers; got \[\]"),
        ({"every": 0}, "every is a whole number from 1; got 0"),
        ({"share": 0.6}, r"share is a part of the members in \(0, 0.5\]; got 0.6"),
        ({"factors": (0.0,)}, "factors are positive numbers"),
        ({"seed": -1}, "seed is a whole number from 0"),
        ({"mode": None}, "is a small or a large"),
    ):
        with pytest.raises(et.ConfigurationError, match=message):
            et.Selection("valid/far", **{"perturb": ["rate"], "mode": "min", **options})
    with pytest.raises(et.ConfigurationError, match=r"perturbs 'rat', which does not vary\. Did"):
        descend([et.Selection("valid/far", ["rat"], "min")])
    with pytest.raises(et.ConfigurationError, match="Selection watches 'valid/for'"):
        descend([et.Selection("valid/for", ["rate"], "min")])
