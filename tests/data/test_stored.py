"""Arrays on a disk: the same bits as in memory, read together, and refused when they are broken."""

import os

import h5py
import numpy as np
import optax
import pytest

import etude as et
from etude.data import AccessData, ArrayData, Blocks
from etude.data.stored import InFile, InMemory, StoredArrays, stored
from etude.errors import DataError, ResumeError

X = np.random.default_rng(0).normal(size=(53, 2, 3)).astype(np.float32)
Y = np.arange(53)


class Zarr:
    """What a Zarr array is here: chunks, slices, and sorted lists of rows."""

    def __init__(self, array):
        self.array, self.shape, self.dtype = array, array.shape, array.dtype
        self.chunks = (5, *array.shape[1:])
        self.reads = []

    def __getitem__(self, rows):
        if not isinstance(rows, slice):
            assert (np.diff(rows) > 0).all()
        self.reads.append(rows)
        return self.array[rows]


def mapped(path, x):
    np.save(path / "x.npy", x)
    return np.load(path / "x.npy", mmap_mode="r")


def raw(path, x):
    (path / "x.bin").write_bytes(b"header.." + x.tobytes())
    return np.memmap(path / "x.bin", x.dtype, "r", 8, x.shape)


def part_of_map(path, x):
    return mapped(path, np.concatenate([x[:7], x]))[7:]


def map_with_gaps(path, x):
    return mapped(path, np.repeat(x, 2, 0))[::2]


def hdf5(path, x):
    with h5py.File(path / "x.h5", "w") as file:
        file.create_dataset("group/x", data=x, chunks=(5, *x.shape[1:]))
    return h5py.File(path / "x.h5")["group/x"]


def swapped(path, x):
    return raw(path, x.astype(x.dtype.newbyteorder(">")))


KINDS = {
    "array": lambda path, x: x,
    "npy": mapped,
    "raw": raw,
    "part": part_of_map,
    "gaps": map_with_gaps,
    "hdf5": hdf5,
    "zarr": lambda path, x: Zarr(x),
    "big-endian": swapped,
}


@pytest.mark.parametrize("shuffle", [False, True, "exact", Blocks(5, 3)], ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_the_bits_are_those_of_samples(kind, shuffle, tmp_path):
    (tmp_path / "y").mkdir()
    arrays = {"x": KINDS[kind](tmp_path, X), "y": KINDS[kind](tmp_path / "y", Y)}
    workers = 2 if isinstance(shuffle, Blocks) else 0
    data = AccessData(arrays, 8, shuffle=shuffle, classes=53, workers=workers)
    samples = [{"x": x, "y": y} for x, y in zip(X, Y, strict=True)]
    one_by_one = AccessData(samples, 8, shuffle=shuffle)
    for ours, theirs in [
        (data.batches((4,), 1, 2), one_by_one.batches((4,), 1, 2)),
        (data.wrapped((4,), 1, 5, 9), one_by_one.wrapped((4,), 1, 5, 9)),
    ]:
        for a, b in zip(ours, theirs, strict=True):
            for name in "xy":
                assert a[name].dtype == b[name].dtype
                assert a[name].dtype.isnative
                np.testing.assert_array_equal(a[name], b[name])
    whole = ArrayData({"x": X, "y": Y}, 8).sequential()
    for (a, n), (b, m) in zip(data.sequential(), whole, strict=True):
        assert n == m
        np.testing.assert_array_equal(a["x"], b["x"])


def test_a_batch_is_one_read():
    x = Zarr(X)
    for shuffle, reads in [(False, 7), (True, 7), (Blocks(5, 2), 11)]:
        data = AccessData(x, 8, shuffle=shuffle)
        x.reads.clear()
        list(data.batches((0,), 0, 0))
        assert len(x.reads) == reads


def test_batches_may_be_changed_and_files_may_not(tmp_path):
    for kind in KINDS.values():
        before = kind(tmp_path, X)
        batch = next(AccessData(before, 8, shuffle=False).batches((0,), 0, 0))
        batch += 1
        np.testing.assert_array_equal(np.asarray(before[:8], np.float32), X[:8])


def test_transforms_get_samples():
    def transform(sample):
        assert sample["x"].shape == (2, 3)
        return sample["x"].sum(), sample["y"] + 1

    data = AccessData({"x": X, "y": Y}, 8, transform=transform, shuffle=Blocks(4, 2))
    for x, y in data.batches((0,), 0, 0):
        np.testing.assert_array_equal(x, [X[n - 1].sum() for n in y])


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["npy", "raw", "part", "hdf5"])
def test_processes_open_the_files_for_themselves(kind, tmp_path):
    data = KINDS[kind](tmp_path, X)
    alone = AccessData({"x": data}, 8, shuffle=Blocks(5, 3))
    helped = AccessData({"x": data}, 8, shuffle=Blocks(5, 3), workers=1, worker_kind="process")
    for a, b in zip(alone.batches((0,), 0, 0), helped.batches((0,), 0, 0), strict=True):
        np.testing.assert_array_equal(a["x"], b["x"])


@pytest.mark.parametrize("kind", ["gaps", "memory"])
def test_processes_get_no_copy_of_a_whole_file(kind, tmp_path):
    if kind == "memory":
        file = h5py.File(tmp_path / "x.h5", "w", driver="core", backing_store=False)
        data = file.create_dataset("x", data=X)
    else:
        data = map_with_gaps(tmp_path, X)
    data = AccessData(data, 8, workers=1, worker_kind="process")
    with pytest.raises(DataError, match=r"cannot be pickled.*(sent as a whole|in no file)"):
        next(data.batches((0,), 0, 0))


def test_maps_are_read_from_the_file_where_they_show_all_of_it(tmp_path):
    assert isinstance(stored(mapped(tmp_path, X), "x"), InFile)
    assert isinstance(stored(mapped(tmp_path, X)[3:7, :], "x"), InFile)
    for other in (
        np.load(tmp_path / "x.npy", mmap_mode="c"),
        np.load(tmp_path / "x.npy", mmap_mode="r")[:, :1],
        np.load(tmp_path / "x.npy", mmap_mode="r") + 1,
        X,
    ):
        assert isinstance(stored(other, "x"), InMemory)


def test_odd_shapes_and_names(tmp_path):
    (tmp_path / "ä b").write_bytes(bytes([0, 1, 1, 0, 1]))
    bits = np.memmap(os.fsencode(tmp_path / "ä b"), bool, "r")
    data = AccessData((np.ones((5, 0), np.float32), bits), 2, shuffle=Blocks(2, 1), workers=1)
    seen = [*data.batches((0,), 0, 0)]
    assert [x.shape for x, _ in seen] == [(2, 0), (2, 0), (1, 0)]
    assert sum(int(y.sum()) for _, y in seen) == 3
    items = AccessData(X[:50].reshape(5, 10, 6), None, shuffle=False)
    assert [n for _, n in items.sequential()] == [10] * 5


def test_a_file_that_was_cut_off_is_named(tmp_path):
    x = mapped(tmp_path, X)
    data = AccessData({"x": x}, 8, shuffle=False)
    os.truncate(tmp_path / "x.npy", 1000)
    with pytest.raises(
        DataError, match=r"data\['x'\] .* samples 32, 33, 34, .*x.npy has become shorter.*1000"
    ):
        list(data.sequential())
    os.remove(tmp_path / "x.npy")
    with pytest.raises(DataError, match=r"data\['x'\] .* samples 0, .*No such file.*x.npy"):
        next(data.batches((0,), 0, 0))


def test_a_closed_file_is_told(tmp_path):
    x = hdf5(tmp_path, X)
    data = AccessData(x, 8)
    x.file.close()
    with pytest.raises(DataError, match=r"data could not be read for samples .*, and open, until"):
        next(data.batches((0,), 0, 0))
    with pytest.raises(DataError, match=r"data\['x'\] could not be read for samples 0: "):
        AccessData({"x": x}, 8)


def test_a_tuple_of_arrays_is_one_of_columns_and_a_list_one_of_samples():
    assert len(AccessData((X, Y), 8)) == 53
    assert len(AccessData([X[0], X[1]], 2)) == 2
    assert len(AccessData((1.0, 2.0), 2)) == 2
    with h5py.File("x", "w", driver="core", backing_store=False) as file:
        file["inputs/x"], file["y"] = X, Y
        batch = next(AccessData(file, 8, shuffle=False).batches((0,), 0, 0))
    np.testing.assert_array_equal(batch["inputs"]["x"], X[:8])


BAD = X.copy()
BAD[9, 1, 2] = np.nan


