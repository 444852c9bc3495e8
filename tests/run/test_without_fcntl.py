"""On a system without `fcntl`, as Windows, runs are refused in a sentence and the rest works."""

import subprocess
import sys
from pathlib import Path

DATA = Path(__file__).parent / "data" / "first_version"

PLAYED = """
import os, sys
from pathlib import Path
import jax.numpy as jnp, optax
sys.modules["fcntl"] = None
del os.register_at_fork, os.pathconf
import etude as et
from etude.run import History, Run

def trainer(**options):
    def loss(w, batch, context):
        return jnp.mean((w - batch) ** 2)
    learner = et.Learner(et.Gradient(loss), optax.sgd(0.5))
    phase = et.Phase("fit", learner, et.ArrayData(jnp.ones(8), 8), et.Steps(20))
    return et.Trainer(jnp.zeros(()), phase, progress=False, **options)

def refused(action):
    try:
        action()
    except et.RunError as error:
        return str(error)

print(float(trainer().fit().model))
words = {refused(trainer(run="run").fit), refused(trainer(run=sys.argv[1]).resume)}
assert len(words) == 1 and not Path("run").exists(), words
print(*words)
print(len(History.open(sys.argv[1])), Run.open(sys.argv[1], lock=False).checkpoints.names())
"""


def test_training_works_and_a_run_is_refused(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", PLAYED, str(DATA)], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.splitlines() == [
        "1.0",
        "etude's run folders need a system with fcntl: Linux or macOS; train without `run`, or "
        "under WSL",
        "31 ['000000008-fit', '000000016-fit']",
    ]
