"""Every random number is a function of (seed, phase, visit, attempt, step, learner)."""

import itertools
import zlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from etude.engine import randomness

SETTINGS = list(itertools.product((0, 1, 2**31 - 1), ("fit", "fine-tune"), (0, 1), (0, 1)))


def data(key):
    return tuple(np.asarray(jax.random.key_data(key)).tolist())


@pytest.mark.parametrize(("seed", "phase", "visit", "attempt"), SETTINGS)
def test_the_key_of_a_visit_by_hand(seed, phase, visit, attempt):
    """What recorded runs were drawn from: it may never change."""
    key = jax.random.key(seed)
    for number in (zlib.crc32(phase.encode()), visit, attempt):
        key = jax.random.fold_in(key, number)
    assert data(randomness.phase_key(seed, phase, visit, attempt)) == data(key)


@pytest.mark.parametrize("double", [False, True])
@pytest.mark.parametrize("seed", [0, 7, -1, -(2**31), 2**31 - 1, 2**31, 2**40 + 3, -(2**62)])
def test_every_seed_is_that_of_jax(seed, double):
    with jax.enable_x64(double):
        assert data(randomness.root_key(seed)) == data(jax.random.key(seed))


def test_another_seed_compiles_nothing():
    randomness.visit_keys(0, "fit", 0)
    before = randomness._root._cache_size()
    for seed in range(1, 9):
        randomness.visit_keys(seed, "fit", 0)
    assert randomness._root._cache_size() == before


def test_no_two_uses_share_a_key():
    found = []
    for seed, phase, visit, attempt in SETTINGS:
        key = randomness.phase_key(seed, phase, visit, attempt)
        found.append(key)
        for step in (0, 1, 1000):
            found += [randomness.learner_key(key, jnp.int32(step), n) for n in (0, 1, 2)]
            found.append(randomness.learner_key(key, jnp.int32(step), randomness.AUGMENTATION))
            found.append(randomness.validation_key(key, step))
        if attempt == 0:
            found.append(randomness.visit_keys(seed, phase, visit).order)
    assert len({data(key) for key in found}) == len(found)


def test_a_roll_back_keeps_the_order_of_the_data():
    first, again = (randomness.visit_keys(3, "fit", 1, attempt) for attempt in (0, 1))
    assert data(first.order) == data(again.order)
    assert data(first.step) != data(again.step)


def test_under_a_guard_nothing_moves_by_itself():
    with jax.transfer_guard("disallow"):
        randomness.visit_keys(0, "fit", 0)


@pytest.mark.parametrize("impl", ["threefry2x32", "rbg"])
def test_the_keys_are_of_the_kind_that_is_set(impl):
    with jax.default_prng_impl(impl):
        keys = randomness.visit_keys(0, "fit", 0)
        assert jax.random.key_impl(keys.step) == jax.random.key_impl(jax.random.key(0))
