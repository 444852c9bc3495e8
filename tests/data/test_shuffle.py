"""The computed order: a permutation, without a pattern, at any position; beside true ones."""

from functools import partial
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings, strategies as st
from recording import count
from scipy.stats import chi2, ks_2samp

import etude as et
from etude.data import AccessData, ArrayData, Together, Turns
from etude.data.shuffle import (
    ROUNDS,
    Computed,
    Drawn,
    Listed,
    check_shuffle,
    order_of,
    permuted,
    permuted_on_host,
    rows,
)
from etude.engine.program import Program
from etude.engine.source import Resident
from etude.errors import DataError


def keys_of(seed, passes):
    """As those of an epoch each."""
    return jax.vmap(lambda epoch: jax.random.fold_in(jax.random.key(seed), epoch))(
        jnp.arange(passes)
    )


def round_keys(seed):
    return np.random.default_rng(seed).integers(2**32, size=ROUNDS, dtype=np.uint32)


def whole(length):
    return np.arange(length, dtype=np.uint32)


def test_all_sizes_to_300_are_permuted():
    for length in range(1, 301):
        for seed in range(3):
            found = permuted_on_host(whole(length), round_keys((length, seed)), length)
            assert np.array_equal(np.sort(found), whole(length))


@settings(max_examples=6)
@given(st.integers(2, 2_000_000), st.integers(0, 2**31))
def test_large_sizes_are_permuted_on_the_device_and_on_the_host_alike(length, seed):
    keys = round_keys(seed)
    found = np.asarray(permuted(jnp.asarray(whole(length)), jnp.asarray(keys), length))
    assert np.array_equal(np.sort(found), whole(length))
    places = np.random.default_rng(seed).integers(length, size=99, dtype=np.uint32)
    assert np.array_equal(permuted_on_host(places, keys, length), found[places])


@pytest.mark.parametrize("length", [10**9, 2**31 + 11, 2**32 - 5, 2**32 - 1])
def test_sizes_up_to_32_bits(length):
    places = np.random.default_rng(0).integers(length, size=200_000, dtype=np.uint32)
    places = np.unique(np.append(places, np.uint32(length - 1)))
    keys = round_keys(length)
    found = np.asarray(permuted(jnp.asarray(places), jnp.asarray(keys), length))
    assert len(np.unique(found)) == len(places)
    assert int(found.max()) < length
    halves, _ = np.histogram(found, 16, (0, length))
    assert chi2.sf(((halves - len(found) / 16) ** 2).sum() / (len(found) / 16), 15) > 1e-3
    assert np.array_equal(permuted_on_host(places, keys, length), found)


# Statistics: what is counted over many epochs, against the same of NumPy's permutations.


def binned(length, size):
    return np.arange(length) * size // length


def joint(left, right, size):
    return np.bincount((left * size + right).ravel(), minlength=size**2)


def position(orders):
    """Which sample stands where."""
    bins = binned(orders.shape[1], 64)
    return joint(np.broadcast_to(bins, orders.shape), bins[orders], 64)


def neighbour_difference(orders):
    """How far apart successive samples are, modulo the length."""
    length = orders.shape[1]
    # Signed: unsigned differences wrap at 2**32 before the modulus, which biases them.
    difference = np.diff(orders.astype(np.int64), axis=1) % length
    return np.bincount(difference.ravel(), minlength=length)


def pairs(orders, lag):
    """Which samples stand at two positions of a distance."""
    bins = binned(orders.shape[1], 16)[orders]
    return joint(bins[:, :-lag], bins[:, lag:], 16)


