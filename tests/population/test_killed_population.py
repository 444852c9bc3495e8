"""A population that is killed goes on to the same bits and the same history."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

SCRIPT = """
import sys, time
sys.path.insert(0, {here!r})
import jax
import numpy as np
import etude as et
from crowd import phase, trainer
from test_endings import BREAKING, VARY, stopping

class Slow(et.Callback):
    def with_members(self):
        return "all"
    def next_step(self, event):
        return event.step + 2
    def on_steps_end(self, event, metrics):
        print(event.global_step, flush=True)
        time.sleep({pause})

phases = [phase(BREAKING, keep=et.Best("valid/error", "min")), phase(name="on", steps=8)]
callbacks = [stopping(), et.ModelCheckpoint(every=et.Steps(4)), Slow()]
train = trainer(phases, VARY, None, run={run!r}, callbacks=callbacks)
result = train.resume() if {resume} else train.fit()
np.savez({out!r}, *[np.asarray(x) for x in jax.tree.leaves(result.model)])
"""


def start(run, out, *, resume=False, pause=0.0):
    here = str(Path(__file__).parent)
    text = SCRIPT.format(here=here, run=str(run), out=str(out), resume=resume, pause=pause)
    return subprocess.Popen(
        [sys.executable, "-c", text], stdout=subprocess.PIPE, text=True, env=dict(os.environ)
    )


@pytest.mark.slow
@pytest.mark.parametrize("moment", [6, 14, 22])
def test_killed_at_a_step(tmp_path, moment):
    with start(tmp_path / "run", tmp_path / "none.npz", pause=0.15) as child:
        assert child.stdout is not None
        for line in child.stdout:
            if int(line) >= moment:
                break
        time.sleep(0.05)
        os.kill(child.pid, signal.SIGKILL)
    again = start(tmp_path / "run", tmp_path / "again.npz", resume=True)
    again.communicate(timeout=300)
    assert again.returncode == 0
    # The teams were timed: one that was never interrupted, of the same sizes, is the reference.
    history = (tmp_path / "run" / "history.jsonl").read_text()
    sizes = 1 if '"teams": [1, 1, 1]' in history or '"teams":[1,1,1]' in history else 3
    text = SCRIPT.format(
        here=str(Path(__file__).parent), run=str(tmp_path / "other"),
        out=str(tmp_path / "whole.npz"), resume=False, pause=0.0,
    ).replace("VARY, None,", f"VARY, {sizes},")  # fmt: skip
    subprocess.run([sys.executable, "-c", text], check=True, stdout=subprocess.DEVNULL, timeout=300)
    one, other = np.load(tmp_path / "again.npz"), np.load(tmp_path / "whole.npz")
    for name in one.files:
        np.testing.assert_array_equal(one[name], other[name])
    for name in ("history.jsonl", "history.bin"):
        mine = (tmp_path / "run" / name).read_bytes()
        assert mine == (tmp_path / "other" / name).read_bytes()
