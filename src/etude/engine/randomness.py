"""Every random number is a pure function of (seed, phase, visit, step, learner).

No key is carried from step to step, so none can be lost by a kill or repeated by a resume.
"""

import zlib
from functools import partial

import jax
import numpy as np
from jaxtyping import Array, Int, Key, UInt32

from etude.engine.place import Place
from etude.engine.state import Keys
from etude.engine.surroundings import setting


def phase_key(seed: int, phase: str, visit: int, attempt: int = 0) -> Key[Array, ""]:
    """The key of one visit to a phase; `attempt` counts the roll-backs in it."""
    numbers = np.array([zlib.crc32(phase.encode()), visit, attempt], np.uint32)
    # Put there explicitly, for those who guard against what moves by itself.
    return _folded(root_key(seed), Place().put(numbers))


def root_key(seed: int) -> Key[Array, ""]:
    """The key of a seed, made without moving anything to the device."""
    # Named, because the caches of `jax.jit` do not tell the kinds of keys apart.
    return _root(seed, setting("default_prng_impl"))


@partial(jax.jit, static_argnums=(0, 1))
def _root(seed: int, impl: str) -> Key[Array, ""]:
    return jax.random.key(seed, impl=impl)


@jax.jit
def _folded(key: Key[Array, ""], numbers: UInt32[Array, " n"]) -> Key[Array, ""]:
    for number in numbers:
        key = jax.random.fold_in(key, number)
    return key


def order_key(seed: int, phase: str, visit: int) -> Key[Array, ""]:
    """The key of the data order of one visit; the order of an epoch is `fold_in(key, epoch)`."""
    return _folded(phase_key(seed, phase, visit), Place().put(np.array([ORDER], np.uint32)))


def visit_keys(seed: int, phase: str, visit: int, attempt: int = 0) -> Keys:
    """The keys of one visit to a phase; a roll-back changes nothing but those of its steps."""
    return Keys(phase_key(seed, phase, visit, attempt), order_key(seed, phase, visit))


def order_entropy(seed: int, phase: str, visit: int) -> tuple[int, ...]:
    """The same for orders drawn on the host by NumPy."""
    return (seed, zlib.crc32(phase.encode()), visit)


def learner_key(key: Key[Array, ""], step: Int[Array, ""], learner: int) -> Key[Array, ""]:
    """The key of one learner at one step of a phase."""
    return jax.random.fold_in(jax.random.fold_in(key, step), learner)


def validation_key(key: Key[Array, ""], step: int) -> Key[Array, ""]:
    """The key of the validations at one step of a phase."""
    return _validation_key(key, Place.of(key).put(np.int32(step)))


@jax.jit
def _validation_key(key: Key[Array, ""], step: Int[Array, ""]) -> Key[Array, ""]:
    return learner_key(key, step, VALIDATION)


# Streams beside those of the learners; far from their small numbers.
AUGMENTATION, VALIDATION, ORDER = 1 << 20, 1 << 21, 1 << 22
