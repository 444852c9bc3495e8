"""What a run ran on: versions, devices, seed, commit.

>>> sorted(environment(seed=0))[:4]
['argv', 'created', 'devices', 'git']
"""

import platform
import subprocess
import sys
from datetime import UTC, datetime
from importlib import metadata
from typing import Any

PACKAGES = ("etude", "jax", "jaxlib", "equinox", "optax", "flax", "numpy", "orbax-checkpoint")


def environment(seed: int) -> dict[str, Any]:
    """The content of `environment.json`: plain JSON."""
    import jax  # `etude --help` imports this module and has no use for JAX

    return {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "seed": seed,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "versions": versions(),
        "devices": [f"{device.platform}: {device.device_kind}" for device in jax.devices()],
        "git": _git(),
        "argv": sys.argv,
    }


def versions() -> dict[str, str]:
    """Of the packages that decide what a training computes, those that are installed."""
    found: dict[str, str] = {}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue  # an extra that is not installed
    return found


def _git() -> dict[str, Any] | None:
    """Commit of the working directory and whether it has changes; None outside a repository."""
    try:
        commit = _run("git", "rev-parse", "HEAD").strip()
        return {"commit": commit, "dirty": bool(_run("git", "status", "--porcelain").strip())}
    except (OSError, subprocess.SubprocessError):
        return None


def _run(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout
