"""A source that hangs does not make a training deaf, and one that is empty does not spin."""

import os
import signal
import threading
import time

import jax.numpy as jnp
import numpy as np
import optax
import pytest

import etude as et

pytestmark = pytest.mark.usefixtures("listening")


class Source:
    """Yields so many batches in all, then hangs or ends."""

    seeks = True

    def __init__(self, batches: int, hangs: bool):
        self.steps_per_epoch = None if not hangs else 100
        self.count, self.hangs = batches, hangs
        self.stuck = threading.Event()

    def batches(self, entropy, epoch, position):
        for _ in range(position, self.count):
            yield np.ones(4, np.float32)
        if self.hangs:
            self.stuck.set()
            time.sleep(60)

    def sequential(self):
        return iter(())


def phase(source):
    learner = et.Learner(et.Gradient(lambda w, x, context: jnp.mean((w - x) ** 2)), optax.sgd(0.1))
    return et.Phase("fit", learner, source, et.Steps(50))


@pytest.mark.parametrize("batches", [0, 6])
def test_sigterm_is_heard_while_the_data_hang(tmp_path, batches):
    source = Source(batches, hangs=True)

    def strike():
        source.stuck.wait(60)
        time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=strike, daemon=True).start()
    began = time.monotonic()
    with pytest.raises(et.Interrupted, match=f"at step {batches}. The state is saved"):
        et.Trainer(jnp.zeros(()), phase(source), run=tmp_path / "run", progress=False).fit()
    assert time.monotonic() - began < 30


def test_an_epoch_without_batches_is_an_error():
    with pytest.raises(et.DataError, match="yield nothing in epoch 0"):
        et.Trainer(jnp.zeros(()), phase(Source(0, hangs=False)), progress=False).fit()
