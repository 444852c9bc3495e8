"""Trainings on several devices against one device; run by `test_mesh_basics.py`."""

import re
import tempfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import PartitionSpec as P
from trained import X, Y, assert_equal, distance, fit, mesh, network, phase, same, squares

import etude as et
from etude.engine.compiled_loop import TracedLoop
from etude.engine.layout import Layout
from etude.engine.program import columns


def check_supervised(counts):
    with jax.enable_x64(True):
        assert_equal(network(), phase(), counts)


def check_supervised_in_single_precision_step_by_step(counts):
    assert_equal(network(), phase(), counts, 1e-3, executor="dispatch")


def check_gan(counts):
    """Alternating learners, one of which takes several turns, with random draws."""

    def critic(model, batch, context):
        x, _ = batch
        fake = jax.vmap(model["g"])(jax.random.normal(context.key, x.shape))
        return jnp.mean(jax.vmap(model["d"])(fake)) - jnp.mean(jax.vmap(model["d"])(x)) + 0.1 * (
            jnp.mean(jax.vmap(model["d"])(x) ** 2)
        )  # fmt: skip

    def generator(model, batch, context):
        fake = jax.vmap(model["g"])(jax.random.normal(context.key, batch[0].shape))
        return -jnp.mean(jax.vmap(model["d"])(fake))

    with jax.enable_x64(True):
        keys = jax.random.split(jax.random.key(1))
        make = lambda key, size: network().__class__(6, size, 16, 1, key=key)  # noqa: E731
        model = {"d": make(keys[0], 1), "g": make(keys[1], 6)}
        learners = [
            et.Learner(
                et.Gradient(critic), optax.adam(1e-3), where=lambda m: m["d"], repeat=2,
                accumulate=3, name="critic",
            ),
            et.Learner(
                et.Gradient(generator), optax.adam(1e-3), where=lambda m: m["g"], name="generator",
            ),
        ]  # fmt: skip
        game = et.Phase("gan", learners, et.ArrayData((X, Y), 24), et.Steps(50))
        assert_equal(model, game, counts)


def check_the_same_samples_in_every_micro_batch(counts):
    """By a number that is exact, and another one for any other micro-batch."""

    def loss(w, batch, context):
        return w * 0.0, {"largest": batch.max(), "smallest": batch.min()}

    with jax.enable_x64(True):
        learner = et.Learner(et.Gradient(loss), optax.sgd(0.1), accumulate=3)
        data = et.ArrayData(np.arange(100.0), 24)
        ids = et.Phase("ids", learner, data, et.Steps(12))
        one = fit(jnp.zeros(()), ids).history
        for count in counts:
            many = fit(jnp.zeros(()), ids, count).history
            for name in ("train/largest", "train/smallest"):
                np.testing.assert_array_equal(one[name].value, many[name].value)


class Cut(et.Callback):
    def on_steps_end(self, event, metrics):
        if event.step >= 25:
            raise KeyboardInterrupt


def check_resume_on_other_meshes(counts):
    with jax.enable_x64(True), tempfile.TemporaryDirectory() as folder:
        spread = {"sharding": et.Sharded(at_least=1024)}
        whole = fit(network(), phase(), 8, **spread)
        for count in (*counts, None):
            run = Path(folder) / str(count)
            cut = [et.ModelCheckpoint(every=et.Steps(10)), Cut()]
            with pytest.raises(KeyboardInterrupt):
                fit(network(), phase(), 8, run=run, callbacks=cut, **spread)
            options = {} if count is None else spread
            trainer = et.Trainer(
                network(), phase(), mesh=mesh(count), run=run, progress=False, **options
            )
            ended = trainer.resume()
            assert distance(ended.model, whole.model) < 1e-5, count
            events = [one for one in ended.history if one.get("event") == "resume"]
            if count == 8:
                assert same(ended.model, whole.model)
                assert not events
            else:
                assert "devices.mesh" in events[0]["changes"], events
                assert "rounding" in events[0]["bits"]


def check_sharded_and_rules(counts):
    """What follows a parameter is spread as it is, and the training is the same."""
    with jax.enable_x64(True):
        one = phase(validation=False)
        alone = fit(network(), one)
        rules = {r"layers\[0\].weight": P("model"), "weight": et.Sharded(at_least=64)}
        kinds = [(et.mesh(data=2, model=4), rules), (mesh(8), et.Sharded(at_least=1024))]
        for devices, sharding in kinds:
            again = fit(network(), one, mesh=devices, sharding=sharding)
            assert distance(again.model, alone.model) < 1e-5
        assert again.model.layers[1].weight.sharding.spec == P("data", None)
        twice = [fit(network(), one, mesh=devices, sharding=sharding).model for _ in range(2)]
        assert same(*twice)


def check_data_from_the_host(counts):
    pairs = list(zip(X, Y, strict=True))
    batches = [(X[i : i + 24], Y[i : i + 24]) for i in range(0, 100, 24)]
    with jax.enable_x64(True):
        for data in (et.AccessData(pairs, 24), et.StreamData(batches)):
            assert_equal(network(), phase(data), counts)


