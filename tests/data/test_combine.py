"""Together and Turns: patterns, counts, refusals; on the device and on the host."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from recording import count

from etude.data import AccessData, ArrayData, StreamData, Together, Turns
from etude.data.combine import smooth_pattern
from etude.engine.source import Hosted, Resident
from etude.errors import DataError


def device(start, length, size):
    return ArrayData(jnp.arange(start, start + length), size)


def host(start, length, size):
    return AccessData(list(range(start, start + length)), size)


def seen(batch):
    return jnp.concatenate(jax.tree.leaves(batch))


@given(st.lists(st.integers(1, 9), min_size=1, max_size=4))
def test_the_pattern_is_even(weights):
    named = {str(i): weight for i, weight in enumerate(weights)}
    pattern = smooth_pattern(named)
    total = sum(weights)
    assert len(pattern) == total
    for name, weight in named.items():
        assert pattern.count(name) == weight
        for n in range(total):  # never more than one turn and a bit away from its fair share
            assert abs(pattern[:n].count(name) - n * weight / total) < len(weights)


@pytest.mark.parametrize("make", [device, host])
def test_together_shows_the_longest_once_and_wraps_the_shorter(make):
    data = Together({"a": make(0, 3, 2), "b": make(3, 12, 4)})
    assert isinstance(data, Resident if make is device else Hosted)
    assert data.steps_per_epoch == 3
    counts, _ = count(data, 15, 6, seen, cuts=(2,))
    assert counts.tolist() == [4] * 3 + [2] * 12


@pytest.mark.parametrize("make", [device, host])
def test_no_batch_of_together_is_short(make):
    data = Together({"a": make(0, 10, 4), "b": make(10, 5, 3)})
    assert data.steps_per_epoch == 3
    counts, _ = count(data, 15, 3, seen)
    assert set(counts[:10]) == {1, 2}
    assert counts[:10].sum() == 12
    assert set(counts[10:]) == {1, 2}


@pytest.mark.parametrize("executor", ["loop", "dispatch", None])
def test_turns_count(executor):
    make = host if executor is None else device
    data = Turns({"a": make(0, 8, 2), "b": make(8, 3, 3)}, weights={"a": 4, "b": 2})
    assert data.pattern == ("a", "b", "a")
    assert data.steps_per_epoch == 6  # two patterns: four turns of a, two of b
    counts, _ = count(data, 11, 12, seen, executor=executor, cuts=(1, 5))
    assert counts.tolist() == [2] * 8 + [4] * 3


def test_turns_of_sources_that_differ_in_structure():
    pairs = ArrayData({"x": jnp.zeros((4, 2)), "n": jnp.arange(4)}, 2)
    data = Turns({"pairs": pairs, "plain": device(4, 6, 3)})

    def numbers(batch):
        assert len(batch) == 1
        return batch["pairs"]["n"] if "pairs" in batch else batch["plain"]

    counts, _ = count(data, 10, 4, numbers)
    assert counts.tolist() == [1] * 10


@settings(max_examples=15)
@given(st.integers(0, 12))
def test_seeking_is_reading_through(position):
    sources = {"a": host(0, 7, 2), "b": host(7, 4, 3)}
    for data in (Together(sources), Turns(sources, {"a": 2, "b": 1})):
        position = min(position, data.steps_per_epoch)
        whole = [seen(b).tolist() for b in data.batches((1, 2), 1, 0)]
        rest = [seen(b).tolist() for b in data.batches((1, 2), 1, position)]
        assert len(whole) == data.steps_per_epoch
        assert rest == whole[position:]


def test_a_stream_of_unknown_length_takes_its_turns():
    stream = StreamData(lambda epoch: (np.array([4 + i]) for i in range(2)))
    data = Turns({"a": host(0, 4, 2), "b": stream})
    assert data.steps_per_epoch is None
    assert not data.seeks
    counts, _ = count(data, 6, 8, seen, cuts=(3,))
    assert counts.tolist() == [2] * 6


def test_each_repeat_has_its_own_order():
    data = Together({"a": device(0, 20, 20), "b": device(0, 60, 20)})
    order = np.asarray(data.order(jax.random.key(0))["a"]).reshape(3, 20)
    assert len({tuple(row) for row in order}) == 3
    assert all(sorted(row) == list(range(20)) for row in order)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Together({}), "no sources"),
        (lambda: Together({"a": device(0, 2, 1), "b": host(0, 2, 1)}), "AccessData\\(list"),
        (lambda: Together({"a": np.zeros(3)}), "'a' is a ndarray"),
        (lambda: Turns({"left": device(0, 2, 1)}, {"lefft": 1}), "Did you mean 'left'"),
        (lambda: Turns({"a": device(0, 2, 1)}, {"a": 0}), "positive integer"),
        (lambda: Turns({"a": device(0, 2, 1), "b": device(0, 2, 1)}, {"a": 1}), "miss \\['b'\\]"),
        (lambda: Together({"a": device(0, 2, 1)}).sequential(), "Validate on each"),
        (lambda: Turns({"a": host(0, 2, 1)}).sequential(), "Validate on each"),
    ],
)
def test_refusals(make, message):
    with pytest.raises(DataError, match=message):
        make()


def test_the_order_of_the_sources_is_told_where_the_pattern_does_not_show_it():
    a, b = device(0, 6, 2), device(6, 6, 2)
    one, other = (
        Turns(sources, weights={"a": 2, "b": 1}) for sources in ({"a": a, "b": b}, {"b": b, "a": a})
    )
    assert one.pattern == other.pattern
    orders = [data.order(jax.random.key(0))["a"].tolist() for data in (one, other)]
    assert orders[0] != orders[1]
    assert one.fingerprint() != other.fingerprint()


def test_a_weight_is_counted():
    for weight in (True, 0):
        with pytest.raises(DataError, match="positive integer"):
            Turns({"a": device(0, 6, 2)}, weights={"a": weight})
