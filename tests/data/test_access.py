"""AccessData: each sample once, seeking, workers, refusals."""

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from recording import Squares, count

from etude.data import AccessData
from etude.engine.source import Hosted, Resident
from etude.errors import DataError


def same(a, b):
    return len(a) == len(b) and all(
        np.array_equal(p["x"], q["x"]) and np.array_equal(p["y"], q["y"])
        for p, q in zip(a, b, strict=True)
    )


@given(st.integers(1, 40), st.data(), st.booleans(), st.integers(-5, 2**40))
def test_an_epoch_is_a_permutation(length, draw, drop_last, seed):
    size = draw.draw(st.integers(1, length))
    data = AccessData(Squares(length), size, drop_last=drop_last)
    batches = list(data.batches((seed,), 3, 0))
    seen = np.concatenate([batch["y"] for batch in batches])
    assert len(batches) == data.steps_per_epoch
    assert len(set(seen)) == len(seen) == (length - length % size if drop_last else length)
    assert same(batches, list(data.batches((seed,), 3, 0)))
    assert all(np.array_equal(b["x"][:, 0], b["y"].astype(np.float32) ** 2) for b in batches)


@given(st.integers(1, 30), st.integers(1, 6), st.data())
def test_seeking_is_reading_through(length, size, draw):
    data = AccessData(Squares(length), min(size, length))
    position = draw.draw(st.integers(0, data.steps_per_epoch))
    assert same(list(data.batches((1,), 2, 0))[position:], list(data.batches((1,), 2, position)))
    whole = list(data.wrapped((1,), 0, 0, 30))
    assert same(whole[position:], list(data.wrapped((1,), 0, position, 30)))
    seen = np.concatenate([batch["y"] for batch in whole])[:length]
    assert len(seen) < length or sorted(seen) == list(range(length))


def test_orders_differ_between_epochs_and_seeds():
    data = AccessData(Squares(50), 50)
    orders = [next(data.batches((seed,), epoch, 0))["y"] for seed in (0, 1) for epoch in (0, 1)]
    assert len({tuple(order) for order in orders}) == 4


@pytest.mark.parametrize("kind", ["thread", "process"])
def test_workers_change_nothing(kind):
    alone = AccessData(Squares(23), 4)
    helped = AccessData(Squares(23), 4, workers=2, worker_kind=kind)
    for position in (0, 3):
        assert same(list(alone.batches((7,), 1, position)), list(helped.batches((7,), 1, position)))
    assert [n for _, n in helped.sequential()] == [4, 4, 4, 4, 4, 3]


def test_through_the_program_each_sample_counts_once_per_epoch():
    data = AccessData(Squares(10), 4, workers=2)
    assert isinstance(data, Hosted)
    assert not isinstance(data, Resident)
    counts, _ = count(data, 10, 6, lambda batch: batch["y"], cuts=(1, 4))
    assert counts.tolist() == [2] * 10


def test_grain_data_sets_of_samples_and_of_batches():
    grain = pytest.importorskip("grain")
    samples = grain.MapDataset.range(10).map(lambda i: {"x": np.float32(i), "y": i})
    data = AccessData(samples, 5, shuffle=False)
    assert next(data.batches((0,), 0, 1))["y"].tolist() == [5, 6, 7, 8, 9]
    batched = AccessData(samples.batch(4), None, shuffle=False)
    assert [n for _, n in batched.sequential()] == [4, 4, 2]
    shuffled = AccessData(samples.batch(4), None)
    seen = np.concatenate([batch["y"] for batch in shuffled.batches((0,), 0, 0)])
    assert sorted(seen) == list(range(10))


def test_a_broken_sample_is_named():
    class Broken(Squares):
        def __getitem__(self, index):
            if index == 3:
                raise ValueError("torn page")
            return super().__getitem__(index)

    with pytest.raises(DataError, match=r"Sample 3.*torn page"):
        list(AccessData(Broken(5), 2).batches((0,), 0, 0))


@pytest.mark.parametrize(
    ("samples", "options", "message"),
    [
        ([], {}, "empty"),
        (iter([1]), {}, "StreamData"),
        ({"x": [1]}, {}, "ArrayData"),
        ([1, 2], {"batch_size": 3}, "larger than the data"),
        ([np.zeros(2), np.zeros(2), np.zeros(3)], {}, "Sample 2 is ragged.*\\(3,\\).*\\(2,\\)"),
        ([1, 2.5], {}, "Sample 1 is ragged.*float32.*int32"),
        ([{"x": 1}, {"y": 1}], {}, "Sample 1 has another structure"),
        ([0.0, 1.0, np.nan], {"batch_size": 2}, "Sample 2.*nan"),
        ([np.zeros(2), np.array([0, np.inf])], {}, "Sample 1.*inf at index \\(1,\\)"),
        ([1e300], {}, "Sample 0.*inf"),
        ([0, 1, 5], {"classes": 5}, "Label 5 of sample 2"),
        (["cat"], {}, "not numbers"),
        ([2**40], {}, "do not fit int32"),
        ([1], {"batch_size": None, "drop_last": True}, "drop_remainder"),
        ([1], {"worker_kind": "threads"}, "Did you mean 'thread'"),
    ],
)
def test_bad_data_are_refused(samples, options, message):
    with pytest.raises(DataError, match=message):
        list(AccessData(samples, **{"batch_size": 1, **options}).sequential())


