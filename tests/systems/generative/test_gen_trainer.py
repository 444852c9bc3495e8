"""The seed's trainer: each method, resumed to the same bits, and nothing accepted in vain."""

import logging

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import etude as et
from etude.systems import generative as gen
from etude.systems.generative.training.models import MODELS

IMAGES = np.asarray(jax.random.bernoulli(jax.random.key(3), 0.4, (22, 6)), np.float32)
LABELS = np.arange(22) % 2


def config(**changes):
    adam = gen.OptimizerConfig(optimizer_type="adam", learning_rate=1e-2)
    return gen.TrainingConfig(**{"batch_size": 4, "num_epochs": 2, "optimizer": adam, **changes})


def vae(**changes):
    return gen.VAE.create(jax.random.key(0), (6,), latent=2, hidden=(8,), **changes)


def loader():
    """Six batches, the last one short."""
    return ({"images": IMAGES[i : i + 4]} for i in range(0, 22, 4))


def trainer_of(data, **changes):
    options = {"training_config": config(), "train_data_loader": data, **changes}
    return gen.Trainer(vae(), **options)


def same(first, second):
    leaves = zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True)
    return all(np.array_equal(_plain(a), _plain(b)) for a, b in leaves)


def _plain(leaf):
    typed = isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    return jax.random.key_data(leaf) if typed else leaf


def test_data_are_refused_by_their_values_before_the_first_step():
    bright = {"images": 2 * IMAGES}
    trainer = trainer_of(bright)
    with pytest.raises(et.DataError, match="2"):
        trainer.fit()
    with pytest.raises(et.DataError, match="2"):
        trainer.train(bright, 1, 4)
    with pytest.raises(et.DataError, match="the validation: "):
        trainer.train({"images": IMAGES}, 1, 4, val_data=bright)
    assert trainer.global_step == 0