def check_roles_and_rescue(counts):
    """Carried, frozen and skipped; a rescue; half precision."""

    def loss(model, batch, context):
        value = squares(model["net"], batch, context) * model["scale"].value
        count = et.Carry(model["seen"].value + jnp.sum(batch[1]))
        return value, {}, {**model, "seen": count}

    def measure(model, batch, context):
        return {"loss": squares(model["net"], batch, context)}

    with jax.enable_x64(True):
        model = {"net": network(16), "scale": et.Fixed(jnp.ones(())), "seen": et.Carry(0.0)}
        data = et.ArrayData((X, Y), 24)
        learner = et.Learner(et.Gradient(loss), optax.adam(1e-2), where=lambda m: m["net"])
        held = et.Validation(data, measure, every=et.Steps(10))
        away = et.Phase("away", learner, data, et.Steps(5))
        rescue = et.Rescue(away, when=lambda history: len(history) == 1)
        whole = et.Phase("fit", learner, data, et.Steps(30), held, rescue=rescue)
        assert_equal(model, whole, counts, nonfinite="skip")
    half = et.Learner(
        et.Gradient(squares), optax.adam(1e-2), precision="bfloat16", inputs=lambda batch: batch[0]
    )
    together = et.Phase("half", half, et.ArrayData((X, Y), 24), et.Steps(20))
    assert_equal(network(16), together, counts, 2e-2)


def check_bad_input(counts):
    def refused(words, *phases, **options):
        with pytest.raises(et.ConfigurationError, match=re.escape(words)):
            et.Trainer(network(), phases or phase(), **options)

    four, named = et.mesh(data=4), et.mesh(data=4, model=2)
    refused("got no mesh", sharding=et.Sharded())
    refused("Auto", mesh=jax.make_mesh((4,), ("data",)))
    refused("batch_size 24 is not divisible by the 5", mesh=et.mesh(data=5))
    refused("micro-batches of 6", phase(accumulate=4), mesh=four)
    pairs = et.AccessData(list(zip(X, Y, strict=True)), 30)
    refused("batch_size 30", phase(pairs, accumulate=1), mesh=four)
    refused("the largest has 16384", mesh=four, sharding=et.Sharded(at_least=2**30))
    refused("matches no array", mesh=four, sharding={"layer.*wait": P("data")})
    refused("no axis 'modle'", mesh=named, sharding={"weight": P("modle")})
    refused("taken by the rules before", mesh=four, sharding={"weight": P(), "0.*weight": P()})
    refused("splits dimension 1 in 4", mesh=four, sharding={"weight": P(None, "data")})
    refused("fewer dimensions", mesh=four, sharding={"bias": P("data", None)})
    refused("no regular expression", mesh=four, sharding={"(": P()})
    several = et.Population(lambda key: network(), 2)
    with pytest.raises(et.ConfigurationError, match="over the axis 'members' alone"):
        et.Trainer(phases=phase(), population=several, mesh=four)
    wrong = [(4, None, "got int. Pass et.mesh"), (four, {"weight": "data"}, "got str")]
    for devices, sharding, words in [*wrong, (four, 0.5, "got float")]:
        with pytest.raises(et.ConfigurationError, match=words):
            Layout.of(devices, sharding, network())
    for words, axes in [("needs more", {"data": 9}), ("positive", {"data": 0}), ("none", {})]:
        with pytest.raises(et.ConfigurationError, match=words):
            et.mesh(**axes)


def check_data_by_rows(counts):
    """The batches do not depend on the number of devices, and no device reads another's rows."""
    samples = X[:96], Y[:96]
    for shuffle in (True, False):
        with jax.enable_x64(True):
            data = et.ArrayData(samples, 40, shuffle=shuffle, shards=8)
            one = phase(data, accumulate=1)
            assert_equal(network(), one, counts)
    ids = et.ArrayData(np.arange(96), 40, shards=8)
    order = ids.order(jax.random.key(0))
    fetches = [*ids.fetches] * 2 + [ids.tail]
    batches = [f(ids.arrays, order, jnp.int32(n)) for n, f in enumerate(fetches)]
    assert sorted(np.concatenate(batches).tolist()) == list(range(96))
    assert [batch.tolist() for batch, _ in ids.sequential()][1] == list(range(40, 80))
    text = compiled_text(one, et.mesh(data=8))
    assert "all-reduce" in text
    assert not re.search(r"= \S* all-gather", text), re.findall(r".*all-gather.*", text)[:3]


def compiled_text(phase, devices):
    layout = Layout.of(devices, None, network())
    plan = et.Plan.of(phase, network(), layout=layout)
    state = et.init_state(plan, network())
    arrays = layout.put_data(phase.data.arrays)
    names = columns(plan, state)
    traced = TracedLoop(plan, phase.data, state, arrays, names, layout.place)
    return traced.compiled().as_text()


def check_many_dispatches_and_a_guard_against_transfers(counts):
    """Unthrottled, so many programs on eight CPU devices would wait for each other for ever."""
    model, one = network(8), phase(accumulate=1, length=2000)
    trainer = et.Trainer(model, one, mesh=mesh(8), executor="dispatch", progress=False)
    with jax.transfer_guard("disallow"):
        assert trainer.fit().reason is et.Reason.LENGTH


def check_one_reduction_a_step(counts):
    """That of the gradients; none to find out whether the places of all samples are computed."""
    samples = np.zeros((960, 6)), np.zeros(960)
    one = phase(et.ArrayData(samples, 24), accumulate=1)
    text = compiled_text(one, et.mesh(data=8))
    assert len(re.findall(r"= .* all-reduce(?:-start)?\(", text)) == 1
