"""A sweep that is killed and resumed ends with the same bits and the same history."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np

import etude as et
from etude.systems.born_machine import BornMachine, Embedding, TwoSiteSweep


def trainer(folder, callbacks=()) -> et.Trainer:
    """Sweeps over mini-batches, so that the order of the data counts."""
    x = np.random.default_rng(0).integers(0, 2, (40, 8)).astype(np.float32)
    x[:, 1] = x[:, 0]
    machine = BornMachine.create(jax.random.key(0), 8, 1, Embedding("onehot", 2), 4)
    learner = et.Learner(TwoSiteSweep(steps=1, max_angle=0.1))
    phase = et.Phase("sweep", learner, et.ArrayData(x, 20), et.Steps(12))
    checkpoint = et.ModelCheckpoint(every=et.Steps(2))
    return et.Trainer(
        machine, phase, callbacks=[checkpoint, *callbacks], run=folder, seed=3, progress=False
    )


class Kill(et.Callback):
    """Dies without warning once step 7 is done."""

    def on_steps_end(self, event, rows):
        if event.step >= 7:
            os.kill(os.getpid(), signal.SIGKILL)


def test_killed_run_resumes_to_the_same_bits(tmp_path):
    whole = trainer(tmp_path / "whole").fit()
    here = Path(__file__)
    program = (
        f"import sys; sys.path.insert(0, {str(here.parent)!r}); import {here.stem} as m; "
        f"m.trainer({str(tmp_path / 'killed')!r}, [m.Kill()]).fit()"
    )
    child = subprocess.run([sys.executable, "-c", program], timeout=120, capture_output=True)
    assert child.returncode == -signal.SIGKILL, child.stderr
    resumed = trainer(tmp_path / "killed").resume()
    for ours, theirs in zip(
        jax.tree.leaves(resumed.model), jax.tree.leaves(whole.model), strict=True
    ):
        assert np.asarray(ours).tobytes() == np.asarray(theirs).tobytes()
    steps = [
        [(r["step"], r["loss"]) for r in run.history if "loss" in r] for run in (whole, resumed)
    ]
    assert steps[0] == steps[1]
    assert len(steps[0]) == 12
