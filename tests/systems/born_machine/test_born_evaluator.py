"""The evaluator: every number against a direct computation, its frequency, and refusals."""

import itertools
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental.compilation_cache import compilation_cache
from scipy import stats

from etude.compilations import shared_compilations
from etude.systems.born_machine import BornMachine, Embedding, evaluator as module
from etude.systems.born_machine.config import (
    ClassificationConfig,
    Config,
    GANStyleConfig,
    GenerativeConfig,
)
from etude.systems.born_machine.config_methods import MetricsConfig
from etude.systems.born_machine.config_model import DatasetConfig
from etude.systems.born_machine.criteria import AbstractCriterion
from etude.systems.born_machine.data import SPLITS, DataHandler
from etude.systems.born_machine.evaluator import DISTANCES, LIKELIHOODS, PerformanceEvaluator
from etude.systems.born_machine.metrics import Moments, frechet_distance
from etude.systems.born_machine.plots import density_grid

sys.path.insert(0, str(Path(__file__).parent))
from born_toy import machine, sampler

CONFIG = Config.model_validate(
    {
        "dataset": {"name": "gaussians", "size": 300},
        "tracking": {
            "sampling": {"num_spc": 40, "batch_spc": 16},
            "evasion": {"method": "PGD", "norm": "l2", "strengths": [0.0, 0.1], "num_steps": 5},
        },
    }
)
DATA = DataHandler(CONFIG.dataset, (-1.0, 1.0))
TOY = machine(means=((-0.4, 0.3), (0.4, -0.3)), priors=(0.5, 0.5), std=0.3)


def evaluator(train=None, **options):
    if train is None:
        metrics = MetricsConfig(**options.pop("metrics"))
        train = ClassificationConfig(metrics=metrics, stop_crit=metrics.names[0])
    return PerformanceEvaluator(CONFIG, DATA, train, sampler=sampler, **options)


def test_likelihoods_are_means_over_samples_whatever_the_batches(monkeypatch):
    """The original averaged means of batches, the short last one counting as much as the rest."""
    monkeypatch.setattr(module, "BATCH", 64)  # 150 samples: two batches and a short one
    names = ("loss", "acc", "clsloss", "nll", "genloss")
    found = evaluator(metrics=dict.fromkeys(names, 1)).evaluate(TOY, "valid", 1)
    x, y = DATA.splits["valid"]
    rows = np.arange(len(y)), y
    log_p = np.stack(
        [stats.multivariate_normal(mean, 0.3**2 * np.eye(2)).logpdf(x) for mean in TOY.means],
        axis=1,
    )
    joint = log_p + np.log(0.5)
    posterior = joint - np.logaddexp.reduce(joint, axis=1, keepdims=True)
    expected = {
        "acc": np.mean(joint.argmax(axis=1) == y),
        "clsloss": -posterior[rows].mean(),
        "nll": -log_p[rows].mean(),
        "genloss": -joint[rows].mean(),
    }
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, rel=1e-4)
    assert found["loss"] == found["clsloss"]
    assert set(found) == set(names)
    # No density can have less than the entropy of the truth, up to the spread of 150 samples.
    assert DATA.entropy is not None
    assert found["nll"] > DATA.entropy - 0.15


@pytest.mark.parametrize(
    ("train", "name"),
    [
        (GenerativeConfig(metrics=MetricsConfig(loss=1, nll=1)), "nll"),
        (
            GenerativeConfig.model_validate(
                {"metrics": {"loss": 1, "genloss": 1}, "criterion": {"name": "joint-nll"}}
            ),
            "genloss",
        ),
        (GANStyleConfig(metrics=MetricsConfig(loss=1, acc=1, clsloss=1)), "clsloss"),
    ],
)
def test_loss_is_the_criterion_that_is_trained(train, name):
    found = evaluator(train).evaluate(TOY, "test", 1)
    assert found["loss"] == found[name]


