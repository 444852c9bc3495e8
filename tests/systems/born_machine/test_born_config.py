"""Configurations: the seed's defaults, and what the original let through."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from pydantic import ValidationError

from etude.systems.born_machine.config import (
    AdversarialConfig,
    ClassificationConfig,
    Config,
    GANStyleConfig,
    GenerativeConfig,
)
from etude.systems.born_machine.config_attacks import EvasionConfig
from etude.systems.born_machine.config_methods import (
    CriterionConfig,
    CriticConfig,
    GameSamplingConfig,
    MetricsConfig,
    OptimizerSpec,
    SamplingConfig,
)
from etude.systems.born_machine.config_model import BornMachineConfig, DatasetConfig


def test_defaults_of_the_seed_for_classification():
    """As the seed's YAML has them, read from a mapping."""
    seed = {
        "max_epoch": 300,
        "batch_size": 64,
        "criterion": {"name": "negative log-likelihood"},
        "optimizer": {"name": "adam", "kwargs": {"lr": 1e-4, "weight_decay": 0.0}},
        "patience": 40,
        "stop_crit": "loss",
        "watch_freq": 1000,
        "metrics": {"loss": 1, "acc": 1, "viz": 30, "fid": 30, "rob": 30},
    }
    assert ClassificationConfig.model_validate(seed) == ClassificationConfig()


def test_defaults_of_the_seed_for_generation():
    seed = {
        "max_epoch": 100,
        "batch_size": 64,
        "criterion": {"name": "generative-nll"},
        "optimizer": {"name": "adam", "kwargs": {"lr": 1e-4, "weight_decay": 0.0}},
        "patience": 50,
        "stop_crit": "loss",
        "watch_freq": 100,
        "metrics": {"loss": 1, "fid": 10, "viz": 10},
    }
    assert GenerativeConfig.model_validate(seed) == GenerativeConfig()


def test_defaults_of_the_seed_for_the_game():
    seed = {
        "max_epoch": 100,
        "r_real": 1.0,
        "watch_freq": 1,
        "metrics": {"loss": 1, "acc": 1, "rob": 1},
        "retrain_crit": "acc",
        "tolerance": 0.05,
    }
    assert GANStyleConfig.model_validate(seed) == GANStyleConfig()
    retrain = Config().trainer.ganstyle.retrain
    assert (retrain.max_epoch, retrain.stop_crit, retrain.patience) == (40, "acc", 30)


@pytest.mark.parametrize(
    ("given", "cure"),
    [
        ({"trainer": {"classification": {"save": True}}}, "a run keeps the best weights"),
        ({"trainer": {"ganstyle": {"save": False}}}, "a run keeps the best weights"),
        ({"trainer": {"generative": {"auto_stack": True}}}, "sites lie stacked here"),
        ({"trainer": {"adversarial": {"auto_unbind": False}}}, "sites lie stacked here"),
        (
            {"trainer": {"classification": {"criterion": {"kwargs": {"eps": 1e-8}}}}},
            "log-probabilities need no floor",
        ),
        (
            {"trainer": {"ganstyle": {"sampling": {"num_spc": 256}}}},
            "batch_size / r_real per class",
        ),
        ({"tracking": {"purification": {}}}, "purify takes a PurificationConfig"),
        ({"born": {"init_kwargs": {"boundary": "obc"}}}, "chains are open"),
    ],
)
def test_what_has_no_meaning_here_is_refused_with_a_cure(given, cure):
    with pytest.raises(ValidationError, match=f"unknown field; leave it out: .*{cure}"):
        Config.model_validate(given)


@pytest.mark.parametrize(
    ("kind", "given", "words"),
    [
        (CriticConfig, {"lamb": 3.0}, r"lamb=3.0 has no effect but with criterion='wgan-gp'"),
        (EvasionConfig, {"num_steps": 5}, "num_steps=5 has no effect but with method 'PGD'"),
        (DatasetConfig, {"name": "digits", "noise": 0.1}, "noise=0.1 has no effect but for moons"),
        (SamplingConfig, {"method": "exact", "num_bins": 9}, "num_bins=9 has no effect"),
        (GameSamplingConfig, {"method": "bins"}, "write 'secant' or 'exact'"),
        (AdversarialConfig, {"trades_beta": 1.0}, "no effect but with method='trades'"),
        (
            AdversarialConfig,
            {"evasion": {"method": "PGD", "strengths": (0.1, 0.2)}},
            "one strength is trained against",
        ),
    ],
)
def test_what_plays_no_part_is_refused(kind, given, words):
    with pytest.raises(ValidationError, match=words):
        kind.model_validate(given)


@pytest.mark.parametrize("kind", [ClassificationConfig, GenerativeConfig, AdversarialConfig])
def test_a_stop_criterion_that_nobody_measures_is_refused(kind):
    """The original then restored the initial tensors at the end of the training."""
    with pytest.raises(ValidationError, match=r"stop_crit 'fid' is not among .*add fid=1"):
        kind(metrics={"loss": 1, "acc": 1}, stop_crit="fid")
    assert kind(metrics={"fid": 5}, stop_crit="fid").stop_crit == "fid"


def test_the_retrain_criterion_must_be_measured():
    """The original's own test configuration ended in KeyError 'acc'."""
    with pytest.raises(ValidationError, match="retrain_crit 'acc' is not among the metrics"):
        GANStyleConfig(metrics={"fid": 1}, stop_crit="fid")


