"""Programs that one trainer compiled, for the next of its kind."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

import jax
from jax.experimental.compilation_cache import compilation_cache


@contextmanager
def shared_compilations() -> Iterator[None]:
    """Within, what was compiled once is not compiled again for the next trainer of its kind.

    Trials differ in numbers, not in programs. JAX finds programs again only through its persistent
    cache; it is put into a temporary folder, unless the user has one (JAX_COMPILATION_CACHE_DIR).
    """
    if getattr(jax.config, "jax_compilation_cache_dir") is not None:  # noqa: B009, not typed
        yield
        return
    with tempfile.TemporaryDirectory(prefix="etude-") as folder:
        wanted = {
            "jax_compilation_cache_dir": folder,
            "jax_persistent_cache_min_compile_time_secs": 0.0,
            "jax_persistent_cache_min_entry_size_bytes": -1,
        }
        before = {name: getattr(jax.config, name) for name in wanted}
        try:
            for name, value in wanted.items():
                jax.config.update(name, value)
            compilation_cache.reset_cache()
            yield
        finally:
            for name, value in before.items():
                jax.config.update(name, value)
            compilation_cache.reset_cache()
