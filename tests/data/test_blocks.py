"""Blocks: each sample once, seeking, mixing, and what is read."""

import threading
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, strategies as st

from etude.data import AccessData, Blocks
from etude.data.blocks import BlockOrder
from etude.data.held import Held
from etude.data.orders import grouped
from etude.data.shuffle import check_shuffle
from etude.errors import DataError


def lists(batches):
    return [batch.tolist() for batch in batches]


@given(st.integers(1, 60), st.integers(1, 20), st.integers(1, 5), st.data())
def test_an_epoch_is_a_permutation_and_a_position_is_sought(length, size, window, draw):
    batch = draw.draw(st.integers(1, length))
    drop_last = draw.draw(st.booleans())
    workers = draw.draw(st.sampled_from([0, 2]))
    blocks = Blocks(size, window)
    data = AccessData(
        np.arange(length), batch, shuffle=blocks, drop_last=drop_last, workers=workers
    )
    epoch = lists(data.batches((5,), 1, 0))
    seen = [sample for one in epoch for sample in one]
    assert len(epoch) == data.steps_per_epoch
    assert len(set(seen)) == len(seen) == (length - length % batch if drop_last else length)
    position = draw.draw(st.integers(0, len(epoch)))
    assert lists(data.batches((5,), 1, position)) == epoch[position:]
    whole = lists(data.wrapped((5,), 1, 0, 70))
    assert lists(data.wrapped((5,), 1, position, 70)) == whole[position:]
    assert {len(one) for one in whole} == {batch}


def test_blocks_larger_than_the_data_are_the_data():
    data = AccessData(np.arange(6), 2, shuffle=Blocks(10**9))
    assert sorted(np.concatenate([*data.batches((0,), 0, 0)])) == [*range(6)]
    assert next(data.wrapped((0,), 0, 0, None)).shape == (2,)


def test_the_order_is_a_pure_function_of_seed_and_epoch_and_not_of_the_reader():
    rows = np.arange(500).reshape(-1, 1)
    alone = AccessData(rows, 20, shuffle=Blocks(25, 4))
    helped = AccessData([*rows], 20, shuffle=Blocks(25, 4), workers=3)
    orders = {}
    for seed in (0, 1, -1):
        for epoch in (0, 1):
            orders[seed, epoch] = lists(alone.batches((seed,), epoch, 0))
            assert orders[seed, epoch] == lists(helped.batches((seed,), epoch, 0))
    assert len({str(order) for order in orders.values()}) == 6


def test_every_batch_takes_as_many_of_each_block_of_its_window():
    order = BlockOrder(Blocks(30, window=5), length=600, batch=10)
    for window in order.samples((3,), 0, 600):
        counts = [Counter((batch // 30).tolist()) for batch in window.reshape(-1, 10)]
        assert {tuple(count.values()) for count in counts} == {(2,) * 5}


def test_where_a_sample_stands_cannot_be_told():
    # In 600 epochs, how often each sample is in each fifth of the epoch: chi-square, 4 degrees of
    # freedom. The two samples of the short block are the last.
    order = BlockOrder(Blocks(7, window=3), length=100, batch=5)
    counts = np.zeros((100, 5))
    for epoch in range(600):
        counts[np.concatenate([*order.samples((0, epoch), 0, 100)]), np.arange(100) // 20] += 1
    chi = ((counts - 120) ** 2 / 120).sum(1)
    assert chi.max() < 25
    assert 3 < chi.mean() < 5


def test_each_block_is_read_once_and_dropped():
    reads = []

    def read(samples, into):
        reads.append((int(samples[0]), len(samples)))
        return samples

    order = BlockOrder(Blocks(50, 4), 990, 10)
    held = Held(read, None, size=50, length=990, ahead=20)
    batches = held.map(grouped(order.samples((0,), 0, 990), 10))
    seen = []
    for batch in batches:
        seen += batch.tolist()
        assert len(reads) <= 4 * (1 + (len(seen) + 9) // 200)
        assert len(batches.gi_frame.f_locals["blocks"]) <= 8
    assert sorted(seen) == list(range(990))
    assert sorted(reads) == [(start, min(50, 990 - start)) for start in range(0, 990, 50)]


def test_workers_read_the_next_window_and_no_more():
    reads, lock = [], threading.Lock()

    class Counted:
        def __len__(self):
            return 400

        def __getitem__(self, index):
            with lock:
                reads.append(index)
            return index

    data = AccessData(Counted(), 10, shuffle=Blocks(10, 4), workers=1)
    batches = data.batches((0,), 0, 0)
    for number in range(3):
        next(batches)
        with lock:
            assert len(set(reads)) <= 1 + 40 * (2 + number // 4)
    batches.close()
    data._pool._pool.shutdown()
    assert len(set(reads)) <= 81


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Blocks(0), "size must be a positive integer; got 0"),
        (lambda: Blocks(True), "size must be a positive integer; got True"),
        (lambda: Blocks(4, window=-1), "window must be a positive integer; got -1"),
        (lambda: AccessData([[1], [2]], None, shuffle=Blocks(2)), "Blocks mix samples"),
        (lambda: AccessData(range(2**50), 4, shuffle=Blocks(4)), "Take larger blocks"),
        (lambda: check_shuffle(Blocks(2)), "of AccessData alone"),
        (lambda: AccessData([1], 1, shuffle="blocks"), "shuffle must be True"),
    ],
    ids=["zero", "bool", "negative", "of batches", "many", "on the device", "by name"],
)
def test_what_is_no_block_is_refused(make, message):
    with pytest.raises(DataError, match=message):
        make()


@pytest.mark.parametrize("length", [7, 10, 11])
def test_any_part_of_an_epoch_is_that_part_of_the_whole(length):
    order = BlockOrder(Blocks(3, window=2), length, 2)
    whole = np.concatenate([*order.samples((5,), 0, length)])
    assert sorted(whole) == list(range(length))
    for first in range(length):
        for until in range(first + 1, length + 1):
            part = np.concatenate([*order.samples((5,), first, until)])
            assert part.tolist() == whole[first:until].tolist()
