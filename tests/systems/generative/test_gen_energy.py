"""Energy-based models against closed forms: normal densities, and gradients written by hand."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import etude as et
from etude.systems import generative
from etude.systems.generative import Contrastive, DenoisingScore, EnergyModel, Langevin
from etude.systems.generative.densities import DENSITIES
from etude.systems.generative.recipes import energy_recipe
from etude.systems.generative.recipes.energy import (
    METHODS,
    ChainOptions,
    EnergyConfig,
    evaluate,
    objective,
    untrained,
)

KEY = jax.random.key(0)
CONTEXT = et.Context.at(jax.random.key(1))


class Square(eqx.Module):
    """Half of a multiple of the square: with the normal density's, the precision of a normal."""

    factor: jax.Array

    def __call__(self, x):
        return 0.5 * self.factor * (x**2).sum(-1, keepdims=True)


def small(**options):
    return EnergyModel.create(KEY, (2,), **{"hidden": (8,), **options})


def normal(precision, chains=0):
    """A normal density in one dimension; its own part of the energy has the precision 1/4."""
    model = EnergyModel.create(KEY, (1,), hidden=(), chains=chains)
    return eqx.tree_at(lambda m: m.net, model, Square(jnp.asarray(precision - 0.25)))


def points(count=6):
    return jax.random.normal(jax.random.key(2), (count, 2))


def test_a_step_is_that_of_its_definition():
    model, x = small(), points()
    found, accepted = Langevin(1, 0.3, adjusted=False)(model.energy, KEY, x)
    noise = jax.random.normal(jax.random.split(jax.random.split(KEY, 1)[0])[0], x.shape)
    slopes = jax.vmap(jax.grad(lambda row: model.energy(row[None])[0]))(x)
    np.testing.assert_allclose(found, x - 0.3 * slopes + math.sqrt(0.6) * noise, rtol=1e-5)
    assert float(accepted) == 1.0
    np.testing.assert_allclose(model.score(x), -slopes, rtol=1e-5)


@pytest.mark.parametrize(
    ("adjusted", "variance"), [(False, 1 / (2 * (1 - 0.25))), (True, 0.5)], ids=["plain", "exact"]
)
def test_chains_have_the_variance_of_the_theory(adjusted, variance):
    start = math.sqrt(variance) * jax.random.normal(KEY, (20_000, 1))
    chains, _ = Langevin(100, 0.25, adjusted)(normal(2.0).energy, jax.random.key(3), start)
    assert float(chains.var()) == pytest.approx(variance, rel=4 * math.sqrt(2 / 20_000))


