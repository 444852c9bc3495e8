"""Threads see the settings of the training; data go where the state is; nothing moves in secret."""

import contextlib
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from problems import blobs, same

import etude as et

FIRST, SECOND = jax.devices()
KINDS = ("arrays", "access", "threads", "stream")


@cache
def source(kind):
    """The same batches from the device, from the host, by threads, and as a stream."""
    x, y = (np.asarray(a) for a in blobs(24))
    pairs = list(zip(x, y, strict=True))
    batches = [(x[i : i + 8], y[i : i + 8]) for i in range(0, 24, 8)]
    return {
        "arrays": lambda: et.ArrayData((x, y), 8, shuffle=False),
        "access": lambda: et.AccessData(pairs, 8, shuffle=False),
        "threads": lambda: et.AccessData(pairs, 8, shuffle=False, workers=2),
        "stream": lambda: et.StreamData(batches),
    }[kind]()


def loss(w, batch, context):
    x, labels = batch
    return optax.softmax_cross_entropy_with_integer_labels(x @ w, labels).mean()


def trainer(w, data, loss=loss, **options):
    learner = et.Learner(et.Gradient(loss), optax.sgd(0.1, momentum=0.9))
    validation = et.Validation(data, every=et.Steps(2))
    phase = et.Phase("fit", learner, data, et.Steps(5), validation)
    options = {"callbacks": [et.ModelCheckpoint(every=et.Steps(2))], "progress": False} | options
    return et.Trainer(w, phase, **options)


def weights(device=None):
    w = jnp.zeros((2, 2))
    return w if device is None else jax.device_put(w, device)


@cache
def expected():
    """What every kind of source gives on the default device."""
    result = trainer(weights(), source("arrays"), executor="dispatch").fit()
    assert result.model.devices() == {FIRST}
    return result


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_on_another_device_trains_there_and_resumes(kind, tmp_path):
    class Cut(et.Callback):
        def on_steps_end(self, event, metrics):
            assert event.model().devices() == {SECOND}
            if event.step >= 3:
                raise KeyboardInterrupt

    options = {"run": tmp_path / "run", "executor": "dispatch"}
    callbacks = [et.ModelCheckpoint(every=et.Steps(2)), Cut()]
    with pytest.raises(KeyboardInterrupt):
        trainer(weights(SECOND), source(kind), callbacks=callbacks, **options).fit()
    resumed = trainer(weights(SECOND), source(kind), **options).resume()
    assert resumed.model.devices() == {SECOND}
    np.testing.assert_array_equal(resumed.model, expected().model)
    assert resumed.metrics == expected().metrics


@pytest.mark.parametrize("executor", ["loop", "dispatch"])
@pytest.mark.parametrize("where", ["model", "data", "default", "model against data"])
def test_every_way_to_choose_a_device(where, executor):
    arrays, w = blobs(24), weights(SECOND if "model" in where else None)
    if "data" in where:
        arrays = jax.device_put(arrays, FIRST if "model" in where else SECOND)
    data = et.ArrayData(arrays, 8, shuffle=False)
    with jax.default_device(SECOND) if where == "default" else contextlib.nullcontext():
        result = trainer(w, data, executor=executor).fit()
        found = et.evaluate(result.model, data, loss)
    assert result.model.devices() == {SECOND}
    assert {f"valid/{name}": value for name, value in found.items()} == result.metrics
    np.testing.assert_allclose(result.model, expected().model, atol=1e-6)
    # What was committed to no device is committed to none afterwards.
    assert result.model.committed == (where != "default")


def test_sharded_data_spread_the_training_over_their_devices():
    spread = NamedSharding(Mesh(np.array(jax.devices()), ("data",)), PartitionSpec("data"))
    data = et.ArrayData(jax.device_put(blobs(24), spread), 8, shuffle=False)
    result = trainer(weights(), data).fit()
    assert result.model.devices() == {FIRST, SECOND}
    np.testing.assert_allclose(result.model, expected().model, atol=1e-6)


def test_a_model_scattered_over_devices_is_refused_by_name():
    model = {"a": weights(FIRST), "b": weights(SECOND)}
    with pytest.raises(et.ConfigurationError, match=r"\['a'\] on .*0.*, \['b'\] on .*1"):
        trainer(model, source("arrays"))


class Doubles:
    """Reads float64 samples through JAX, as a data set or a transform may."""

    def __len__(self):
        return 8

    def __getitem__(self, index):
        return jnp.asarray(1 + 1e-9 * index)


