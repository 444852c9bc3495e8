"""The settings of JAX that hold in one thread, taken along into another.

`with jax.enable_x64(True):` and its like hold only in the thread that enters them. What reads data
in a thread of ours must see what the thread that trains sees.

>>> from threading import Thread
>>> with jax.enable_x64(True):
...     surroundings = Surroundings.here()
>>> def read():
...     with surroundings.entered():
...         print(jax.numpy.ones(1).dtype)
>>> thread = Thread(target=read)
>>> thread.start(); thread.join()
float64
"""

from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import jax

#: `jax.config.jax_NAME` reads a setting, `jax.NAME(value)` enters it.
SETTINGS = (
    "enable_x64",
    "default_device",
    "default_prng_impl",
    "default_matmul_precision",
    "numpy_dtype_promotion",
    "numpy_rank_promotion",
    "threefry_partitionable",
    "disable_jit",
    "debug_nans",
    "debug_infs",
    "transfer_guard_host_to_device",
    "transfer_guard_device_to_device",
    "transfer_guard_device_to_host",
)


@dataclass(frozen=True)
class Surroundings:
    """The settings that held where `here` was called."""

    values: tuple[tuple[str, Any], ...]

    @classmethod
    def here(cls) -> "Surroundings":
        """Those of this thread, now."""
        return cls(tuple((name, setting(name)) for name in SETTINGS))

    def portable(self) -> "Surroundings":
        """Those that another process understands: it has no devices of ours."""
        return Surroundings(tuple(pair for pair in self.values if pair[0] != "default_device"))

    @contextmanager
    def entered(self) -> Generator[None, None, None]:
        """They hold in the calling thread, while in the context."""
        with ExitStack() as stack:
            for name, value in self.values:
                if setting(name) != value:
                    stack.enter_context(getattr(jax, name)(value))
            yield


def setting(name: str) -> Any:
    """A setting of JAX as it holds in this thread.

    >>> setting("disable_jit")
    False
    """
    return getattr(jax.config, f"jax_{name}")
