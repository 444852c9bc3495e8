"""Shares of batches: put together, they are the batches of one process; no more is read."""

import jax
import numpy as np
import pytest
from hypothesis import given, strategies as st

from etude.data import AccessData, Blocks, StreamData, Together, Turns
from etude.data.prefetch import Prefetch
from etude.engine.source import Piece, Share, Shared

X = np.arange(60.0, dtype=np.float32).reshape(30, 2)


class Rows:
    """An array that is read piece by piece, and notes which rows."""

    def __init__(self, array):
        self.array, self.shape, self.dtype, self.chunks = array, array.shape, array.dtype, None
        self.read = []

    def __getitem__(self, rows):
        self.read += range(len(self.array))[rows] if isinstance(rows, slice) else rows.tolist()
        return self.array[rows]


class Host:
    """A place that leaves batches where they are."""

    def put(self, tree):
        return tree


def together(pieces):
    """The batch of which several processes have pieces."""
    first = pieces[0]
    rows = [piece.array for piece in pieces]
    if rows[0].shape == first.shape:  # each has the whole
        for other in rows:
            np.testing.assert_array_equal(other, rows[0])
        return rows[0]
    found = np.concatenate(rows)
    assert {piece.shape for piece in pieces} == {found.shape}
    return found


def assert_same(batches, shares):
    for batch, *parts in zip(batches, *shares, strict=True):
        joined = jax.tree.map(lambda *pieces: together(pieces), *parts, is_leaf=is_piece)
        jax.tree.map(np.testing.assert_array_equal, joined, batch)


def is_piece(leaf):
    return isinstance(leaf, Piece)


def shares_of(processes, each):
    return [Share(n * each, (n + 1) * each, processes * each) for n in range(processes)]


SHUFFLES = [False, True, "exact", Blocks(4, 2)]


@given(
    st.integers(1, 40),
    st.sampled_from(SHUFFLES),
    st.integers(1, 3),
    st.integers(1, 3),
    st.sampled_from([0, 2]),
    st.data(),
)
def test_shares_together_are_the_batch(length, shuffle, processes, each, workers, draw):
    batch = draw.draw(st.integers(1, length))
    data = AccessData((np.arange(length),), batch, shuffle=shuffle, workers=workers)
    position = draw.draw(st.integers(0, data.steps_per_epoch))
    shares = shares_of(processes, each)
    assert_same(
        data.batches((3,), 1, position),
        [data.share_of_batches((3,), 1, position, share) for share in shares],
    )
    whole = [*data.sequential()]
    parts = [[*data.share_of_sequence(share)] for share in shares]
    assert_same((one for one, _ in whole), [[one for one, _ in part] for part in parts])
    assert {tuple(n for _, n in part) for part in parts} == {tuple(n for _, n in whole)}


@pytest.mark.parametrize("shuffle", SHUFFLES, ids=str)
def test_a_process_reads_its_share_alone(shuffle):
    read = []
    for share in shares_of(2, 1):
        rows = Rows(X[:24])
        data = AccessData(rows, 8, shuffle=shuffle)
        rows.read.clear()
        for piece in data.share_of_batches((0,), 0, 0, share):
            assert piece.array.shape == (4, 2)
        read.append(rows.read)
    first, second = map(set, read)
    assert len(read[0]) == len(read[1]) == 12
    assert first | second == set(range(24))


def test_sources_together_and_items_that_are_batches():
    batches = [np.full((4, 1), n) for n in range(3)]
    both = Together({"a": AccessData(X, 4), "b": StreamData(batches)})
    turns = Turns({"a": AccessData(X, 4), "b": AccessData(X[:7], 2)})
    items = AccessData(batches, None)
    for source in (both, turns, items):
        assert isinstance(source, Shared)
        shares = [source.share_of_batches((0,), 0, 1, share) for share in shares_of(2, 1)]
        assert_same(source.batches((0,), 0, 1), shares)


@pytest.mark.parametrize(
    "source",
    [
        AccessData({"x": X}, 8),
        StreamData([{"x": X[:8], "scale": 2.0}, {"x": X[8:15], "scale": 3.0}]),
    ],
    ids=["access", "stream"],
)
def test_prefetch_hands_pieces_to_the_place(source):
    whole = Prefetch(source, Host())
    shares = [Prefetch(source, Host(), share) for share in shares_of(2, 2)]
    for reader in (whole, *shares):
        reader.enter((7,))
    assert_same(
        whole.take(1, 5, lambda: False), [reader.take(1, 5, lambda: False) for reader in shares]
    )
    for reader in (whole, *shares):
        reader.close()


@pytest.mark.parametrize("numbers", [(0, 0, 2), (1, 3, 2), (-1, 1, 2)])
def test_what_is_no_share_is_refused(numbers):
    with pytest.raises(ValueError, match="no range"):
        Share(*numbers)