@pytest.mark.parametrize("workers", [0, 2])
def test_data_read_in_threads_are_double_where_the_training_is(workers):
    def loss(w, batch, context):
        return w * jnp.mean(batch)

    with jax.enable_x64(True):
        data = et.AccessData(Doubles(), 8, workers=workers)
        result = trainer(jnp.zeros(()), data, loss).fit()
        mean = np.mean(1 + 1e-9 * np.arange(8))
        rates = 0.1 * np.cumsum(0.9 ** np.arange(5))  # momentum of a constant gradient
        assert float(result.model) == pytest.approx(-mean * rates.sum(), rel=1e-14)


@pytest.mark.parametrize(
    "data",
    [et.AccessData([1.0, 2.0], 2, workers=1), et.StreamData([np.array([1.0, 2.0])])],
    ids=["threads", "stream"],
)
def test_data_follow_the_settings_of_each_reading(data):
    """A source, and its pool of threads, may outlive the settings under which it was made."""
    for double in (False, True, False):
        with jax.enable_x64(double):
            [(batch, _)] = data.sequential()
        assert batch.dtype == (np.float64 if double else np.float32)


@pytest.mark.parametrize("workers", [0, 1])
def test_data_are_read_on_the_default_device_of_the_training(workers):
    seen = set()

    def transform(sample):
        seen.update(jnp.ones(1).devices())
        return sample

    data = et.AccessData([1.0, 2.0], 2, workers=workers, transform=transform)
    seen.clear()
    with jax.default_device(SECOND):
        trainer(jnp.zeros(()), data, lambda w, batch, context: w * jnp.mean(batch)).fit()
    assert seen == {SECOND}


@pytest.mark.slow
def test_processes_read_double_where_the_training_is():
    with jax.enable_x64(True):
        values = [1 + 1e-9 * i for i in range(8)]
        data = et.AccessData(values, 8, shuffle=False, workers=1, worker_kind="process")
        [(batch, _)] = data.sequential()
        np.testing.assert_array_equal(batch, values)


@pytest.mark.parametrize("kind", KINDS)
def test_a_guard_of_the_user_against_transfers_is_kept(kind, tmp_path):
    w, options = weights(), {"run": tmp_path / kind, "executor": "dispatch"}
    first, second, third = source(kind), source(kind), source(kind)
    with jax.transfer_guard("disallow"):
        result = trainer(w, first, **options).fit()
        again = trainer(w, second, **options).resume()
        found = et.evaluate(result.model, third, loss)
    assert same(result.model, again.model)
    assert same(result.model, expected().model)
    assert found["loss"] == result.metrics["valid/loss"]


@pytest.mark.parametrize("kind", ["arrays", "access"])
def test_disable_jit_trains_step_by_step_with_real_values(kind):
    seen = []

    def watched(w, batch, context):
        if not isinstance(context.step, jax.core.Tracer):
            seen.append(int(context.step))
        return loss(w, batch, context)

    learner = et.Learner(et.Gradient(watched), optax.sgd(0.1))
    validation = et.Validation(source(kind))
    phase = et.Phase("fit", learner, source(kind), et.Steps(2), validation)
    with jax.disable_jit():
        result = et.Trainer(weights(), phase, progress=False).fit()
    assert seen == [0, 1, 2, 2, 2]  # two steps, and the three batches of a validation
    truth = et.Trainer(weights(), phase, progress=False).fit()
    np.testing.assert_allclose(result.model, truth.model, atol=1e-6)
    assert result.metrics["valid/loss"] == pytest.approx(truth.metrics["valid/loss"], rel=1e-6)


@pytest.mark.parametrize("executor", ["loop", "dispatch"])
@pytest.mark.parametrize("optimizer", [optax.sgd(0.1), optax.adam(0.1)], ids=["sgd", "adam"])
def test_a_sharded_model_trains_as_on_one_device_and_stays_sharded(optimizer, executor):
    """The moments of Adam begin on all devices; the loop may not give them back elsewhere."""
    spread = NamedSharding(Mesh(np.array(jax.devices()), ("model",)), PartitionSpec("model"))

    def trained(w):
        def squares(w, batch, context):
            return jnp.mean((batch @ w - 1.0) ** 2)

        x = jnp.asarray(np.random.default_rng(0).normal(size=(16, 4)).astype("f4"))
        learner = et.Learner(et.Gradient(squares), optimizer, ema=0.9)
        phase = et.Phase("fit", learner, et.ArrayData(x, 4), et.Steps(10))
        return et.Trainer(w, phase, executor=executor, progress=False).fit().model

    found = trained(jax.device_put(jnp.zeros((4, 2)), spread))
    assert np.allclose(found, trained(jnp.zeros((4, 2))), atol=1e-6)
    assert found.sharding == spread