def test_mixed_loss_and_a_loss_of_ones_own():
    mixed = {"name": "mixed-nll", "kwargs": {"alpha": 0.25}}
    metrics = {"loss": 1, "clsloss": 1, "genloss": 1}
    train = GenerativeConfig.model_validate({"metrics": metrics, "criterion": mixed})
    found = evaluator(train).evaluate(TOY, "test")
    assert found["loss"] == pytest.approx(0.75 * found["clsloss"] + 0.25 * found["genloss"])

    class Own(AbstractCriterion):
        def each(self, bornmachine, data, labels):
            return jnp.sum(data**2, axis=1)

    found = evaluator(train, criterion=Own()).evaluate(TOY, "test")
    expected = np.sum(DATA.splits["test"].x ** 2, axis=1).mean()
    assert found["loss"] == pytest.approx(expected, rel=1e-5)


def test_robust_accuracy_for_each_strength_and_whatever_the_batches(monkeypatch):
    measure = evaluator(metrics={"acc": 1, "rob": 1})
    found = measure.evaluate(TOY, "valid", 1)
    assert set(found) == {"acc", "rob", "rob/0", "rob/0.1"}
    assert found["rob/0"] == found["acc"]
    assert found["rob"] == pytest.approx((found["rob/0"] + found["rob/0.1"]) / 2)
    # A linear boundary: a tenth of the range 2.0 flips exactly those closer to it than 0.2.
    x, y = DATA.splits["valid"]
    normal = np.asarray(TOY.means[1] - TOY.means[0], float)
    side = x @ normal / np.linalg.norm(normal) * np.where(y == 1, 1, -1)
    assert found["rob/0.1"] == pytest.approx(np.mean(side > 0.2), abs=0.02)
    monkeypatch.setattr(module, "BATCH", 70)
    assert measure.evaluate(TOY, "valid", 1) == found


def test_frechet_goes_by_the_training_data_alone():
    """The original's statistics held validation and test data whatever was asked for."""
    measure = evaluator(metrics={"fid": 1})
    for split in ("valid", "test"):
        drawn = measure.samples(TOY, split)
        assert [len(points) for points in drawn] == [40, 40]
        assert len(np.unique(np.asarray(drawn[0]), axis=0)) == 40  # parts have their own keys
        expected = [
            frechet_distance(Moments.of(DATA.of_class("train", c)), Moments.of(drawn[c]))
            for c in range(2)
        ]
        assert measure.evaluate(TOY, split)["fid"] == pytest.approx(np.mean(expected))


def test_no_split_has_the_random_numbers_of_another():
    """A machine chosen in validation by lucky draws would be lucky in the test as well."""
    measure = evaluator(metrics={"swd": 1, "rob": 1})
    keys = {s: [jax.random.key_data(measure._key(k, s)).tolist() for k in range(3)] for s in SPLITS}
    flat = [tuple(key) for mine in keys.values() for key in mine]
    assert len(set(flat)) == 9
    drawn = [np.asarray(measure.samples(TOY, split)) for split in SPLITS]
    inside = [points[abs(points) < 1] for points in drawn]  # what was not clipped
    assert not any(np.isin(a, b).any() for a, b in itertools.combinations(inside, 2))


def test_distances_are_smaller_for_the_better_model():
    measure = evaluator(metrics={"mmd": 1, "swd": 1, "fid": 1})
    good = measure.evaluate(TOY, "test")
    swapped = machine(means=((0.4, -0.3), (-0.4, 0.3)), priors=(0.5, 0.5), std=0.3)
    bad = measure.evaluate(swapped, "test")
    assert all(bad[name] > 2 * abs(good[name]) for name in ("mmd", "swd", "fid"))
    assert measure.evaluate(TOY, "test") == good  # the same random numbers every time


def test_each_metric_has_its_own_frequency():
    measure = evaluator(metrics={"loss": 1, "acc": 2, "rob": 3, "viz": 6})
    for epoch, expected in {1: {"loss"}, 2: {"loss", "acc"}, 3: {"loss", "rob"}}.items():
        found = {name.partition("/")[0] for name in measure.evaluate(TOY, "valid", epoch)}
        assert found == expected
    assert set(measure.evaluate(TOY, "valid")) >= {"loss", "acc", "rob", "viz"}


