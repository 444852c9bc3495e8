"""Every test runs on two fake devices, with strict dtype promotion and annotations checked."""

import os

# Most of the time goes into compilation, and two thirds of that into optimisation and the fusion
# emitters, which small tests do not repay; `make test-slow` asks for both again (the last flag
# counts), as users have them.
os.environ["XLA_FLAGS"] = (
    "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false "
    "--xla_cpu_parallel_codegen_split_count=1 "
    + os.environ.get("XLA_FLAGS", "")
    + " --xla_force_host_platform_device_count=2"
)
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("MPLBACKEND", "agg")

import atexit
import shutil
import signal
import tempfile

import hypothesis
import jax
import jaxtyping
import pytest

jax.config.update("jax_numpy_dtype_promotion", "strict")
# Hundreds of tests train the same small things, each with functions of its own: what is compiled
# is kept for the process, by its text. Processes that tests start and kill do not see it.
kept = tempfile.mkdtemp(prefix="etude-tests-")
atexit.register(shutil.rmtree, kept, ignore_errors=True)
jax.config.update("jax_compilation_cache_dir", kept)
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
hypothesis.settings.register_profile("etude", deadline=None, max_examples=30)
hypothesis.settings.load_profile("etude")

# Before the first import of etude, so that every annotation in it is checked at run time.
jaxtyping.install_import_hook("etude", "typecheck.checked")


@pytest.fixture
def listening():
    """Signals have the handlers of a foreground process; a shell starts `make test &` without."""
    wanted = {
        signal.SIGINT: signal.default_int_handler,
        signal.SIGTERM: signal.SIG_DFL,
        signal.SIGHUP: signal.SIG_DFL,
    }
    before = {number: signal.signal(number, handler) for number, handler in wanted.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
