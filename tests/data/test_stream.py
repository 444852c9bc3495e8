"""StreamData: passes, replay, refusals, torch."""

from itertools import count as counter

import numpy as np
import pytest
from recording import count

from etude.data import StreamData
from etude.errors import DataError


def numbers(epoch, length=3):
    return (np.array([length * epoch + i]) for i in range(length))


def read(batches, n):
    return [next(batches).item() for _ in range(n)]


def test_replay_is_reading_through():
    known = StreamData(numbers, steps_per_epoch=3)
    assert read(known.batches((0,), 2, 1), 2) == [7, 8]
    unknown = StreamData(numbers)
    assert unknown.steps_per_epoch is None
    assert not unknown.seeks
    assert read(unknown.batches((0,), 0, 4), 4) == [4, 5, 6, 7]


def test_unknown_length_through_the_program():
    counts, _ = count(StreamData(numbers), 9, 9, lambda batch: batch, cuts=(2, 5))
    assert counts.tolist() == [1] * 9


def test_an_endless_pass_is_cut():
    data = StreamData(lambda epoch: (np.array([i]) for i in counter()), steps_per_epoch=4)
    assert [batch.item() for batch, _ in data.sequential()] == [0, 1, 2, 3]


def test_a_buffer_that_is_filled_again_does_not_change_earlier_batches():
    buffer = np.zeros(256, np.float32)

    def fill(epoch):
        for i in range(5):
            buffer[:] = i
            yield buffer

    batches = list(StreamData(fill).sequential())
    assert [batch[0].item() for batch, _ in batches] == [0, 1, 2, 3, 4]


def test_shapes_may_grow_through_the_program():
    signals = [np.arange(2), np.arange(4), np.arange(8), np.arange(8)]
    counts, program = count(StreamData(signals), 8, 4, lambda batch: batch)
    assert counts.tolist() == [4, 4, 3, 3, 2, 2, 2, 2]
    assert len(program._dispatcher._programs) == 3  # one compilation per shape


@pytest.mark.parametrize(
    ("batches", "steps", "message"),
    [
        ((i for i in range(3)), None, "read only once.*lambda epoch"),
        ([], None, "yields nothing"),
        (lambda epoch: iter([]), None, "yields nothing"),
        (lambda: [1], None, "lambda epoch"),
        (3, None, "cannot be iterated"),
        ([np.zeros(1)] * 2, 3, "ended after 2 batches; expected 3.*steps_per_epoch=2"),
        ([np.zeros(1), {"x": np.zeros(1)}], None, "batch 1 of epoch 0"),
        ([np.zeros(1), np.zeros(1, np.int32)], None, "structure changes"),
        ([np.zeros(2), np.array([0, np.nan])], None, r"batch 1 of epoch 0.*nan at index \(1,\)"),
        ([(np.zeros(2), np.zeros(3))], None, "different numbers of samples"),
        ([["text"]], None, "not numbers"),
    ],
)
def test_bad_data_are_refused(batches, steps, message):
    with pytest.raises(DataError, match=message):
        list(StreamData(batches, steps).sequential())


def test_a_torch_loader():
    torch = pytest.importorskip("torch")
    from torch.utils.data import DataLoader, TensorDataset

    table = TensorDataset(torch.arange(10.0), torch.arange(10))
    data = StreamData(DataLoader(table, batch_size=4))
    assert data.steps_per_epoch == 3
    counts, _ = count(data, 10, 6, lambda batch: batch[1])
    assert counts.tolist() == [2] * 10