def test_an_epoch_is_its_steps():
    """Of a loader: the same batches one at a time, to rounding; and those of the engine's own."""
    epoch, steps = trainer_of(loader), trainer_of(None)
    means = epoch.train_epoch()
    each = [steps.train_step(batch) for batch in loader()]
    assert epoch.global_step == steps.global_step == 6
    assert means["loss"] == pytest.approx(np.mean([one["loss"] for one in each]), rel=1e-5)
    for a, b in zip(jax.tree.leaves(epoch.model), jax.tree.leaves(steps.model), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


@pytest.mark.parametrize("data", [loader, {"images": IMAGES}], ids=["loader", "dict"])
def test_epochs_one_by_one_are_fit(data):
    whole, parts = trainer_of(data), trainer_of(data)
    whole.fit()
    parts.train_epoch()
    parts.train_epoch()
    assert same(whole.state, parts.state)
    assert whole.epoch == parts.epoch == 2


@pytest.mark.parametrize(
    ("data", "at"),
    [(IMAGES, 11), (loader, 6), (loader, 8)],
    ids=["before-the-tail", "between", "within"],
)
def test_a_checkpoint_goes_on_to_the_same_bits(data, at, tmp_path):
    """Saved by itself at a step within an epoch too; loaded by a trainer of another seed."""
    straight = trainer_of(data, checkpoint_dir=tmp_path, save_interval=at, rng=jax.random.key(5))
    straight.fit()
    straight.train_epoch()
    resumed = trainer_of(data)
    resumed.load_checkpoint(tmp_path / f"checkpoint_{at}.pkl")
    assert (resumed.global_step, resumed.state.step) == (at, at)
    while resumed.global_step < straight.global_step:
        resumed.train_epoch()
    assert same(straight.state, resumed.state)


@pytest.mark.slow
def test_a_callback_may_save_at_any_moment(tmp_path):
    """At the end of an epoch or of the training, the next epoch is what a load goes on with."""

    class Saving(gen.BaseCallback):
        def on_epoch_end(self, trainer, epoch, logs=None):
            trainer.save_checkpoint(tmp_path / f"epoch-{epoch}")

        def on_validation_end(self, trainer, logs=None):
            trainer.save_checkpoint(tmp_path / f"valid-{trainer.epoch}")

        def on_train_end(self, trainer):
            trainer.save_checkpoint(tmp_path / "end")

    straight = trainer_of(IMAGES, val_data_loader=IMAGES[:4])
    straight.fit([Saving()])
    straight.train_epoch()
    for name, epochs in {"epoch-0": 2, "valid-0": 2, "epoch-1": 1, "end": 1}.items():
        resumed = trainer_of(IMAGES)
        resumed.load_checkpoint(tmp_path / name)
        for _ in range(epochs):
            resumed.train_epoch()
        assert same(straight.state, resumed.state), name


def test_the_order_is_another_one_in_each_epoch_and_seed():
    class Seen(gen.BaseCallback):
        def __init__(self):
            self.rows = []

        def on_batch_end(self, trainer, batch, logs=None):
            self.rows += np.asarray(batch)[:, 0].tolist()

    def rows(rng):
        numbered = np.arange(22, dtype=np.float32)[:, None] * np.ones(6, np.float32)
        seen = Seen()
        with pytest.warns(UserWarning, match="slow"):
            gen.Trainer(
                jnp.zeros(6),
                config(),
                train_data_loader=numbered,
                rng=rng,
                loss_fn=lambda w, x, key: (jnp.mean((w - x) ** 2), {}),
            ).fit([seen])
        return seen.rows[:22], seen.rows[22:]

    first, second = rows(jax.random.key(0))
    other, _ = rows(jax.random.PRNGKey(1))
    assert sorted(first) == sorted(second) == sorted(other) == list(range(22))
    assert first != second
    assert first != other


@pytest.mark.parametrize("data", [IMAGES, loader], ids=["array", "loader"])
def test_callbacks_see_the_batch_that_was_trained_on(data):
    class Watch(gen.BaseCallback):
        def __init__(self):
            self.steps, self.epochs = [], []

        def on_batch_end(self, trainer, batch, logs=None):
            x = batch["images"] if isinstance(batch, dict) else batch
            assert logs["mean"] == pytest.approx(float(x.mean()), abs=1e-6)
            assert trainer.state["step"] == trainer.global_step
            self.steps.append(trainer.global_step)

        def on_epoch_end(self, trainer, epoch, logs=None):
            self.epochs.append((epoch, trainer.global_step, sorted(logs)))

    def loss(model, batch, context):
        value, _metrics = gen.Bound()(model, batch, context)
        x = batch["images"] if isinstance(batch, dict) else batch
        return value, {"mean": x.mean()}

    watch = Watch()
    trainer = trainer_of(data, loss_fn=loss)
    trainer.train_step(IMAGES[:4] if data is IMAGES else {"images": IMAGES[:4]})
    with pytest.warns(UserWarning, match="slow"):
        trainer.fit(callbacks=[watch])
    assert watch.steps == list(range(2, 14))
    assert watch.epochs == [(e, n, ["learning_rate", "loss", "mean"]) for e, n in ((0, 7), (1, 13))]


def test_looking_changes_nothing():
    looked, plain = trainer_of(IMAGES), trainer_of(IMAGES)
    plain.train_epoch()
    looked.train_epoch()
    before = looked.state
    found = [looked.evaluate(IMAGES, 5) for _ in range(2)]
    looked.validate_step(IMAGES[:3])
    samples = [looked.generate_samples(4, seed=1) for _ in range(2)]
    assert found[0] == found[1]
    assert np.array_equal(*samples)
    assert looked.generate_samples(2, temperature=0.0, noise=False).shape == (2, 6)
    assert same(before, looked.state)
    plain.train_epoch()
    looked.train_epoch()
    assert same(plain.state, looked.state)


def test_evaluation_counts_each_example_once():
    trainer = trainer_of(None, loss_fn=lambda model, batch, key: (batch.mean(), {}))
    assert trainer.evaluate(IMAGES, 5)["loss"] == pytest.approx(float(IMAGES.mean()), abs=1e-6)


class Own(gen.Trainer):
    """The seed's block, with a loss in place of its `pass`."""

    def _train_step(self, state, batch):
        rng, step_rng = jax.random.split(state["rng"])
        batch = self.preprocess_batch(batch, step_rng)

        def loss_fn(params):
            return self.compute_custom_loss(params, batch, step_rng)

        (loss, metrics), grads = eqx.filter_jit(jax.value_and_grad(loss_fn, has_aux=True))(
            state["params"]
        )
        grads = self.process_gradients(grads)
        updates, opt_state = self.optimizer.update(grads, state["opt_state"], state["params"])
        params = optax.apply_updates(state["params"], updates)
        new = {"step": state["step"] + 1, "params": params, "opt_state": opt_state, "rng": rng}
        return new, {"loss": loss, **metrics}

    def preprocess_batch(self, batch, rng):
        return batch["images"]

    def compute_custom_loss(self, params, batch, rng):
        context = et.Context.at(rng)
        return gen.Bound()(self.model_of(params), batch, context)

    def process_gradients(self, grads):
        return jax.tree.map(lambda g: 0.5 * g, grads)


def test_a_step_of_ones_own(tmp_path):
    sgd = gen.OptimizerConfig(optimizer_type="sgd", learning_rate=0.02)
    own = Own(vae(), config(optimizer=sgd), train_data_loader=loader, checkpoint_dir=tmp_path)
    halved = gen.OptimizerConfig(optimizer_type="sgd", learning_rate=0.01)
    plain = trainer_of(loader, training_config=config(optimizer=halved))
    start = own.evaluate(IMAGES, 11)["elbo"]
    for _ in range(3):
        own.train_epoch()
        plain.train_epoch()
    assert own.global_step == 18
    assert own.evaluate(IMAGES, 11)["elbo"] > start + 0.1
    # Half of the gradients is half of the rate; the noise of the draws differs.
    found = [one.evaluate(IMAGES, 11)["elbo"] for one in (own, plain)]
    assert found[0] == pytest.approx(found[1], abs=0.2)
    own.save_checkpoint()
    again = Own(vae(), config(optimizer=sgd), train_data_loader=loader)
    again.load_checkpoint(tmp_path / "checkpoint_18")
    own.train_epoch()
    again.train_epoch()
    assert same(own.state, again.state)


@pytest.mark.parametrize(
    ("state", "named"),
    [
        (lambda s: {"step": s["step"], "opt_state": s["opt_state"]}, "missing 'params'"),
        (lambda s: {**s, "parms": 1}, "unknown 'parms'.*'params'"),
        (lambda s: s["params"], "a dictionary with step, params, opt_state, rng"),
    ],
    ids=["missing", "unknown", "type"],
)
def test_states_that_are_none_are_refused(state, named):
    class Wrong(gen.Trainer):
        def _train_step(self, before, batch):
            return state(before), {"loss": jnp.zeros(())}

    with pytest.raises(et.RuleError, match=named):
        Wrong(vae(), config()).train_step(IMAGES[:4])


def test_every_field_of_the_configuration_does_something(tmp_path):
    """The original ignored the clipping, the validation data and the frequency of its logs."""
    sgd = gen.OptimizerConfig(optimizer_type="sgd", learning_rate=1.0)
    moved = []
    for norm in (1e-3, None):
        trainer = gen.Trainer(vae(), config(optimizer=sgd, gradient_clip_norm=norm))
        trainer.train_step(IMAGES[:4])
        change = jax.tree.map(lambda a, b: a - b, trainer.model, vae())
        moved.append(float(optax.tree.norm(eqx.filter(change, eqx.is_inexact_array))))
    assert moved[0] == pytest.approx(1e-3, rel=1e-3)
    assert moved[1] > 0.1

    class Log:
        lines, steps = [], []

        def log_metrics(self, metrics, step):
            self.steps.append((step, sorted(metrics)[0]))

    log, told = Log(), []
    cosine = gen.SchedulerConfig(scheduler_type="cosine")
    changed = config(
        log_frequency=5, save_frequency=4, max_checkpoints=2, scheduler=cosine, num_epochs=3
    )
    trainer = trainer_of(
        IMAGES,
        training_config=changed,
        val_data_loader=IMAGES[:9],
        workdir=tmp_path,
        metrics_logger=log,
        logger=logging.getLogger("etude-test"),
        log_callback=lambda step, metrics: told.append(step),
    )
    found = trainer.fit()
    assert sorted(found)[-1].startswith("val_")
    assert len(trainer.train_metrics) == 3
    assert len(trainer.val_metrics) == 3
    assert told == [step for step, _ in log.steps] == [5, 6, 10, 12, 15, 18]
    assert sorted(p.name for p in tmp_path.iterdir() if p.is_dir()) == [
        "checkpoint_12",
        "checkpoint_16",
    ]
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert len(lines) == 6
    assert (
        trainer.train_metrics[-1]["learning_rate"] < 0.5 * trainer.train_metrics[0]["learning_rate"]
    )


def test_the_best_loss_is_that_of_the_checkpoint(tmp_path):
    """The seed's loop: a better validation saves, and a worse one does not."""
    trainer, saved = trainer_of(IMAGES), []
    for _ in range(3):
        trainer.train_epoch()
        found = trainer.evaluate(IMAGES, 11)
        if found["loss"] < trainer.state.get("best_loss", float("inf")):
            trainer.save_checkpoint(tmp_path / "best_model.pkl")
            saved.append(found["loss"])
    assert trainer.state.best_loss == min(saved)
    fresh = trainer_of(IMAGES)
    fresh.load_checkpoint(tmp_path / "best_model.pkl")
    assert fresh.state["best_loss"] == min(saved)
    assert fresh.evaluate(IMAGES, 11)["loss"] == saved[-1]


def test_a_network_with_statistics_and_dropout():
    """Of Flax: they move in training, and neither an evaluation nor a sample moves them."""

    class Net(nnx.Module):
        def __init__(self, rngs):
            self.first, self.norm = nnx.Linear(6, 8, rngs=rngs), nnx.BatchNorm(8, rngs=rngs)
            self.drop, self.last = nnx.Dropout(0.5, rngs=rngs), nnx.Linear(8, 6, rngs=rngs)

        def __call__(self, x):
            return self.last(self.drop(nnx.relu(self.norm(self.first(x)))))

        def sample(self, key, count):
            return self(jax.random.normal(key, (count, 6)))

    def loss(model, batch, context):
        return jnp.mean((model(batch) - batch) ** 2)

    trainer = gen.Trainer(Net(nnx.Rngs(0)), config(), train_data_loader=IMAGES, loss_fn=loss)
    trainer.train_epoch()
    statistics = np.asarray(trainer.model.norm.mean[...])
    assert np.abs(statistics).max() > 0
    before = trainer.state
    assert trainer.evaluate(IMAGES, 11) == trainer.evaluate(IMAGES, 11)
    assert np.array_equal(trainer.generate_samples(3, seed=0), trainer.generate_samples(3, seed=0))
    assert same(before, trainer.state)


def test_train_on_data_given_at_the_call():
    trainer = trainer_of(None)
    found = trainer.train(IMAGES, num_epochs=2, batch_size=11, val_data=IMAGES[:8], val_interval=1)
    assert trainer.global_step == 4
    assert found["val_loss"] == trainer.val_metrics[-1]["loss"]
    assert len(trainer.val_metrics) == 4


def test_nan_leaves_the_state_as_it_was():
    trainer = trainer_of(IMAGES, loss_fn=lambda model, x, key: (x.sum() * jnp.nan, {}))
    before = trainer.state
    with pytest.raises(et.NonFiniteError, match="step 1"):
        trainer.train_step(IMAGES[:4])
    with pytest.raises(et.NonFiniteError):
        trainer.train_epoch()
    assert same(before, trainer.state)


def conditional(**changes):
    return gen.VAE.create(jax.random.key(0), (6,), latent=2, hidden=(8,), classes=2, **changes)


def test_dictionaries_with_labels_reach_a_conditional_model():
    data = {"images": IMAGES, "labels": LABELS}
    trainer = gen.Trainer(conditional(), config(), train_data_loader=data)
    trainer.train_epoch()
    assert trainer.generate_samples(4, seed=0, labels=1).shape == (4, 6)
    with pytest.raises(et.DataError, match="labels"):
        trainer.train_step({"images": IMAGES[:4]})


def _configured(**changes):
    given = {"model_class": "VAE", "input_dim": (6,), "output_dim": 2, "hidden_dims": (8,)}
    return gen.create_model(gen.ModelConfig(**{**given, **changes}), jax.random.key(0))


def test_models_from_data():
    assert len(_configured(hidden_dims=()).encoder.layers) == 1
    named = _configured(model_class="artifex.generative_models.models.vae.base.VAE")
    assert same(eqx.filter(named, eqx.is_array), eqx.filter(vae(), eqx.is_array))
    by_flax = gen.create_model(
        gen.ModelConfig(model_class=gen.VQVAE, input_dim=(6,), output_dim=2), nnx.Rngs(0)
    )
    assert isinstance(by_flax, gen.VQVAE)
    batch = jnp.asarray(IMAGES[:4])
    losses = {
        beta: gen.Trainer(_configured(parameters={"beta": beta}), config()).train_step(batch)
        for beta in (1.0, 50.0)
    }
    assert losses[50.0]["loss"] == pytest.approx(
        losses[1.0]["loss"] + 49 * losses[1.0]["kl"], rel=1e-4
    )
    assert isinstance(_configured(parameters={"likelihood": "gaussian"}).likelihood, gen.Gaussian)


@pytest.mark.parametrize("name", [name for name in MODELS if name != "GAN"])
def test_every_model_has_its_objective(name):
    """Made from data, and trained by its own loss: a step, and samples, by the name alone."""
    model = gen.create_model(gen.ModelConfig(model_class=name, input_dim=(6,)), 0)
    trainer = gen.Trainer(model, config())
    assert np.isfinite(trainer.train_step(IMAGES[:4])["loss"])
    assert trainer.generate_samples(3, seed=0).shape == (3, 6)


@pytest.mark.parametrize(
    ("make", "error", "named"),
    [
        (
            lambda: _configured(model_class="Flow"),
            et.ConfigurationError,
            "a Flow has no output_dim",
        ),
        (lambda: _configured(parameters={"beta": "x"}), et.ConfigurationError, "cannot be made"),
        (lambda: gen.create_model(gen.ModelConfig(model_class="MADE", input_dim=(2,)), True),
         et.ConfigurationError, "rngs is a key"),
        (lambda: trainer_of(IMAGES, rng="a"), et.ConfigurationError, "rng is a key"),
        (lambda: trainer_of(IMAGES).train(IMAGES, 1.5, 4), et.ConfigurationError, "whole number"),
        (lambda: _configured(model_class="os.system"), et.ConfigurationError, "'os.system'"),
        (lambda: _configured(parameters={"betta": 2}), et.ConfigurationError, "'betta'.*'beta'"),
        (lambda: _configured(parameters={"likelihood": "x"}), et.ConfigurationError, "likelihood"),
        (lambda: gen.Trainer(jnp.zeros(2), config()), et.ConfigurationError, "loss_fn"),
        (lambda: trainer_of(None).train_epoch(), et.ConfigurationError, "no train_data_loader"),
        (lambda: trainer_of([]), et.DataError, "nothing"),
        (lambda: trainer_of(iter([IMAGES])), et.DataError, "only once"),
        (lambda: trainer_of(None).train_step({"images": [1]}), et.DataError, "A batch is"),
        (lambda: trainer_of(IMAGES, save_interval=0), et.ConfigurationError, "save_interval"),
        (lambda: trainer_of(IMAGES, loss_fn=lambda a, b: 0), et.ConfigurationError, "takes"),
        (
            lambda: trainer_of(
                IMAGES, training_config=config(save_frequency=3), save_interval=4
            ),
            et.ConfigurationError,
            "Keep one",
        ),
        (
            lambda: trainer_of(
                IMAGES,
                training_config=config(scheduler=gen.SchedulerConfig(scheduler_type="cosine")),
                optimizer=optax.sgd(0.1),
            ),
            et.ConfigurationError,
            "scheduler",
        ),
        (lambda: trainer_of(None).generate_samples(2, hot=1), et.ConfigurationError, "'hot'"),
        (lambda: trainer_of(None).load_checkpoint("/nowhere/x"), et.CheckpointError, "no folder"),
        (lambda: trainer_of(IMAGES).fit([print]), et.ConfigurationError, "neither"),
        (lambda: trainer_of(IMAGES, loss_fn=lambda m, b, r: 0.0).fit(), et.RuleError, "loss"),
        (lambda: config(use_wandb=False, wandb_project="x"), ValueError, "wandb_project"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused(make, error, named):
    with pytest.raises(error, match=named):
        make()


def test_a_schedule_that_has_ended_is_not_trained_on():
    """A second fit would have had a rate of 0, without a word."""
    cosine = gen.SchedulerConfig(scheduler_type="cosine")
    trainer = trainer_of(IMAGES, training_config=config(scheduler=cosine))
    trainer.fit()
    with pytest.raises(et.ConfigurationError, match="ends with num_epochs, after 12 steps"):
        trainer.fit()
    with pytest.raises(et.ConfigurationError, match="up to step 13"):
        trainer.train_step(IMAGES[:4])
    longer = gen.SchedulerConfig(scheduler_type="cosine", cycle_length=100)
    trainer = trainer_of(IMAGES, training_config=config(scheduler=longer))
    trainer.fit()
    assert trainer.train_step(IMAGES[:4])["learning_rate"] > 0


def test_checkpoints_of_other_settings_and_other_data_are_refused(tmp_path):
    """What no array shows: the order of a MADE; and the place in an epoch of other batches."""
    made = gen.MADE.create(jax.random.key(0), (6,), hidden=(8,))
    other = gen.MADE.create(jax.random.key(0), (6,), hidden=(8,), order=(5, 4, 3, 2, 1, 0))
    gen.Trainer(made, config()).save_checkpoint(tmp_path / "made")
    gen.Trainer(made, config()).load_checkpoint(tmp_path / "made")
    with pytest.raises(et.CheckpointError, match="another model"):
        gen.Trainer(other, config()).load_checkpoint(tmp_path / "made")
    trainer = trainer_of(IMAGES, checkpoint_dir=tmp_path, save_interval=5)
    trainer.train_epoch()
    smaller = trainer_of(IMAGES, training_config=config(batch_size=2))
    with pytest.raises(et.CheckpointError, match=r"batch 5 of 6 of an epoch.* has 11"):
        smaller.load_checkpoint(tmp_path / "checkpoint_5")
    damaged = tmp_path / "checkpoint_5" / "manifest.json"
    damaged.write_text(damaged.read_text()[:50])
    with pytest.raises(et.CheckpointError, match="cannot be used"):
        trainer.load_checkpoint(tmp_path / "checkpoint_5")


def test_loaders_that_grow_or_never_end_are_refused(monkeypatch):
    passes = []

    def grows():
        passes.append(None)
        return iter([IMAGES[:4]] * (1 + len(passes) // 4))

    trainer = trainer_of(grows)
    with pytest.raises(et.DataError, match="more batches than the 1 of the first"):
        trainer.train_epoch()

    def endless():
        while True:
            yield IMAGES[:4]

    monkeypatch.setattr("etude.systems.generative.training.loading.LONGEST", 50)
    with pytest.raises(et.DataError, match="has not ended after 50 batches"):
        trainer_of(endless)


def test_steps_that_are_not_counted_are_refused():
    class Still(gen.Trainer):
        def _train_step(self, state, batch):
            return state, {"loss": jnp.zeros(())}

    for act in (lambda t: t.train_step(IMAGES[:4]), lambda t: t.train_epoch()):
        with pytest.raises(et.RuleError, match=r'state\["step"\] \+ 1'):
            act(Still(vae(), config(), train_data_loader=IMAGES))


def test_a_model_without_a_sampler_is_named():
    trainer = gen.Trainer(jnp.zeros(6), config(), loss_fn=lambda w, x, key: (w.sum(), {}))
    with pytest.raises(NotImplementedError, match="no sample"):
        trainer.generate_samples(2)
    with pytest.raises(gen.NoSamplerError):
        trainer.generate_samples(2)


def test_checkpoints_of_another_model_are_refused(tmp_path):
    trainer_of(IMAGES).save_checkpoint(tmp_path / "one")
    other = gen.Trainer(conditional(), config())
    with pytest.raises(et.CheckpointError, match="other arrays"):
        other.load_checkpoint(tmp_path / "one")
    with pytest.raises(et.CheckpointError, match="'one'"):
        other.load_checkpoint(tmp_path / "on")