@pytest.mark.parametrize("chains", [0, 5], ids=["from the data", "persistent"])
def test_no_gradient_goes_through_the_chains(chains):
    model, x, langevin = small(chains=chains), points(), Langevin(7, 0.1)
    start = x if model.chains is None else model.chains.value
    ends, _ = langevin(model.energy, CONTEXT.key, start)

    def by_hand(model):
        return model.energy(x).mean() - model.energy(ends).mean()

    grads = eqx.filter_jit(eqx.filter_grad(lambda m: Contrastive(langevin)(m, x, CONTEXT)[0]))(
        model
    )
    wanted = eqx.filter_jit(eqx.filter_grad(by_hand))(model)
    for ours, theirs in zip(jax.tree.leaves(grads), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def trainer(model, loss, x, steps, **options):
    learner = et.Learner(et.Gradient(loss), optax.adam(optax.cosine_decay_schedule(0.05, steps)))
    data = et.ArrayData(x, 50)
    validation = et.Validation(data, lambda m, b, c: loss(m, b, c)[:2], every=et.Steps(4))
    phase = et.Phase("fit", learner, data, et.Steps(steps), validation)
    return et.Trainer(model, phase, progress=False, **options)


@pytest.mark.parametrize(
    ("loss", "chains", "widening"),
    [
        (Contrastive(Langevin(5, 0.2)), 0, 0.0),
        pytest.param(Contrastive(Langevin(5, 0.2)), 500, 0.0, marks=pytest.mark.slow),
        (DenoisingScore(0.5), 0, 0.25),
    ],
    ids=["from the data", "persistent", "denoising"],
)
def test_the_precision_of_a_normal_density_is_found(loss, chains, widening):
    x = 0.8 * jax.random.normal(KEY, (2000, 1))
    found = trainer(normal(0.3, chains), loss, x, 600).fit().model
    wanted = 1 / (float((x**2).mean()) + widening)
    assert float(found.net.factor) + 0.25 == pytest.approx(wanted, rel=0.05)


class Break(et.Callback):
    """Fails once step 7 is done."""

    def on_steps_end(self, event, rows):
        if event.step >= 7:
            raise OSError("broken off")


def test_persistent_chains_move_in_training_alone_and_resume_to_the_same_bits(tmp_path):
    model, loss, x = small(chains=9), Contrastive(Langevin(3, 0.1)), points(100)
    chains = model.chains.value
    checkpoint = et.ModelCheckpoint(every=et.Steps(2))
    whole = trainer(model, loss, x, 12, run=tmp_path / "a", callbacks=[checkpoint]).fit().model
    broken = {"run": tmp_path / "b", "callbacks": [et.ModelCheckpoint(every=et.Steps(2)), Break()]}
    with pytest.raises(OSError, match="broken off"):
        trainer(model, loss, x, 12, **broken).fit()
    again = et.ModelCheckpoint(every=et.Steps(2))
    resumed = trainer(model, loss, x, 12, run=tmp_path / "b", callbacks=[again]).resume().model
    for ours, wanted in zip(jax.tree.leaves(resumed), jax.tree.leaves(whole), strict=True):
        np.testing.assert_array_equal(ours, wanted)
    assert not np.any(np.all(whole.chains.value == chains, axis=1))
    still = eqx.nn.inference_mode(whole)
    np.testing.assert_array_equal(loss(still, x, CONTEXT)[2].chains.value, whole.chains.value)


def test_denoising_reaches_its_floor_whatever_the_batch():
    scale = 0.5
    model, floor = normal(1 / (1 + scale**2)), 1 / scale**2 - 1 / (1 + scale**2)
    x = jax.random.normal(KEY, (200_000, 1))
    loss, _ = DenoisingScore(scale)(model, x, CONTEXT)
    assert float(loss) == pytest.approx(floor, rel=0.02)
    parts = [
        DenoisingScore(scale)(model, part, et.Context.at(jax.random.fold_in(KEY, number)))[0]
        for number, part in enumerate(x[:4000].reshape(500, 8, 1))
    ]
    assert float(np.mean(parts)) == pytest.approx(floor, rel=0.1)


def test_weights_on_the_squares_of_energies_are_added():
    model, x = small(chains=4), points()
    first, _, moved = Contrastive(Langevin(2, 0.1))(model, x, CONTEXT)
    second, _, _ = Contrastive(Langevin(2, 0.1), decay=0.5)(model, x, CONTEXT)
    squares = [float((model.energy(rows) ** 2).mean()) for rows in (x, moved.chains.value)]
    assert float(second - first) == pytest.approx(0.5 * sum(squares), rel=1e-4)


@pytest.mark.parametrize("values", [1, 2])
def test_quadrature_gives_the_constant_of_a_normal_density(values):
    model = EnergyModel.create(KEY, (values,), hidden=(4,), width=0.7)
    model = eqx.tree_at(lambda m: m.net, model, Square(jnp.asarray(1.0)))
    variance = 1 / (1 + 1 / 0.7**2)
    wanted = 0.5 * values * math.log(2 * math.pi * variance)
    assert float(model.log_partition()) == pytest.approx(wanted, abs=1e-5)
    zeros = model.log_prob(jnp.zeros((3, values)))
    np.testing.assert_allclose(zeros, np.full(3, -wanted), atol=1e-5)
    # Another rule agrees where the network is no square.
    rough = EnergyModel.create(KEY, (values,), hidden=(32, 32), width=0.7)
    finer = rough.log_partition(edge=5.0, points=700)
    assert float(rough.log_partition()) == pytest.approx(float(finer), abs=1e-4)


def test_samples_come_from_the_chains_and_reach_the_density():
    model = normal(4.0, chains=3)
    model = eqx.tree_at(lambda m: m.chains, model, et.Carry(jnp.array([[1.0], [2.0], [3.0]])))
    near = model.sample(KEY, 50, langevin=Langevin(1, 1e-9))
    assert set(np.round(np.asarray(near)[:, 0], 2)) == {1.0, 2.0, 3.0}
    assert float(model.sample(KEY, 5000).std()) == pytest.approx(0.5, rel=0.05)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Langevin(0), "steps must be at least 1; got 0"),
        (lambda: Langevin(1, -1.0), "size must be positive; got -1.0"),
        (lambda: small(hidden=(0,)), r"hidden\[0\] must be at least 1"),
        (lambda: small(chains=-1), "chains counts from 0"),
        (lambda: small(width=0.0), "width must be positive"),
        (lambda: Contrastive(decay=-1.0), "decay must not be negative"),
        (lambda: DenoisingScore(0.0), "scale must be positive"),
        (lambda: EnergyModel.create(KEY, (3,)).log_partition(), "at most two values"),
    ],
    ids=["steps", "size", "hidden", "chains", "width", "decay", "scale", "values"],
)
def test_settings_that_cannot_be_are_refused(make, words):
    with pytest.raises(et.ConfigurationError, match=words):
        make()


