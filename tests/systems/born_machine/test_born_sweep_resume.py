"""A sweep that is killed and resumed ends with the same bits and the same history."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import etude as et
from etude.systems.born_machine import BornMachine, Embedding, TwoSiteSweep

X = np.random.default_rng(0).integers(0, 2, (40, 4)).astype(np.float32).repeat(2, axis=1)


def trainer(folder, callbacks=()) -> et.Trainer:
    """Sweeps over mini-batches, so that the order of the data counts."""
    machine = BornMachine.create(jax.random.key(0), 8, 1, Embedding("onehot", 2), 4)
    learner = et.Learner(TwoSiteSweep(steps=1, max_angle=0.1))
    phase = et.Phase("sweep", learner, et.ArrayData(X, 20), et.Steps(12))
    checkpoint = et.ModelCheckpoint(every=et.Steps(2))
    return et.Trainer(
        machine, phase, callbacks=[checkpoint, *callbacks], run=folder, seed=3, progress=False
    )


class Kill(et.Callback):
    """Dies without warning once step 7 is done."""

    def on_steps_end(self, event, rows):
        if event.step >= 7:
            os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.slow
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
    told, again = (
        [(r["step"], r["train/loss"]) for r in run.history if "train/loss" in r]
        for run in (whole, resumed)
    )
    assert told == again
    assert len(told) == 12
    # From mini-batches too it has learnt that sites come in equal pairs (4 ln 2 at best).
    loss = -whole.model.log_marginal(jnp.asarray(X)).mean()
    assert 4 * np.log(2) - 0.2 < loss < 6 * np.log(2)
