"""Under `jax_enable_x64` everything that is reported, averaged and compared is float64."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from problems import fit

import etude as et
from etude.run import History

#: The weight falls by this much a step, and the loss with it.
TINY = 1e-9


@pytest.fixture(autouse=True)
def double():
    with jax.enable_x64(True):
        yield


def slowly(steps: int = 12, executor: str = "loop", **options):
    """A loss of 1 that falls by 1e-9 a step, which float32 cannot see."""

    def loss(w, batch, context):
        return 1 + w + 0 * jnp.mean(batch), {"seen": 1 + w, "single": jnp.float32(0.1)}

    data = et.ArrayData(np.zeros(8), 4)
    learner = et.Learner(et.Gradient(loss), optax.sgd(TINY), **options.pop("learner", {}))
    validation = et.Validation(data, every=et.Steps(1))
    phase = et.Phase("fit", learner, data, et.Steps(steps), validation, **options)
    return phase, {"executor": executor}


def column(result, name):
    return [r[name] for r in result.history if name in r]


@pytest.mark.parametrize("executor", ["loop", "dispatch"])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_steps_and_validations_see_a_billionth(executor, accumulate):
    phase, options = slowly(executor=executor, learner={"accumulate": accumulate})
    result = fit(jnp.zeros(()), phase, **options)
    truth = 1 - TINY * np.arange(13)
    for name in ("train/loss", "train/seen"):
        np.testing.assert_allclose(column(result, name), truth[:12], rtol=1e-15)
    np.testing.assert_allclose(column(result, "valid/loss"), truth[1:], rtol=1e-15)
    assert set(column(result, "train/single")) == {float(np.float32(0.1))}
    found = et.evaluate(result.model, phase.data, lambda w, b, c: {"w": w})
    assert found["w"] == pytest.approx(-12 * TINY, rel=1e-12)


def test_best_keeps_the_last_weights_and_early_stopping_does_not_stop():
    phase, options = slowly(keep=et.Best("valid/loss"))
    patience = et.EarlyStopping("valid/loss", patience=3)
    result = fit(jnp.zeros(()), phase, callbacks=[patience], **options)
    assert float(result.model) == pytest.approx(-12 * TINY, rel=1e-12)
    assert [reason for _, reason in result.reasons] == [et.Reason.LENGTH]


def test_accumulated_updates_keep_their_digits():
    def loss(w, batch, context):
        return jnp.mean(batch) * w

    values = 1 + TINY * np.arange(6)
    learner = et.Learner(et.Gradient(loss), optax.sgd(1.0), accumulate=4)
    phase = et.Phase("fit", learner, et.ArrayData(values, 6), et.Steps(1))
    assert float(fit(jnp.zeros(()), phase).model) == pytest.approx(-values.mean(), rel=1e-15)


def test_the_history_and_a_resume_keep_every_bit(tmp_path):
    class Kill(et.Callback):
        def on_steps_end(self, event, metrics):
            assert metrics.rows.dtype == np.float64
            if event.step >= 6:
                raise KeyboardInterrupt

    def trainer(name, *callbacks):
        phase, options = slowly(keep=et.Best("valid/loss"))
        every = et.ModelCheckpoint(every=et.Steps(2))
        options |= {"callbacks": [every, *callbacks], "progress": False}
        return et.Trainer(jnp.zeros(()), phase, run=tmp_path / name, **options)

    whole = trainer("whole").fit()
    with pytest.raises(KeyboardInterrupt):
        trainer("cut", Kill()).fit()
    resumed = trainer("cut").resume()
    for file in ("history.jsonl", "history.bin"):
        one, other = ((tmp_path / name / file).read_bytes() for name in ("whole", "cut"))
        assert one == other
    assert float(resumed.model) == float(whole.model)
    losses = [r["train/loss"] for r in History.open(tmp_path / "whole") if "train/loss" in r]
    np.testing.assert_allclose(losses, 1 - TINY * np.arange(12), rtol=1e-15)


def test_the_csv_and_the_gradient_norm_keep_their_digits(tmp_path):
    phase, options = slowly(3)
    callbacks = [et.CSVLogger(tmp_path / "m.csv"), et.GradientMonitor()]
    result = fit(jnp.zeros(()), phase, callbacks=callbacks, **options)
    lines = (tmp_path / "m.csv").read_text().splitlines()
    found = [float(line.rsplit(",", 1)[1]) for line in lines if ",train/loss," in line]
    assert found == column(result, "train/loss")
    assert column(result, "train/gradient_norm") == [1.0] * 3