def test_nothing_is_shared_or_changed():
    """The original failed to import over a mutable default, and changed its configurations."""
    first, second = Config(), Config()
    with pytest.raises(ValidationError, match="frozen"):
        first.trainer.classification.metrics.rob = 2  # pyright: ignore
    with pytest.raises(ValidationError, match="frozen"):
        first.tracking.sampling.num_spc = 3  # pyright: ignore
    assert first == second
    assert hash(first) == hash(second)


def test_the_method_of_an_attack_is_a_name():
    """A trailing comma made the original's default a tuple."""
    assert EvasionConfig().method == "FGM"


def test_random_start_is_on_unless_switched_off():
    """The original's configuration files left it out, which switched it off."""
    partial = {"method": "PGD", "norm": 2, "strengths": [0.1]}
    config = Config.model_validate({"tracking": {"evasion": partial}})
    assert config.tracking.evasion.random_start
    assert config.tracking.evasion.norm == "l2"


def test_numbers_are_numbers():
    """The original ran a text of its configuration with `eval`, and broke on no epochs at all."""
    with pytest.raises(ValidationError, match="valid integer"):
        ClassificationConfig.model_validate({"max_epoch": "2 ** 3"})
    with pytest.raises(ValidationError, match="greater than or equal to 1"):
        AdversarialConfig(max_epoch=0)
    with pytest.raises(ValidationError, match="greater than or equal to 1"):
        MetricsConfig(loss=0)


def test_unknown_names_suggest_near_ones():
    with pytest.raises(ValidationError, match="did you mean 'acc'"):
        MetricsConfig.model_validate({"accu": 1})
    with pytest.raises(ValidationError, match="did you mean 'patience'"):
        ClassificationConfig.model_validate({"patiense": 1})
    with pytest.raises(ValidationError, match="did you mean 'circles_4k'"):
        DatasetConfig.model_validate({"name": "circle_4k"})
    with pytest.raises(ValidationError, match="did you mean 'rmsprop'"):
        OptimizerSpec.model_validate({"name": "rmsprob"})
    with pytest.raises(ValidationError, match="write method='bins'"):
        SamplingConfig.model_validate({"multinomial": True})


def test_optimizers_are_built_or_refused_with_the_cure():
    for name in ("sgd", "adam", "adamw", "rmsprop", "adagrad", "adamax", "nadam"):
        config = OptimizerSpec.model_validate({"name": name})
        assert isinstance(config.build(9), optax.GradientTransformationExtraArgs)
    with pytest.raises(ValidationError, match="use optimizer_type='adamw'"):
        OptimizerSpec.model_validate({"name": "adam", "kwargs": {"weight_decay": 0.1}})


def test_a_cosine_ends_with_the_phase_and_long_gradients_are_cut():
    kwargs = {"lr": 0.5, "gradient_clip_norm": 1.0}
    spec = OptimizerSpec.model_validate({"name": "sgd", "kwargs": kwargs, "schedule": "cosine"})
    optimizer, w = spec.build(8), jnp.zeros(2)
    state, steps = optimizer.init(w), []
    for _ in range(9):
        update, state = optimizer.update(jnp.array([30.0, 40.0]), state, w)
        steps.append(float(jnp.linalg.norm(update)))
    expected = 0.25 * (1 + np.cos(np.pi * np.arange(9) / 8))
    np.testing.assert_allclose(steps, expected, atol=1e-6)


def test_contradictions_are_refused():
    with pytest.raises(ValidationError, match=r"mixed-nll needs kwargs.alpha"):
        CriterionConfig(name="mixed-nll")
    with pytest.raises(ValidationError, match=r"curriculum_start .* is above the strength"):
        AdversarialConfig(curriculum=True, curriculum_start=0.5)
    with pytest.raises(ValidationError, match="fractions that sum to 1"):
        DatasetConfig(split=(0.5, 0.5, 0.5))
    with pytest.raises(ValidationError, match="whole numbers"):
        Config.model_validate({"born": {"embedding": "onehot"}})
    with pytest.raises(ValidationError, match="no intensities"):
        DatasetConfig(name="moons_4k", scaler="binary")


def test_a_name_stands_for_its_sizes_and_what_is_given_wins():
    small = DatasetConfig(name="moons_small")
    assert (small.size, small.noise, small.split) == (200, 0.15, (0.15, 0.425, 0.425))
    assert DatasetConfig(name="moons_small", noise=0.3).noise == 0.3
    assert DatasetConfig(name="circles_hard").circ_factor == 0.5


def test_a_configuration_builds_its_machine():
    shape = {"in_dim": 3, "bond_dim": 5, "out_position": 1, "dtype": "complex64"}
    config = BornMachineConfig.model_validate({"embedding": "hermite", "init_kwargs": shape})
    machine = config.build(jax.random.key(0), sites=4, classes=3)
    assert machine.left.shape == (1, 5, 3, 5)
    assert (machine.sites, machine.classes, machine.dtype) == (4, 3, jnp.complex64)
    assert config.domain == (machine.embedding.low, machine.embedding.high) == (-4.0, 4.0)
    isometric = BornMachineConfig.model_validate({"init_kwargs": {"init_method": "isometry"}})
    born = isometric.build(jax.random.key(0), sites=4, classes=3)
    assert float(born.log_partition()) == pytest.approx(0, abs=1e-4)
    with pytest.raises(ValidationError, match=r"load\(run\)"):
        BornMachineConfig.model_validate({"model_path": "runs/pre"})


def test_a_configuration_survives_its_own_text():
    config = Config.model_validate({"dataset": {"name": "spirals_hard"}})
    assert Config.model_validate_json(config.model_dump_json()) == config