def test_viz_is_samples_in_raw_coordinates_or_a_figure(tmp_path):
    data = DataHandler(CONFIG.dataset, (-4.0, 4.0))
    train = ClassificationConfig(metrics=MetricsConfig(viz=1, loss=1))
    wide = machine(means=((-1.6, 1.2), (1.6, -1.2)))

    def draw(machine, key, label, count):
        return jnp.broadcast_to(machine.means[label], (count, 2))

    measure = PerformanceEvaluator(CONFIG, data, train, sampler=draw)
    found = measure.evaluate(wide, "test")["viz"]
    assert found.shape == (2, 40, 2)
    np.testing.assert_allclose(found[0, 0], [-0.4, 0.3], atol=1e-6)
    path = measure.evaluate(wide, "test", 3, folder=tmp_path / "figures")["viz"]
    assert path.read_bytes()[:4] == b"\x89PNG"


@pytest.fixture
def alone():
    """Nothing is found of what other tests have compiled."""
    before = jax.config.jax_compilation_cache_dir
    jax.config.update("jax_compilation_cache_dir", None)
    compilation_cache.reset_cache()
    yield
    jax.config.update("jax_compilation_cache_dir", before)
    compilation_cache.reset_cache()


@pytest.mark.usefixtures("alone")
def test_a_second_evaluator_compiles_nothing():
    """Data are arguments of the programs; as constants they made programs of their own."""

    def measured(seed):
        dataset = CONFIG.dataset.model_copy(update={"seed": seed})
        names = (*LIKELIHOODS, *DISTANCES, "rob")
        train = ClassificationConfig(metrics=MetricsConfig(**dict.fromkeys(names, 1)))
        data = DataHandler(dataset, (-1.0, 1.0))
        return PerformanceEvaluator(CONFIG, data, train, sampler=sampler).evaluate(TOY, "test")

    def programs():
        folder = Path(str(jax.config.jax_compilation_cache_dir))  # pyright: ignore
        return {path.name for path in folder.glob("*-cache")}

    with shared_compilations():
        first, known = measured(0), programs()
        assert known
        assert measured(1)["nll"] != first["nll"]
        assert programs() == known


def test_the_configuration_is_not_changed():
    """The original wrote the number of samples into the configuration that it was given."""
    before = CONFIG.model_dump_json()
    evaluator(metrics={"fid": 1}).evaluate(TOY, "valid")
    assert CONFIG.model_dump_json() == before


def test_a_born_machine_on_all_metrics():
    """p(x|c) on a grid integrates to one, so its mean -log is a true likelihood."""
    born = BornMachine.create(jax.random.key(0), 2, 2, Embedding("legendre", 4), 3)
    metrics = MetricsConfig(**dict.fromkeys(MetricsConfig.model_fields, 1))
    train = ClassificationConfig(metrics=metrics)
    found = PerformanceEvaluator(CONFIG, DATA, train).evaluate(born, "valid")
    assert {name.partition("/")[0] for name in found} == set(metrics.names)
    assert all(np.isfinite(found[name]) for name in set(found) - {"viz"})
    assert found["viz"].shape == (2, 40, 2)
    # |psi|^2 <= Z |phi(x)|^2, here at most 16^2 / 4 in the plane for d = 4.
    assert found["genloss"] >= -np.log(64)
    labels = jnp.asarray(DATA.splits["valid"].y)
    mean = born.log_conditional(jnp.asarray(DATA.splits["valid"].x), labels).mean()
    assert found["nll"] == pytest.approx(-float(mean), rel=1e-4)
    axis, log_p = density_grid(born, (-1.0, 1.0), 200)
    integral = np.exp(log_p).sum(axis=0) * (axis[1] - axis[0]) ** 2
    np.testing.assert_allclose(integral, 1, rtol=1e-3)


def test_refuses_what_cannot_be_measured():
    train = ClassificationConfig()
    discrete = Config.model_validate(
        {"born": {"embedding": "onehot"}, "dataset": {"name": "digits", "scaler": "binary"}}
    )
    pictures = DataHandler(DatasetConfig(name="digits", scaler="binary"), (0.0, 1.0))
    with pytest.raises(ValueError, match="rob needs inputs that can change a little"):
        PerformanceEvaluator(discrete, pictures, train, sampler=sampler)
