"""A process that has JAX and flatbuffers, and no etude: it is what a deployment is."""

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import numpy as np

CODE = """
import sys
sys.path += sys.argv[2:]  # not by `site`, which would make etude importable
from importlib.util import find_spec
assert find_spec("etude") is None and find_spec("jax") is not None
import numpy as np
from jax import export
given = np.load(sys.argv[1], allow_pickle=False)
found = {}
for case in {name.partition("|")[0] for name in given}:
    # NumPy keeps the order of the arrays of a file.
    inputs = [given[name] for name in given if name.startswith(case + "|")]
    place = case.rpartition("@")[0]
    with open(place, "rb") as file:
        loaded = export.deserialize(bytearray(file.read()))
    output = loaded.call(*inputs)
    named = output if isinstance(output, dict) else {"": output}
    found |= {f"{case}|{name}": np.asarray(value) for name, value in named.items()}
np.savez(sys.argv[1] + ".found.npz", **found)
"""


def called_apart(cases, folder):
    """What exported functions give in that process: `{case: {output: array}}`.

    `cases` are `{f"{file}@{anything}": inputs}`.
    """
    given = folder / "given.npz"
    arrays = {
        f"{case}|{number}": value
        for case, inputs in cases.items()
        for number, value in enumerate(inputs)
    }
    with given.open("wb") as file:
        np.savez(file, **arrays)
    paths = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", CODE, str(given), *sorted(paths)],
        capture_output=True,
        text=True,
        env=os.environ,
    )
    assert done.returncode == 0, done.stderr
    found = {}
    with np.load(Path(f"{given}.found.npz")) as arrays:
        for name in arrays:
            case, _, output = name.partition("|")
            found.setdefault(case, {})[output] = arrays[name]
    return found
