"""Members of a population over several devices against one; run by `test_mesh_members.py`."""

import re
import tempfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from trained import X, Y, distance, network, same, squares

import etude as et

DATA = et.ArrayData((X.astype(np.float32), Y.astype(np.float32)), 24)
MEMBERS = 8
#: The last learns fast enough to break, where a check breaks one.
RATES = np.geomspace(1e-3, 1e-2, MEMBERS).tolist()
VARY = {"rate": RATES, "seed": range(MEMBERS)}
COLLECTIVE = re.compile(r"all-reduce|all-gather|reduce-scatter|all-to-all|collective-permute")
LEARNER = et.Learner(
    et.Gradient(squares), lambda hyper: optax.adam(hyper["rate"]), ema=0.9, clip_norm=1.0
)


def make(key):
    return network(16).__class__(6, 1, 16, 2, key=key)


def phase(learner=LEARNER, data=DATA, length=50, **options):
    held = et.Validation(data, every=et.Steps(20))
    return et.Phase("fit", learner, data, et.Steps(length), held, **options)


def trainer(count, team=None, phases=None, init=make, vary=VARY, **options):
    """A training on so many devices; None: without a mesh."""
    population = et.Population(init, vary=vary, team=team)
    mesh = None if count is None else et.mesh(members=count)
    phases = phase() if phases is None else phases
    return et.Trainer(phases=phases, population=population, mesh=mesh, progress=False, **options)


def on_devices(result, count):
    """Every device has trained as many members as the others."""
    found = [jax.tree.leaves(model)[0].devices() for model in result.model]
    shares = [found.count({device}) for device in jax.devices()[:count]]
    assert shares == [len(found) // count] * count, shares


def assert_same_bits(one, other):
    for mine, theirs in zip(one.model, other.model, strict=True):
        assert same(mine, theirs)
    assert one.members == other.members
    assert one.metrics == other.metrics
    assert one.history.names == other.history.names
    for name in one.history.names:
        np.testing.assert_array_equal(one.history[name].value, other.history[name].value)


def check_teams_of_one_have_the_bits_of_one_device(counts):
    alone = trainer(None, 1).fit()
    for count in counts:
        result = trainer(count, 1).fit()
        on_devices(result, count)
        assert_same_bits(result, alone)


def check_teams_are_equal_to_rounding_and_to_the_bit_on_one_mesh(counts):
    """In double precision within 1e-10 of the lone training; teams of all sizes."""
    with jax.enable_x64(True):
        data = et.ArrayData((X, Y), 24)
        lone = [
            et.Trainer(
                make(jax.random.key(number)),
                phase(data=data, hyper={"rate": RATES[number]}),
                seed=number,
                progress=False,
            )
            .fit()
            .model
            for number in range(MEMBERS)
        ]
        for count in counts:
            results = [trainer(count, MEMBERS, phase(data=data)).fit() for _ in range(2)]
            sizes = results[0].history.events[0]["teams"]
            assert sizes == [MEMBERS // count] * count
            assert_same_bits(*results)
            for member, model in zip(results[0].model, lone, strict=True):
                assert distance(member, model) < 1e-10


def check_in_single_precision_with_teams_that_are_timed(counts):
    alone = trainer(None).fit()
    for count in counts:
        result = trainer(count).fit()
        on_devices(result, count)
        for mine, theirs in zip(result.model, alone.model, strict=True):
            assert distance(mine, theirs) < 1e-3


def check_a_rule_without_gradients(counts):
    """A delta rule, whose updates are computed by hand."""

    def delta(trainable, rest, batch, context):
        x, y = batch
        error = x @ trainable - y
        return et.Proposal(x.T @ error / len(y), {"error": jnp.mean(error**2)})

    learner = et.Learner(delta, lambda hyper: optax.sgd(hyper["rate"]))
    ruled = et.Phase("fit", learner, DATA, et.Steps(50))
    init = lambda key: jax.random.normal(key, (6,))  # noqa: E731
    for team in (1, 2):
        alone = trainer(None, team, ruled, init).fit()
        for count in counts:
            result = trainer(count, team, ruled, init).fit()
            for mine, theirs in zip(result.model, alone.model, strict=True):
                assert distance(mine, theirs) < (1e-30 if team == 1 else 1e-4)


def check_a_selection(counts):
    """The best of one device take the place of the worst of another."""

    def go(count):
        selection = et.Selection("valid/loss", ["rate"], "min", every=1, share=0.25)
        return trainer(count, 1, phase(length=80), callbacks=[selection]).fit()

    alone = go(None)
    exchanges = [one for one in alone.history.events if one["event"] == "exchange"]
    assert len(exchanges) >= 4
    assert any(one["member"] // 4 != one["source"] // 4 for one in exchanges)
    for count in counts:
        result = go(count)
        assert_same_bits(result, alone)
        assert [one for one in result.history.events if one["event"] == "exchange"] == exchanges


def broken(model, batch, context):
    """Not finite at the eighth step of the member of the largest rate."""
    value = squares(model, batch, context)
    return jnp.where((context.hyper["rate"] > RATES[-2]) & (context.step == 7), jnp.nan, value)


def check_a_fault_and_patience(counts):
    """The last device stands still from the eighth step on, where it has one member."""
    learner = et.Learner(et.Gradient(broken), lambda hyper: optax.adam(hyper["rate"]))
    phases = [
        phase(learner, keep=et.Best("valid/loss", "min")),
        et.Phase("on", learner, DATA, et.Steps(10)),
    ]
    vary = {**VARY, "rate": [0.0, *RATES[1:]]}

    def go(count, team):
        stopping = et.EarlyStopping("valid/loss", patience=1, mode="min")
        return trainer(count, team, phases, vary=vary, callbacks=[stopping]).fit()

    alone = go(None, 1)
    ends = [one for one in alone.history.events if one["event"] == "member_end"]
    assert [(one["member"], one["reason"]) for one in ends][:2] == [(7, "FAULT"), (0, "PATIENCE")]
    for count in counts:
        assert_same_bits(go(count, 1), alone)
        together = go(count, MEMBERS)
        assert [one.reason for one in together.members] == [one.reason for one in alone.members]


def check_groups_and_shares_that_are_not_equal(counts):
    """Five members of one shape and two of another: no device is asked to divide anything."""
    vary = {"width": [8, 4, 8, 8, 4, 8, 8], "rate": RATES[:7], "seed": range(7)}
    init = lambda key, width: network().__class__(6, 1, width, 1, key=key)  # noqa: E731
    alone = trainer(None, 1, init=init, vary=vary).fit()
    for count in (3, *[count for count in counts if count < 7]):
        result = trainer(count, 1, init=init, vary=vary).fit()
        assert_same_bits(result, alone)
        on = [jax.tree.leaves(model)[0].devices() for model in result.model]
        loads = sorted(on.count({device}) for device in jax.devices()[:count])
        assert loads[-1] - loads[0] <= 1, loads


def check_convolutions_step_by_step(counts):
    def convolved(model, batch, context):
        out = jax.lax.conv(batch[0][:, None], model, (1,), "SAME")
        return jnp.mean((out.mean((1, 2)) - batch[1]) ** 2)

    learner = et.Learner(et.Gradient(convolved), lambda hyper: optax.sgd(hyper["rate"]))
    one = et.Phase("fit", learner, DATA, et.Steps(20))
    init = lambda key: jax.random.normal(key, (2, 1, 3))  # noqa: E731
    alone = trainer(None, None, one, init).fit()
    for count in counts:
        assert_same_bits(trainer(count, None, one, init).fit(), alone)
        assert_same_bits(trainer(count, 1, phase(length=20), executor="dispatch").fit(),
                         trainer(None, 1, phase(length=20), executor="dispatch").fit())  # fmt: skip


def check_data_by_rows_and_no_data(counts):
    rows = et.ArrayData((X[:96].astype(np.float32), Y[:96].astype(np.float32)), 24, shards=4)

    def grow(model, batch, context):
        return -jnp.sum(model) * context.hyper["rate"]

    learner = et.Learner(et.Gradient(grow), optax.sgd(1.0))
    bare = et.Phase("grow", learner, None, et.Steps(9))
    init = lambda key: jax.random.normal(key, (6,))  # noqa: E731
    for one, make_one in ((phase(data=rows), make), (bare, init)):
        alone = trainer(None, 1, one, make_one).fit()
        for count in counts:
            assert_same_bits(trainer(count, 1, one, make_one).fit(), alone)


class Cut(et.Callback):
    def with_members(self):
        return "all"

    def on_steps_end(self, event, metrics):
        if event.step >= 25:
            raise KeyboardInterrupt


def check_resume_on_other_numbers(counts):
    """Teams that are on one device go on to the same bits; those of several are divided."""
    with tempfile.TemporaryDirectory() as folder:
        for before, team in ((8, 1), (None, MEMBERS), (2, 2)):
            whole = trainer(before, team).fit()
            for count in (*counts, None):
                run = Path(folder) / f"{before}-{team}-{count}"
                cut = [et.ModelCheckpoint(every=et.Steps(10)), Cut()]
                with pytest.raises(KeyboardInterrupt):
                    trainer(before, team, run=run, callbacks=cut).fit()
                ended = trainer(count, team, run=run).resume()
                events = [one for one in ended.history if one.get("event") == "resume"]
                assert bool(events) == (before != count)
                if events:
                    assert "devices.mesh" in events[0]["changes"]
                    assert "rounding" in events[0]["bits"]
                divided = (before is None and (count or 1) > 1) or (before, count) == (2, 8)
                for mine, theirs in zip(ended.model, whole.model, strict=True):
                    assert distance(mine, theirs) < 1e-3
                if not divided:
                    assert_same_bits(ended, whole)
                on_devices(ended, count or 1)


def check_nothing_passes_between_devices(counts):
    """Read from the compiled programs: each is of one device, and holds no collective."""
    from etude.population.subject import Members
    from etude.training.subject import Place

    for count in counts:
        for team in (1, MEMBERS):
            made = trainer(count, team)
            subject = Members(made._population.anew())
            (one,) = subject.settings.phases
            visit = subject.visit(one, subject.first(), Place(0, 0, 0), donate=False)
            subject.programs.compiled(visit)
            program = subject.programs.of(visit)
            devices = set()
            for team_program, state in zip(program.programs, visit.state, strict=True):
                compiled = team_program._loop._compiled
                assert not COLLECTIVE.search(compiled.as_text())
                places = {leaf.sharding for leaf in jax.tree.leaves(state)}
                (place,) = places
                devices |= place.device_set
                asked = {s for s in jax.tree.leaves(compiled.input_shardings) if s is not None}
                assert {device for s in asked for device in s.device_set} == place.device_set
            assert devices == set(jax.devices()[:count])
            program.close()
