"""Checks on eight fake devices, in a process of their own: those of the tests have two.

`python eight.py SCRIPT DEVICES [CHECK ...]` calls the functions `check_*` of a script and prints
what failed; `outcomes` runs it, once for all tests of a module.
"""

import importlib
import json
import os
import re
import subprocess
import sys
import traceback
from functools import cache
from pathlib import Path

HERE = Path(__file__).parent


def names_in(script: str) -> list[str]:
    """The checks of a script."""
    return re.findall(r"^def check_(\w+)", (HERE / script).read_text(), re.MULTILINE)


@cache
def outcomes(script: str, devices: str, chosen: tuple[str, ...] = ()) -> dict[str, str]:
    """What failed, by check, of the chosen ones or all; nothing where all is well."""
    flags = f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count=8"
    found = subprocess.run(
        [sys.executable, __file__, script, devices, *chosen],
        env={**os.environ, "XLA_FLAGS": flags, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=540,
    )
    last = found.stdout.strip().rpartition("\n")[2]
    assert last.startswith("{"), f"{script} has failed:\n{found.stdout}{found.stderr}"
    return json.loads(last)


def prepare() -> None:
    """What `tests/conftest.py` does for a test; before the first import of etude."""
    import jax

    jax.config.update("jax_numpy_dtype_promotion", "strict")
    kept = HERE.parents[1] / ".pytest_cache/d/compiled"
    jax.config.update("jax_compilation_cache_dir", str(kept))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    sys.path[:0] = [str(HERE.parent), str(HERE)]
    import typecheck

    typecheck.install()


def main(script: str, devices: str, *chosen: str) -> None:
    """Calls the checks of a script, with the numbers of devices to compare."""
    prepare()
    counts = tuple(map(int, devices.split(",")))
    checks = importlib.import_module(script.removesuffix(".py"))
    failed = {}
    for name in chosen or names_in(script):
        try:
            getattr(checks, f"check_{name}")(counts)
        except Exception:
            failed[name] = traceback.format_exc()
    print(json.dumps(failed))


if __name__ == "__main__":
    main(*sys.argv[1:])
