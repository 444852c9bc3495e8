"""No choice of a recipe is accepted and ignored: each is read where a trial is built or judged."""

from typing import Any

import jax
import numpy as np
import pytest

from etude.recipe import Configuration
from etude.systems.attractor.recipes import (
    Pictures,
    Prototypes,
    digits_recipe,
    prototypes_recipe,
)
from etude.systems.generative.recipes import (
    autoregressive_recipe,
    conditional,
    diffusion_recipe,
    energy_recipe,
    flow_matching_recipe,
    flows_recipe,
    gan_pictures,
    gan_pictures_recipe,
    gan_recipe,
    judged,
    pictures_recipe,
    vae_recipe,
    vq_recipe,
)
from etude.systems.generative.recipes.recognition import Classifier
from etude.systems.generative.recipes.vae import METHODS
from etude.systems.gravitational_waves import Population, SignalBank
from etude.systems.gravitational_waves.recipes import (
    Demo,
    Encodings,
    Exchange,
    Labels,
    Search,
    comparisons,
    demo_recipe,
    encodings_recipe,
    labels_recipe,
    search,
    search_recipe,
    shared,
    twin_recipe,
)
from etude.systems.gravitational_waves.recipes.survey import RATES, Survey
from etude.systems.machinery.recipes import (
    distillation_recipe,
    multi_tfr_recipe,
    pinn_recipe,
    progressive_recipe,
    simulated_recipe,
    spectrogram_recipe,
)
from etude.systems.quickstart import Digits, recipe as quickstart_recipe

#: Recipes with choices that only their measures read.
SAMPLED = (
    *("demo", "twin", "encodings", "labels", "search"),
    *("diffusion", "flow-matching", "generated-pictures", "gan-pictures"),
)
WAVES: dict[str, Any] = {"signals": 64, "filters": 2, "latent": 4, "context": 2, "hidden": (3,)}
RECORDS: dict[str, Any] = {"repeats": 1, "per_class": 8, "duration": 2.0, "labels": 2}
FAULTS = {
    "simulated": simulated_recipe,
    "pinn": pinn_recipe,
    "distillation": distillation_recipe,
    "progressive": progressive_recipe,
    "spectrogram": spectrogram_recipe,
    "multi-tfr": multi_tfr_recipe,
}
RECIPES = {
    "demo": (demo_recipe, Demo(**WAVES)),
    "twin": (twin_recipe, Exchange(**WAVES, repeats=1)),
    "encodings": (encodings_recipe, Encodings(**WAVES, repeats=1)),
    "labels": (labels_recipe, Labels(**WAVES, repeats=1, windows=64, shares=(1.0,))),
    "search": (search_recipe, Search(**WAVES, repeats=1, taps=96)),
    "prototypes": (prototypes_recipe, Prototypes(repeats=1, hidden=20, uncoupled_hidden=20)),
    "pictures": (digits_recipe, Pictures(repeats=1, hidden=20, uncoupled_hidden=20)),
    "quickstart": (quickstart_recipe, Digits(repeats=1, width=8, features=4)),
    "energy": (energy_recipe, energy_recipe.configuration(repeats=1, hidden=(4,))),
    "gan": (gan_recipe, gan_recipe.configuration(repeats=1, hidden=(4,))),
    "vae": (vae_recipe, vae_recipe.configuration(methods=METHODS, repeats=1, hidden=(4,))),
    "autoregressive": (
        autoregressive_recipe,
        autoregressive_recipe.configuration(repeats=1, hidden=(4,), width=4),
    ),
    "flows": (flows_recipe, flows_recipe.configuration(repeats=1, hidden=(4,))),
    "diffusion": (
        diffusion_recipe,
        diffusion_recipe.configuration(
            data=("ring",), repeats=1, hidden=(4,), points=300, levels=9, visited=3
        ),
    ),
    "flow-matching": (
        flow_matching_recipe,
        flow_matching_recipe.configuration(
            data=("ring",), repeats=1, hidden=(4,), points=300, solved=2
        ),
    ),
    "generated-pictures": (
        pictures_recipe,
        pictures_recipe.configuration(repeats=1, widths=(4,), methods=("diffusion",), solved=2),
    ),
    "gan-pictures": (
        gan_pictures_recipe,
        gan_pictures_recipe.configuration(
            repeats=1, widths=(4,), methods=("hinge-r1", "wasserstein-penalty")
        ),
    ),
    "vq": (vq_recipe, vq_recipe.configuration(repeats=1, hidden=(4,))),
    **{name: (found, found.configuration(**RECORDS)) for name, found in FAULTS.items()},
}


def watched(config: Configuration) -> tuple[Configuration, set[str]]:
    """The same configuration, and the names of its fields that are read from now on."""
    fields, read = frozenset(type(config).model_fields), set()

    class Watched(type(config), frozen=True):
        def __getattribute__(self, name: str) -> Any:
            if name in fields:
                read.add(name)
            return super().__getattribute__(name)

    found = Watched(**config.model_dump())
    read.clear()  # what the checks of the configuration itself have read
    return found, read


def noise(
    population: Population,
    psds: Any,
    count: int,
    *,
    sample_rate: float,
    duration: float,
    merger: float,
    **_: Any,
) -> SignalBank:
    """In place of minutes of waveforms."""
    rng = np.random.default_rng(0)
    signals = rng.normal(size=(count, round(duration * sample_rate), 2, 1)).astype(np.float32)
    parameters = population.draw(rng, count)
    return SignalBank(signals, np.ones((count, 1)), parameters, sample_rate, merger)


def found_anywhere(self: Survey, statistic: Any, window: float, stride: float) -> dict[str, float]:
    return {f"distance_{rate:g}": 1.0 for rate in RATES}


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(shared, "signal_bank", noise)
    monkeypatch.setattr(comparisons, "judge", shared.evaluate)
    snr = np.tile(np.array([0.0, 8.5, 9.5, 11.0, 13.0, 0.0, 0.0, 0.0], np.float32), 64)
    monkeypatch.setattr(shared, "_ranked", lambda *_: (snr, snr))
    monkeypatch.setattr(Survey, "judge", found_anywhere)
    judge = Classifier((8, 8), 10, key=jax.random.key(0))
    monkeypatch.setattr(judged, "recogniser", lambda *_: judge)
    for module in (conditional, gan_pictures):
        monkeypatch.setattr(module, "COUNT", 500)
    monkeypatch.setattr(search, "matched_filter", lambda _: {f"distance_{r:g}": 1.0 for r in RATES})


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("name", RECIPES)
def test_every_choice_is_read(name):
    recipe, config = RECIPES[name]
    config, read = watched(config)
    for trial in recipe.trials(config):
        model = trial.build(progress=False).settings.model
        if name in SAMPLED:
            trial.evaluate(model, "test")
    assert set(type(config).model_fields) - read == set()
