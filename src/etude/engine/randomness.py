"""Every random number is a pure function of (seed, phase, visit, step, learner).

No key is carried from step to step, so none can be lost by a kill or repeated by a resume.
"""

import zlib
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, Key, UInt32

from etude.engine.place import Place
from etude.engine.state import Keys
from etude.engine.surroundings import setting


def visit_keys(seed: int, phase: str, visit: int, attempt: int = 0) -> Keys:
    """The keys of one visit to a phase; `attempt` counts the roll-backs in it.

    That of the steps has phase, visit and attempt folded into the key of the seed. That of the
    order, with the epoch folded in, is of the first attempt: a roll-back sees the same batches.
    """
    numbers = np.array([zlib.crc32(phase.encode()), visit, attempt], np.uint32)
    # Put there explicitly, for those who guard against what moves by itself.
    return _visit_keys(_number_of(seed), Place().put(numbers), setting("default_prng_impl"))


def phase_key(seed: int, phase: str, visit: int, attempt: int = 0) -> Key[Array, ""]:
    """The key of the steps of one visit."""
    return visit_keys(seed, phase, visit, attempt).step


def root_key(seed: int) -> Key[Array, ""]:
    """The key of a seed, made without moving anything to the device."""
    # Named, because the caches of `jax.jit` do not tell the kinds of keys apart.
    return _root(_number_of(seed), setting("default_prng_impl"))


def _number_of(seed: int) -> Int[Array, ""]:
    # As JAX takes a seed: of 64 bits, of which the lower 32 count in single precision.
    number = np.int64(seed) if setting("enable_x64") else np.int64(seed).astype(np.int32)
    return Place().put(number)


@partial(jax.jit, static_argnums=1)
def _root(seed: Int[Array, ""], impl: str) -> Key[Array, ""]:
    return jax.random.key(seed, impl=impl)


@partial(jax.jit, static_argnums=2)
def _visit_keys(seed: Int[Array, ""], numbers: UInt32[Array, "3"], impl: str) -> Keys:
    root = jax.random.key(seed, impl=impl)
    phase, visit, attempt = numbers
    zero, order = jnp.uint32(0), jnp.uint32(ORDER)
    # Both side by side in a loop: written out, five hashes take long to compile.
    folds = jnp.stack([phase, phase, visit, visit, attempt, zero, zero, order]).reshape(4, 2)

    def fold(keys: Key[Array, "2"], numbers: UInt32[Array, "2"]):
        keys = jax.vmap(jax.random.fold_in)(keys, numbers)
        return keys, keys

    _, keys = jax.lax.scan(fold, jnp.stack([root, root]), folds)
    return Keys(keys[2, 0], keys[3, 1])


def order_entropy(seed: int, phase: str, visit: int) -> tuple[int, ...]:
    """The same for orders drawn on the host by NumPy."""
    return (seed, zlib.crc32(phase.encode()), visit)


def learner_key(
    key: Key[Array, ""], step: Int[Array | np.ndarray, ""], learner: int
) -> Key[Array, ""]:
    """The key of one learner at one step of a phase."""
    return jax.random.fold_in(jax.random.fold_in(key, step), learner)


def validation_key(key: Key[Array, ""], step: int) -> Key[Array, ""]:
    """The key of the validations at one step of a phase."""
    with jax.transfer_guard_host_to_device("allow"):
        return _validation_key(key, np.asarray(step, np.int32))


@jax.jit
def _validation_key(key: Key[Array, ""], step: Int[Array | np.ndarray, ""]) -> Key[Array, ""]:
    return learner_key(key, step, VALIDATION)


# Streams beside those of the learners; far from their small numbers.
AUGMENTATION, VALIDATION, ORDER = 1 << 20, 1 << 21, 1 << 22