@settings(max_examples=10)
@given(st.integers(1, 20), st.integers(1, 20))
def test_evaluation_counts_every_sample_once_in_order(length, size):
    data = AccessData(list(range(length)), min(size, length), drop_last=True)
    seen = [batch for batch, _ in data.sequential()]
    assert np.concatenate(seen).tolist() == list(range(length))


class Mixed:
    """Samples that are alike for the training, though not for NumPy."""

    def __init__(self, *samples):
        self.samples = samples

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, index):
        return self.samples[index]


def whole(*samples, **options):
    ((batch, _),) = AccessData(Mixed(*samples), len(samples), **options).sequential()
    return batch


def test_samples_of_other_types_are_converted_as_one_by_one():
    x = np.arange(3.0)
    batch = whole((x, 1), (x.astype("f4"), np.int64(2)), (x + 1, np.int32(3)))
    assert batch[0].dtype == np.float32
    assert batch[1].dtype == np.int32
    assert batch[0].tolist() == [[0, 1, 2], [0, 1, 2], [1, 2, 3]]
    assert batch[1].tolist() == [1, 2, 3]


def test_a_bad_sample_among_many_alike_is_named():
    x = np.zeros(3, np.float32)
    for bad, message in [
        (np.zeros(2, np.float32), r"Sample 2 is ragged.*\(2,\)"),
        (x.astype(int), "Sample 2 is ragged.*int32"),
        (np.array(["a", "b", "c"]), "sample 2: data holds <U1"),
        ((x, x), "Sample 2 has another structure"),
        (np.array([0, np.nan, 0], np.float32), "Sample 2: .*non-finite"),
    ]:
        with pytest.raises(DataError, match=message):
            whole(x, x, bad, x)
    with pytest.raises(DataError, match="sample 1: data holds integers from"):
        whole(1, 2**40, 3)
    with pytest.raises(DataError, match="sample 1: data holds integers from"):
        whole(1, 2**63, 3)  # which NumPy would make floats of


def test_tensors_of_other_libraries_are_still_checked_one_by_one():
    with pytest.raises(DataError, match="Sample 1 is ragged"):
        whole(jnp.zeros(3), jnp.zeros(2))
    assert whole(jnp.zeros(3), jnp.ones(3)).tolist() == [[0] * 3, [1] * 3]


def test_tensors_of_torch_are_stacked_as_arrays_are():
    torch = pytest.importorskip("torch")
    x, n = torch.arange(3.0), torch.tensor(2)
    batch = whole((x, n), (x + 1, n), (x.double(), n))
    assert (batch[0].dtype, batch[1].dtype) == (np.float32, np.int32)
    assert batch[0].tolist() == [[0, 1, 2], [1, 2, 3], [0, 1, 2]]
    alike = whole(x, x, x + 2)
    x += 9
    assert alike.tolist() == [[0, 1, 2], [0, 1, 2], [2, 3, 4]]
    for samples, message in [
        ((x, x[:2]), r"Sample 1 is ragged.*\(2,\)"),
        ((n, n > 0), "Sample 1 is ragged.*bool"),
        ((x, x * torch.nan), "Sample 1: data holds a non-finite"),
        ((n, n + 2**40), "sample 1: data holds integers from"),
        ((x, x.clone().requires_grad_()), "sample 1: data is a Tensor that NumPy cannot read"),
    ]:
        with pytest.raises(DataError, match=message):
            whole(*samples)


def test_each_sample_is_read_once_whatever_it_is_made_of():
    class Counted(Mixed):
        reads = 0

        def __getitem__(self, index):
            self.reads += 1
            return super().__getitem__(index)

    samples = Counted(*(jnp.full(3, i) for i in range(4)))
    data = AccessData(samples, 4)
    before = samples.reads
    next(data.batches((0,), 0, 0))
    assert samples.reads - before == 4


def test_nothing_is_made_as_long_as_the_data():
    data = AccessData(range(2**50), 4, shuffle=False)
    assert next(data.sequential())[0].tolist() == [0, 1, 2, 3]