def test_data_that_cannot_be_are_refused():
    with pytest.raises(et.DataError, match="real numbers; got int32"):
        small().read(jnp.zeros((3, 2), jnp.int32))
    with pytest.raises(et.DataError, match=r"shape \(3,\), expected \(2,\)"):
        small().read(jnp.zeros((3, 3)))


def test_an_energy_is_made_from_data_and_trained_by_its_own_loss():
    config = generative.ModelConfig(
        model_class="EnergyModel", input_dim=(2,), hidden_dims=(8,), parameters={"chains": 5}
    )
    model = generative.create_model(config, 0)
    adam = generative.OptimizerConfig(optimizer_type="adam", learning_rate=1e-3)
    training = generative.TrainingConfig(optimizer=adam, batch_size=6, num_epochs=1)
    trainer = generative.Trainer(model, training)
    metrics = trainer.train_step(points())
    assert metrics["loss"] == pytest.approx(metrics["data"] - metrics["chains"], abs=1e-5)
    assert not np.array_equal(trainer.model.chains.value, model.chains.value)
    assert trainer.generate_samples(3, seed=0, langevin=Langevin(2)).shape == (3, 2)
    with pytest.raises(et.ConfigurationError, match="has no output_dim"):
        generative.create_model(config.model_copy(update={"output_dim": 3}), 0)


def test_the_recipe_has_the_likelihood_of_a_known_model():
    config = EnergyConfig(density="gaussian", width=1.5)
    model = untrained(config, "contrastive", 0)
    model = eqx.tree_at(lambda m: m.net, model, Square(jnp.asarray(0.0)))
    found, density = evaluate(config, 0, model, "test"), DENSITIES["gaussian"]
    # log p of a normal density with its own square, in the mean over another normal density.
    squares = np.square(density.mean).sum() + np.square(density.scale).sum()
    wanted = math.log(2 * math.pi * 1.5**2) + 0.5 * squares / 1.5**2
    assert found["nll"] == pytest.approx(wanted, abs=0.03)
    assert found["divergence"] == pytest.approx(wanted - density.entropy, abs=4 * found["error"])


def test_every_method_of_the_recipe_is_another_objective():
    config = EnergyConfig()
    found = {(objective(config, m), untrained(config, m, 0).chains is None) for m in METHODS}
    assert len(found) == len(METHODS)
    with pytest.raises(ValueError, match="chains is for persistent, and methods has denoising"):
        EnergyConfig(methods=("denoising",), chains=7)


@pytest.mark.slow
def test_the_recipe_has_a_table_a_figure_and_samples(tmp_path):
    config = EnergyConfig(methods=("persistent",), repeats=1, steps=300, hidden=(32,), ema=0.9)
    run = tmp_path / "run"
    table = energy_recipe.run(config, run, progress=False, say=lambda line: None)
    nll, entropy, above = map(float, table.rows[0][1:])
    before = evaluate(config, 0, untrained(config, "persistent", 0), "test")
    assert 0 < above < before["divergence"]
    assert nll == pytest.approx(entropy + above, abs=0.05)
    assert (run / "figures/moons.png").exists()
    model = energy_recipe.load(config, run)
    options = ChainOptions(count=5, seed=3, turns=20, size=0.02, out=tmp_path / "samples")
    assert energy_recipe.sample is not None
    energy_recipe.sample.run(model, config, [], options)
    wanted = model.sample(jax.random.key(3), 5, langevin=Langevin(20, 0.02))
    np.testing.assert_array_equal(np.load(tmp_path / "samples/samples.npy"), wanted)


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_two_moons_are_learnt_and_no_model_is_below_the_entropy(method):
    config = EnergyConfig(methods=(method,), repeats=1, steps=2000, ema=0.99)
    (trial,) = energy_recipe.trials(config)
    found = trial.evaluate(trial.build(progress=False).fit().model, "valid")
    assert -3 * found["error"] < found["divergence"] < 0.4
