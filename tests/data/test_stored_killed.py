"""A training on files that is killed amid a window goes on to the same bits."""

import signal
import subprocess
import sys

import h5py
import numpy as np
import pytest

SCRIPT = """
import os, signal, sys
import h5py, numpy as np, optax
import etude as et

how, until, run, out = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]

class Killed(et.Callback):
    def next_step(self, event):
        return event.step + 1
    def on_steps_end(self, event, metrics):
        if event.step == until:
            os.kill(os.getpid(), signal.SIGKILL)

def loss(w, batch, context):
    return ((batch["x"] @ w - batch["y"]) ** 2).mean()

arrays = {"x": np.load("x.npy", mmap_mode="r"), "y": h5py.File("y.h5")["y"]}
data = et.AccessData(arrays, 8, shuffle=et.Blocks(10, window=3), workers=1)
phase = et.Phase("fit", et.Learner(et.Gradient(loss), optax.adam(0.1)), data, et.Epochs(3))
callbacks = [et.ModelCheckpoint(every=et.Steps(5)), Killed()]
trainer = et.Trainer(np.zeros(3, "f4"), phase, callbacks=callbacks, run=run, progress=False)
np.save(out, getattr(trainer, how)().model)
"""


@pytest.mark.slow
def test_killed_amid_a_window(tmp_path):
    random = np.random.default_rng(0)
    np.save(tmp_path / "x.npy", random.normal(size=(127, 3)).astype("f4"))
    with h5py.File(tmp_path / "y.h5", "w") as file:
        file.create_dataset("y", data=random.normal(size=127).astype("f4"), chunks=(10,))

    def train(how, until, run, out):
        command = [sys.executable, "-c", SCRIPT, how, str(until), run, out]
        return subprocess.run(command, cwd=tmp_path, timeout=300).returncode

    assert train("fit", 0, "whole", "whole.npy") == 0
    assert train("fit", 13, "run", "none.npy") == -signal.SIGKILL
    assert train("resume", 27, "run", "none.npy") == -signal.SIGKILL
    assert train("resume", 0, "run", "again.npy") == 0
    assert (tmp_path / "again.npy").read_bytes() == (tmp_path / "whole.npy").read_bytes()
