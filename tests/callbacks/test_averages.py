"""A callback samples from the averaged generator: live, after a resume, and around a rescue."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scored import DATA, counter

import etude as et

NOISE = np.linspace(-1, 1, 5, dtype=np.float32)


def game(steps=12, **options):
    """A generator with an average and a critic without one, both pulled about by noise."""

    def loss(part):
        def value(model, batch, context):
            target = batch.mean() + jax.random.normal(context.key, (2,))
            return jnp.sum((model[part] - target) ** 2)

        return value

    turns = [
        et.Learner(
            et.Gradient(loss("generator")), optax.sgd(0.1), lambda m: m["generator"], "g", ema=0.8
        ),
        et.Learner(et.Gradient(loss("critic")), optax.sgd(0.1), lambda m: m["critic"], "c"),
    ]
    return et.Phase("game", turns, et.ArrayData(DATA, 3), et.Steps(steps), **options)


def train(callbacks, begin=et.Trainer.fit, **options):
    model = {"generator": jnp.zeros(2), "critic": jnp.zeros(2)}
    return begin(et.Trainer(model, game(), callbacks=callbacks, progress=False, **options))


class Sampler(et.Callback):
    """At each epoch the samples of the averaged generator; interrupted after `last`."""

    def __init__(self, last=None):
        self.last, self.models, self.samples = last, [], {}

    def on_epoch_end(self, event):
        live, averaged = event.model(), event.model(ema=True)
        self.models.append((live, averaged))
        scale, shift = np.asarray(averaged["generator"])
        self.samples[event.step] = scale * NOISE + shift
        if event.epoch == self.last:
            raise KeyboardInterrupt


class EveryStep(et.Callback):
    """Both models at every step."""

    def __init__(self):
        self.models = []

    def on_batch_end(self, event, metrics):
        self.models.append((event.model(), event.model(ema=True)))


@pytest.mark.filterwarnings("ignore:EveryStep has on_batch_end")
def test_the_averaged_model_is_the_moving_average_of_the_generator_alone():
    watch = EveryStep()
    result = train([watch])
    average = np.zeros(2)
    for live, averaged in watch.models:
        average = 0.8 * average + 0.2 * np.asarray(live["generator"], np.float64)
        np.testing.assert_allclose(averaged["generator"], average, rtol=1e-5, atol=1e-7)
        np.testing.assert_array_equal(averaged["critic"], live["critic"])
    assert np.abs(average - np.asarray(result.model["generator"])).max() > 1e-3
    # They are copies: what a callback builds neither moves nor vanishes as training goes on.
    np.testing.assert_array_equal(watch.models[-1][0]["generator"], result.model["generator"])


def test_samples_are_the_same_after_a_resume(tmp_path):
    whole, first, second = Sampler(), Sampler(last=1), Sampler()
    reference = train([whole])
    with pytest.raises(KeyboardInterrupt):
        train([first, et.ModelCheckpoint(et.Steps(2))], run=tmp_path / "run")
    resumed = train(
        [second, et.ModelCheckpoint(et.Steps(2))], et.Trainer.resume, run=tmp_path / "run"
    )
    assert list(whole.samples) == [4, 8, 12]
    assert list(second.samples) == [4, 8, 12], "epoch 1 is told again: it was not saved"
    for step, samples in second.samples.items():
        np.testing.assert_array_equal(samples, whole.samples[step])
    np.testing.assert_array_equal(resumed.model["generator"], reference.model["generator"])


def test_without_an_average_there_is_none_to_build():
    class Ask(et.Callback):
        def on_phase_end(self, event, reason):
            event.model(ema=True)

    learner = et.Learner(counter, optax.sgd(1.0))
    phase = et.Phase("count", learner, et.ArrayData(DATA, 3), et.Steps(2))
    made = et.Trainer(jnp.zeros(()), phase, callbacks=[Ask()], progress=False)
    with pytest.raises(et.ConfigurationError, match="phase 'count' keeps an average"):
        made.fit()
    plan = et.Plan.of(phase, jnp.zeros(()))
    with pytest.raises(et.ConfigurationError, match="phase 'count' keeps an average"):
        plan.model(et.init_state(plan, jnp.zeros(())), ema=True)


def test_a_phase_keeps_its_average_while_a_rescue_has_the_model(tmp_path):
    """After a resume within a rescue, the phase that it helps is told to begin again."""
    told = []

    class Ask(et.Callback):
        """Interrupts the rescue once, and asks for both models when the phase goes on."""

        def __init__(self, interrupt):
            self.interrupt = interrupt

        def on_phase_begin(self, event):
            if event.phase == "count" and not self.interrupt:
                told.append((float(event.model()), float(event.model(ema=True))))

        def on_epoch_end(self, event):
            if event.phase == "mend" and self.interrupt:
                raise KeyboardInterrupt

    def make(interrupt):
        data = et.ArrayData(DATA, 3)
        mend = et.Phase("mend", et.Learner(counter, optax.sgd(10.0)), data, et.Steps(8))
        validation = et.Validation(data, lambda m, b, c: {"count": m}, et.Steps(4))
        count = et.Phase(
            "count",
            et.Learner(counter, optax.sgd(1.0), ema=0.5),
            data,
            et.Steps(8),
            validation,
            rescue=et.Rescue(mend, lambda seen: len(seen) == 1),
        )
        listed = [et.ModelCheckpoint(et.Steps(2)), Ask(interrupt)]
        return et.Trainer(
            jnp.zeros(()), count, callbacks=listed, run=tmp_path / "run", progress=False
        )

    with pytest.raises(KeyboardInterrupt):
        make(interrupt=True).fit()
    make(interrupt=False).resume()
    # Counted to 4 with the average of 1 to 4; the rescue has gone on by 10s from there.
    average = 0.0
    for value in (1.0, 2.0, 3.0, 4.0):
        average = 0.5 * average + 0.5 * value
    [(live, averaged)] = told
    assert averaged == average
    assert live == 24.0
