"""A checkpoint does not grow with the length of the training that it is of."""

import jax.numpy as jnp
import optax
import pytest

import etude as et


class At(et.Callback):
    """Saves at some steps."""

    def __init__(self, *steps):
        self.steps = steps

    def next_step(self, event):
        return min((step for step in self.steps if step > event.step), default=None)

    def on_steps_end(self, event, metrics):
        return et.Save() if event.step in self.steps else None


def loss(w, batch, context):
    return jnp.mean((w - batch) ** 2)


@pytest.mark.parametrize("keep", ["last", et.Best("valid/loss")], ids=["last", "best"])
def test_step_ten_and_step_a_thousand_are_of_one_size(keep, tmp_path):
    learner = et.Learner(et.Gradient(loss), optax.adam(1e-2), ema=0.9)
    data = et.ArrayData(jnp.linspace(0, 1, 40), 4)
    phase = et.Phase(
        "fit", learner, data, et.Steps(1000), et.Validation(data, every=et.Steps(5)), keep=keep
    )
    callbacks = [
        et.EarlyStopping("valid/loss", patience=10_000),
        et.ModelCheckpoint(et.Epochs(1000), monitor=None, keep_last=10),
        At(10, 1000),
    ]
    model = jnp.zeros(())
    et.Trainer(model, phase, callbacks=callbacks, run=tmp_path / "run", progress=False).fit()
    first, *_, last = sorted((tmp_path / "run" / "checkpoints").glob("0*-fit"))
    assert (first.name, last.name) == ("000000010-fit", "000001000-fit")
    arrays = [next(folder.glob("arrays-*.bin")).stat().st_size for folder in (first, last)]
    assert arrays[0] == arrays[1]
    sizes = [(folder / "manifest.json").stat().st_size for folder in (first, last)]
    assert abs(sizes[1] - sizes[0]) < 60  # numbers of steps have more digits