@pytest.mark.parametrize(
    ("dataset", "options", "message"),
    [
        ({"x": X, "y": Y[:7]}, {}, r"data\['x'\] has 53, data\['y'\] has 7"),
        ({}, {}, "no array"),
        ({"x": X[:0]}, {}, "empty"),
        ({"x": X, "names": ["a"] * 53}, {}, r"data\['names'\]\[0\] is a str, not an array"),
        ({"x": np.array(["a", "b"])}, {}, "not numbers"),
        ({"x": np.ma.masked_array(X)}, {}, "masked array"),
        ({"x": np.array(3.0)}, {}, "is a scalar"),
        ({"x": BAD}, {}, r"Sample 9: data\['x'\] holds a non-finite value: nan at index \(1, 2\)"),
        ({"x": BAD}, {"shuffle": Blocks(5)}, "Sample 9: "),
        ((X, Y), {"classes": 50}, "Label 50 of sample 50"),
        (Y + 2**40 * (Y == 7), {}, "sample 7: data holds integers from"),
    ],
    ids=lambda value: None if isinstance(value, str | dict) else "arrays",
)
def test_bad_arrays_are_refused(dataset, options, message):
    with pytest.raises(DataError, match=message):
        list(AccessData(dataset, **{"batch_size": 2, **options}).batches((0,), 0, 0))


def test_a_resume_on_other_files_is_refused(tmp_path):
    def train(x, method="fit"):
        def loss(w, batch, context):
            return ((batch @ w) ** 2).mean()

        data = AccessData(x, 8, shuffle=Blocks(5, 2))
        phase = et.Phase("fit", et.Learner(et.Gradient(loss), optax.sgd(0.1)), data, et.Epochs(2))
        trainer = et.Trainer(np.ones(3, np.float32), phase, run=tmp_path / "run", progress=False)
        return getattr(trainer, method)()

    x = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
    train(x)
    assert train(mapped(tmp_path, x), "resume")
    other = x.copy()
    other[-1, 0] += 1
    for changed, name in [(x.astype(np.float64), "sample"), (other, "ends")]:
        with pytest.raises(ResumeError, match=rf"phases\.fit\.data\.{name}"):
            train(changed, "resume")


def test_zarr_itself(tmp_path):
    zarr = pytest.importorskip("zarr")
    x = zarr.create_array(tmp_path / "x.zarr", data=X, chunks=(5, 2, 3))
    arrays = StoredArrays.of({"x": x})
    assert arrays is not None
    for numbers in ([7, 6, 8], [30, 2, 2, 51], [4]):
        np.testing.assert_array_equal(arrays.rows(np.array(numbers))["x"], X[numbers])
    data = AccessData(x, 8, shuffle=Blocks(5, 3), workers=2)
    seen = np.concatenate([*data.batches((0,), 0, 0)])
    assert sorted(seen[:, 0, 0]) == sorted(X[:, 0, 0])


def test_array_records_are_read_together(tmp_path):
    writer = pytest.importorskip("array_record.python.array_record_module")
    sources = pytest.importorskip("grain").sources
    file = writer.ArrayRecordWriter(str(tmp_path / "x.array_record"), "group_size:1")
    for x in X:
        file.write(x.tobytes())
    file.close()
    calls = []

    class Recorded(sources.ArrayRecordDataSource):
        def __getitems__(self, numbers):
            calls.append(numbers)
            return super().__getitems__(numbers)

    def decoded(record):
        return np.frombuffer(record, np.float32).reshape(2, 3)

    data = AccessData(Recorded(str(tmp_path / "x.array_record")), 8, transform=decoded)
    plain = AccessData(X, 8)
    for a, b in zip(data.batches((0,), 0, 0), plain.batches((0,), 0, 0), strict=True):
        np.testing.assert_array_equal(a, b)
    assert [len(call) for call in calls][-7:] == [8, 8, 8, 8, 8, 8, 5]


class Several:
    """Samples that are given together; the fourth is broken, or there is one too few."""

    def __init__(self, few=False):
        self.few = few

    def __len__(self):
        return 5

    def __getitem__(self, index):
        if index == 3:
            raise OSError("torn page")
        return index

    def __getitems__(self, numbers):
        return [self[index] for index in numbers[: 1 if self.few else None]]


@pytest.mark.parametrize(
    ("dataset", "message"),
    [(Several(), "Sample 3 .*torn page"), (Several(few=True), "gave 1 samples; expected 5")],
    ids=["broken", "few"],
)
def test_bad_samples_of_several_are_named(dataset, message):
    with pytest.raises(DataError, match=message):
        next(AccessData(dataset, 5, shuffle=False).batches((0,), 0, 0))


def test_a_group_of_hdf5_is_a_mapping_also_in_a_tuple(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["inputs/a"], file["inputs/b"] = np.arange(4.0), np.arange(4)
        file["y"] = np.arange(4)
        data = AccessData((file["inputs"], file["y"]), 2, shuffle=False)
        (inputs, y), _ = next(data.sequential())
    assert inputs["a"].tolist() == inputs["b"].tolist() == y.tolist() == [0, 1]
