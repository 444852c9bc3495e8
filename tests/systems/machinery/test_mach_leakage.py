"""`machinery/leakage` and `machinery/augmentation` at sizes at which they run in seconds."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from mach_seen import training
from pydantic import ValidationError

from etude.systems.machinery.recipes import (
    Augmented,
    Leakage,
    augmentation_recipe,
    leakage_recipe,
)
from etude.systems.machinery.recipes.augmentation import another_path, augmentation
from etude.systems.machinery.recipes.leakage import divided, of_fewer, simulated
from etude.systems.machinery.splits import purity
from fields import Change, check_field, fields_of

SMALL = {
    "bearings": 4,
    "duration": 0.25,
    "window": 1024,
    "lines": 8,
    "bands": 2,
    "width": 4,
    "epochs": 1,
    "repeats": 1,
    "networks": ("envelope",),
}
#: The envelope rule, which stands beside the networks of leakage, needs longer recordings.
LEAK = {**SMALL, "duration": 1.0, "curve": (1, 2)}


@pytest.mark.parametrize("level", ["window", "recording", "condition", "bearing"])
def test_the_split_holds_at_its_level_and_at_no_stronger_one(level):
    windows, split = divided(Leakage(**LEAK), level, 0)
    assert split.level == level
    shared = {leak.level for leak in split.leaks(windows.groups)}
    levels = ("window", "recording", "condition", "bearing")
    assert shared == set(levels[levels.index(level) + 1 :])
    assert {len(np.unique(windows.labels[part])) for part in split.parts.values()} == {4}


def test_a_curve_takes_whole_bearings_and_the_same_steps_and_test():
    config = Leakage(**{**LEAK, "epochs": 4, "batch": 16})
    windows, split = divided(config, "bearing", 0)
    one = of_fewer(windows, split.train, 1)
    assert len(np.unique(windows.groups.bearing[one])) == 4
    assert set(one) < set(split.train)
    steps = {}
    for trial in leakage_recipe.trials(config):
        phase = trial.build(progress=False).settings.phases[0]
        steps[trial.method] = phase.length.count * phase.data.steps_per_epoch
    assert len(steps) == 6
    assert steps["envelope, bearing-wise, 1 for training"] == steps["envelope, bearing-wise"]
    with pytest.raises(ValidationError, match=r"curve=\[3\]: of bearings=4 .* 1 to 2 are"):
        Leakage(**{**LEAK, "curve": (1, 3)})


def test_recordings_that_the_rule_cannot_judge_are_refused_before_training():
    with pytest.raises(ValidationError, match=r"duration=0\.3 s: .* Raise duration"):
        Leakage(duration=0.3)


@pytest.mark.slow
def test_a_trial_has_a_forest_and_the_rule_beside_it_and_all_are_drawn(tmp_path):
    config = Leakage(**{**LEAK, "curve": (1,)}, levels=("bearing",))
    table = leakage_recipe.run(config, tmp_path / "run", progress=False, say=lambda line: None)
    assert [row[0] for row in table.rows] == [
        "envelope, bearing-wise",
        "envelope, bearing-wise, 1 for training",
    ]
    # The rule does not learn, and has the same recordings in both.
    assert table.rows[0][-1] == table.rows[1][-1]
    assert float(table.rows[0][-1]) > 0.8
    drawn = {path.name for path in (tmp_path / "run" / "figures").glob("*.png")}
    assert {"leakage.png", "bearings.png"} <= drawn


def test_another_path_changes_resonances_and_not_the_rates_of_impulses():
    signals = jax.random.normal(jax.random.key(0), (3, 1024))
    heard = another_path(signals, jax.random.key(1), gain=10.0)
    gains = np.abs(np.fft.rfft(heard)) / np.abs(np.fft.rfft(signals))
    assert np.ptp(20 * np.log10(gains[:, 1:-1]), axis=1).min() > 15
    # Each has a path of its own, and its phases are those of the signal.
    assert not np.allclose(gains[0], gains[1], rtol=0.1)
    turned = np.angle(np.fft.rfft(heard) / np.fft.rfft(signals))[:, 1:-1]
    assert np.abs(turned).max() < 1e-2
    same = another_path(signals, jax.random.key(1), gain=0.0)
    scaled = signals / signals.std(axis=1, keepdims=True)
    np.testing.assert_allclose(same, scaled, atol=1e-4)


def test_mixup_mixes_labels_too():
    batch = {"signal": jnp.eye(4, 32), "label": jnp.arange(4)}
    mixed = augmentation(Augmented(**SMALL), "mixup")(batch, jax.random.key(0))
    np.testing.assert_allclose(mixed["signal"][:, :4], mixed["label"], atol=1e-6)


def test_one_label_each_is_what_public_data_have():
    for each, pure in ((True, 16), (False, 0)):
        records = simulated(Leakage(**LEAK, one_label_each=each), 0).records
        assert purity(records.groups, records.labels).pure == pure


def augmented(config):
    batch = {"signal": jax.random.normal(jax.random.key(1), (4, 64)), "label": jnp.arange(4)}
    functions = [augmentation(config, what) for what in config.augmentations]
    changed = [f(batch, jax.random.key(0))["signal"] for f in functions if f]
    return [float(np.sum(np.abs(x) * np.arange(64))) for x in changed]


SEEN = training(leakage_recipe, **LEAK)
OF_DATA = SEEN["seed"].seen
SIMULATED = {
    **SEEN,
    "bearings": Change(4, 5, OF_DATA, LEAK),
    "one_label_each": Change(True, False, OF_DATA, LEAK),
    "duration": Change(1.0, 1.05, OF_DATA, LEAK),
    "snr": Change(None, 0.0, OF_DATA, LEAK),
}
LEAKAGE = {
    **SIMULATED,
    "levels": Change(("window",), ("bearing",), OF_DATA, LEAK),
    "curve": Change((1,), (2,), OF_DATA, LEAK),
}
AUGMENTED = {
    **SIMULATED,
    "augmentations": Change(("noise",), ("shift",), augmented, SMALL),
    "snr_db": Change(1.0, 2.0, augmented, {**SMALL, "augmentations": ("noise",)}),
    "masked": Change(20, 40, augmented, {**SMALL, "augmentations": ("masking",)}),
    "gain": Change(1.0, 2.0, augmented, {**SMALL, "augmentations": ("another path",)}),
}


@pytest.mark.parametrize("field", fields_of(Leakage, LEAKAGE))
def test_every_field_of_leakage_changes_something(field):
    check_field(Leakage, field, LEAKAGE)


@pytest.mark.parametrize("field", sorted(set(Augmented.model_fields) - set(SIMULATED)))
def test_every_field_of_augmentation_changes_something(field):
    """The others are those of leakage, and the trainer is made in the same place."""
    check_field(Augmented, field, AUGMENTED)


def test_each_augmentation_reaches_the_training():
    config = Augmented(**SMALL)
    trials = augmentation_recipe.trials(config)
    assert [t.method for t in trials][::5] == ["envelope, nothing", "envelope, another path"]
    phases = [t.build(progress=False).settings.phases[0] for t in trials]
    assert [phase.augment for phase in phases] == [
        augmentation(config, what) for what in config.augmentations
    ]
    found = trials[0].evaluate(trials[0].build(progress=False).settings.model, "test")
    assert set(augmentation_recipe.columns.values()) <= set(found)


@pytest.mark.parametrize(
    ("kind", "settings", "told"),
    [
        (Leakage, {"networks": ("CNN",), "bands": 3}, "bands=3 is of 'envelope', which is not in"),
        (Augmented, {"networks": ("envelope",), "channels": (2,)}, "channels=.2,. is of 'CNN'"),
        (Augmented, {"augmentations": ("noise",), "masked": 3}, "masked=3 is of 'masking'"),
    ],
    ids=["bands", "channels", "masked"],
)
def test_settings_of_what_is_not_chosen_are_refused_by_name(kind, settings, told):
    with pytest.raises(ValueError, match=told):
        kind(**settings)
    (field,) = settings.keys() & {"networks", "augmentations"}
    assert kind(**{name: one for name, one in settings.items() if name != field})
    assert kind(**kind(**{field: settings[field]}).model_dump()), "what a run recorded is read"