STATISTICS = {
    "position": position,
    "neighbour": neighbour_difference,
    "next": lambda orders: pairs(orders, 1),
    # Positions on successive lines of the grid: what few rounds leave alike.
    "line": lambda orders: pairs(orders, int(np.sqrt(orders.shape[1]))),
    "half": lambda orders: pairs(orders, orders.shape[1] // 2),
}


def worst(orders):
    """The least probability of the statistics, by chi-square of two samples, and its name."""
    generator = np.random.default_rng(0)
    true = generator.permuted(np.tile(np.arange(orders.shape[1]), (len(orders), 1)), axis=1)

    def probability(statistic):
        ours, theirs = statistic(orders), statistic(true)
        cells = ours + theirs > 0
        distance = ((ours - theirs)[cells] ** 2 / (ours + theirs)[cells]).sum()
        return float(chi2.sf(distance, cells.sum() - 1))

    return min((probability(statistic), name) for name, statistic in STATISTICS.items())


def epochs(length, passes):
    """Successive epochs, as the engine draws them."""
    order = Computed(length)
    drawn = jax.jit(order.draw)(keys_of(length, passes))
    at = jax.jit(lambda one: permuted(jnp.asarray(whole(length)), one, order.length))
    return np.asarray(jax.lax.map(at, drawn)).astype(np.int64)


@pytest.mark.parametrize(("length", "passes"), [(256, 6000), (1000, 4000), (10_007, 300)])
def test_no_statistic_tells_it_from_a_true_permutation(length, passes):
    orders = epochs(length, passes)
    assert worst(orders)[0] > 1e-3
    # Where the samples at successive places of one epoch stand in the next one.
    moved = np.take_along_axis(orders[1:], np.argsort(orders[:-1], axis=1), axis=1)
    assert worst(moved)[0] > 1e-3
    repeated = (orders[1:] == orders[:-1]).sum()  # the same sample at the same place
    assert abs(repeated - (passes - 1)) < 4 * np.sqrt(passes)


# Training: samples sorted by what they teach, so that it is the order that matters.


def line(w, batch):
    x, y = batch
    return jnp.mean((x @ w["w"][:, 0] - y) ** 2)


def logistic(w, batch):
    x, y = batch
    return optax.sigmoid_binary_cross_entropy(x @ w["w"][:, 0], (y > 0).astype(x.dtype)).mean()


def network(w, batch):
    x, y = batch
    return jnp.mean((jnp.tanh(x @ w["w"]) @ w["v"] - jnp.sin(y)) ** 2)


@pytest.mark.parametrize("loss", [line, logistic, network], ids=lambda loss: loss.__name__)
def test_training_curves_are_those_of_true_permutations(loss):
    generator = np.random.default_rng(1)
    x = generator.normal(size=(300, 4)).astype("f4")
    y = x @ np.array([1.0, -2.0, 0.5, 0.0], "f4") + generator.normal(size=300).astype("f4")
    data = jax.tree.map(lambda leaf: jnp.asarray(leaf[np.argsort(y)]), (x, y))
    first = {"w": jnp.asarray(generator.normal(size=(4, 8)).astype("f4")), "v": jnp.ones(8) / 8}

    def curve(order, seed):
        """The loss on all samples after each of five epochs of 30 steps."""

        def step(w, index):
            slope = jax.grad(loss)(w, jax.tree.map(lambda leaf: leaf[index], data))
            return jax.tree.map(lambda w, slope: w - 0.05 * slope, w, slope), None

        def epoch(w, number):
            drawn = order.draw(jax.random.fold_in(jax.random.key(seed), number)[None])
            index = order.at(drawn, jnp.asarray(whole(300))).reshape(30, 10)
            w, _ = jax.lax.scan(step, w, index)
            return w, loss(w, data)

        return jax.lax.scan(epoch, first, jnp.arange(5))[1]

    def curves(order, seeds):
        return np.asarray(jax.jit(jax.vmap(partial(curve, order)))(seeds), np.float64)

    ours, true = curves(Computed(300), jnp.arange(96)), curves(Drawn(300), jnp.arange(96, 192))
    error = np.sqrt((ours.var(0) + true.var(0)) / len(true))
    assert np.all(np.abs(ours.mean(0) - true.mean(0)) < 4 * error)
    assert min(ks_2samp(*losses)[1] for losses in zip(ours.T, true.T, strict=True)) > 1e-3


# In the sources.


@pytest.mark.parametrize(("executor", "drop_last"), [("loop", False), ("dispatch", True)])
def test_an_epoch_is_the_computed_order(executor, drop_last):
    data = ArrayData(np.arange(1000), 7, drop_last=drop_last)
    seen = 994 if drop_last else 1000
    counts, _ = count(data, 1000, data.steps_per_epoch, lambda b: b, executor=executor, cuts=(5,))
    assert (counts.max(), counts.sum()) == (1, seen)
    key = jax.random.key(3)
    order = data.order(key)
    assert jax.tree.map(jnp.shape, order) == (1, ROUNDS)  # nothing grows with the data
    sequence = permuted(jnp.asarray(whole(1000)), order[0], 1000)
    for place in (0, 77, 141):
        batch = data.fetches[0](data.arrays, order, jnp.int32(place))
        assert np.array_equal(batch, sequence[7 * place : 7 * place + 7])


def rule(trainable, rest, batch, context):
    """The rows in the order in which they are seen."""
    return et.Proposal(model=trainable.at[context.step * 3 + jnp.arange(len(batch))].set(batch))


def test_resumed_in_the_middle_of_an_epoch_it_goes_on_with_the_same_rows():
    source = ArrayData(jnp.arange(300.0), 3)
    model = jnp.full(3 * 250, -1.0)
    plan = et.Plan.of(et.Phase("fit", et.Learner(rule), source, et.Steps(250)), model)

    def trained(cuts, renew):
        state = et.init_state(plan, model, seed=4)
        program = Program(plan, state)
        for first, until in pairwise(cuts):
            if renew:
                program = Program(plan, state)
            state, chunk = program.advance(state, first, until - first)
            assert chunk.read()[1] == until
        return np.asarray(state.model).reshape(-1)

    once = trained([0, 250], renew=False)
    assert np.array_equal(trained([0, 17, 100, 133, 250], renew=True), once)
    assert sorted(once[:300]) == sorted(once[300:600]) == list(range(300))
    assert not np.array_equal(once[:300], once[300:600])


@pytest.mark.parametrize("combine", [Together, Turns])
@pytest.mark.parametrize("make", ["device", "host"])
def test_combined_sources_go_on_with_the_next_pass(combine, make):
    def source(start, length, size):
        numbers = np.arange(start, start + length)
        return ArrayData(numbers, size) if make == "device" else AccessData(list(numbers), size)

    data = combine({"few": source(0, 300, 7), "many": source(300, 900, 6)})
    steps = data.steps_per_epoch
    assert steps == (150 if combine is Together else 300)
    counts, _ = count(
        data, 1200, steps, lambda batch: jnp.concatenate(jax.tree.leaves(batch)), cuts=(31,)
    )
    assert counts[300:].tolist() == [1] * 900
    assert set(counts[:300].tolist()) == {3, 4}  # 1050 samples of 300: each pass shows them all
    assert counts[:300].sum() == 1050


def test_exact_orders_are_the_permutations_that_they_were():
    key = jax.random.key(7)
    data = ArrayData(jnp.arange(1000), 9, shuffle="exact")
    order = jax.random.permutation(key, 1000)
    for place in (0, 50, 110):
        batch = data.fetches[0](data.arrays, data.order(key), jnp.int32(place))
        assert np.array_equal(batch, order[9 * place : 9 * place + 9])
    assert data.tail is not None
    assert data.tail(data.arrays, data.order(key), jnp.int32(111)).tolist() == [order[999]]

    both = Together({"a": ArrayData(jnp.arange(300), 7, shuffle="exact"), "b": data})
    assert isinstance(both, Resident)
    keys = jax.random.split(jax.random.fold_in(key, 0), 3)  # 112 steps of 7 samples
    several = jax.vmap(lambda key: jax.random.permutation(key, 300))(keys).ravel()
    batch = both.fetches[0](both.arrays, both.order(key), jnp.int32(43))
    assert np.array_equal(batch["a"], several[301:308])

    hosted = AccessData(list(range(1000)), 9, shuffle="exact")
    order = np.random.default_rng([5, 6, 2]).permutation(1000)
    found = [np.asarray(batch) for batch in hosted.batches((5, 6), 2, 3)]
    assert np.array_equal(np.concatenate(found), order[27:])


def test_hosted_data_are_sought_in_the_computed_order():
    data = AccessData(list(range(9000)), 50)
    read = np.concatenate(list(data.batches((1,), 0, 0)))
    assert np.array_equal(np.sort(read), whole(9000))
    assert np.array_equal(np.concatenate(list(data.batches((1,), 0, 130))), read[6500:])
    assert not np.array_equal(np.concatenate(list(data.batches((1,), 1, 0))), read)


@pytest.mark.parametrize("shuffle", ["exakt", "True", 1, None, np.array("exact")], ids=repr)
def test_other_shuffles_are_refused(shuffle):
    words = r"shuffle must be True .*'exact' .*False or.*; got "
    with pytest.raises(DataError, match=words):
        check_shuffle(shuffle)
    for make in (ArrayData, AccessData):
        with pytest.raises(DataError, match=words + "'exakt'"):
            make(np.zeros(4), 2, shuffle="exakt")


def test_more_rows_than_32_bits_count_are_refused():
    with pytest.raises(DataError, match=r"4294967296 samples .*at most 4294967295"):
        order_of(True, 2**32)
    with pytest.raises(DataError, match=r"2147483648 samples .*shuffle=True"):
        order_of("exact", 2**31)
    one = ArrayData(np.zeros(70_000, np.int8), 70_000)
    with pytest.raises(DataError, match=r"4900000000 samples of source 'one', which has 70000"):
        Together({"one": one, "other": ArrayData(np.zeros(70_000, np.int8), 1)})

    class Endless:
        def __len__(self):
            return 2**32

        def __getitem__(self, index):
            return np.int8(0)

    with pytest.raises(DataError, match=r"4294967296 samples .*'exact'"):
        AccessData(Endless(), 8)
    assert next(AccessData(Endless(), 8, shuffle=False).batches((0,), 0, 0)).tolist() == [0] * 8


@pytest.mark.slow
def test_rows_beyond_2_to_the_31():
    """2 GiB: brackets, which count in int32, read other rows there."""
    length = 2**31 + 8
    array = np.zeros(length, np.uint8)
    array[-3:] = 1, 2, 3
    data = ArrayData(jax.device_put(array), 4, shuffle=False)
    last = data.fetches[0](data.arrays, (), jnp.int32(data.steps_per_epoch - 1))
    assert last.tolist() == [0, 1, 2, 3]
    index = jnp.asarray(np.array([length - 1, 0], np.uint32))
    assert rows(data.arrays, index).tolist() == [3, 0]


def test_in_double_precision_the_order_is_the_same():
    def epoch(length, shuffle):
        data = ArrayData(jnp.arange(length), length, shuffle=shuffle)
        return data.fetches[0](data.arrays, data.order(jax.random.key(2)), jnp.int32(0)).tolist()

    cases = [(300, True), (300, "exact"), (20, True)]
    single = [epoch(*case) for case in cases]
    with jax.enable_x64(True):
        assert [epoch(*case) for case in cases] == single


@pytest.mark.parametrize("length", [256, 257, 1000])
def test_a_list_of_an_order_is_the_order(length):
    """An accelerator keeps it; a pass after the first has an order of its own there, too."""
    keys = jax.random.split(jax.random.key(3), 2)
    computed, listed = Computed(length), Listed(length)
    for passes in (keys[:1], keys):
        positions = jnp.arange(len(passes) * length, dtype=jnp.uint32)
        found = listed.at(listed.draw(passes), positions[::-1])
        np.testing.assert_array_equal(found, computed.at(computed.draw(passes), positions[::-1]))
