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

import gc
import shutil
import signal
import sys
from pathlib import Path

import hypothesis
import jax
import pytest

import typecheck

jax.config.update("jax_numpy_dtype_promotion", "strict")
# Where nobody may keep bytecode, every process of a test would compile the package again.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
# Hundreds of tests train the same small things, each with functions of its own: what is compiled
# is found again by its text, by all workers and in later runs; a large store is begun anew.
# Processes that tests start and kill do not see it.
kept = Path(__file__).parents[1] / ".pytest_cache/d/compiled"
if "PYTEST_XDIST_WORKER" not in os.environ and (
    sum(path.stat().st_size for path in kept.glob("*")) > 2**30
):
    shutil.rmtree(kept, ignore_errors=True)
jax.config.update("jax_compilation_cache_dir", str(kept))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
# `make test-slow` runs all tests of Hypothesis again, with the second profile.
hypothesis.settings.register_profile("etude", deadline=None, max_examples=10)
hypothesis.settings.register_profile("thorough", deadline=None, max_examples=100)
hypothesis.settings.load_profile("etude")

typecheck.install()  # before the first import of etude


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config, items):
    """Marks what `slow.txt` lists. A name in it that is no test is an error."""
    lines = (Path(__file__).parent / "slow.txt").read_text(encoding="utf-8").splitlines()
    listed = {line for line in lines if not line.startswith("#")}
    for item in items:
        if item.nodeid in listed:
            item.add_marker(pytest.mark.slow)
    whole = not any("::" in argument for argument in config.args)
    files = {item.nodeid.partition("::")[0] for item in items} if whole else set()
    found = {item.nodeid for item in items}
    if gone := sorted(n for n in listed - found if n.partition("::")[0] in files):
        raise pytest.UsageError(f"tests/slow.txt lists what is no test: {', '.join(gone)}.")


def pytest_collection_finish():
    """Modules and tests stay: the collector need not walk over them again and again.

    It then took 79 of 1,290 s of CPU time, for what programs and traces allocate; a higher
    threshold lets it look less often.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 10, 10)


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
