"""What judged the model of one seed judges that of the next: nothing is compiled for it."""

from typing import Any

import jax
import jax.numpy as jnp
import pytest

import etude as et
from etude.recipe import Trial
from etude.systems.attractor.recipes import (
    Pictures,
    Prototypes,
    digits_recipe,
    prototypes_recipe,
)
from etude.systems.gravitational_waves.recipes import (
    Encodings,
    Search,
    encodings_recipe,
    search,
    search_recipe,
)
from etude.systems.gravitational_waves.recipes.survey import RATES, Survey
from etude.systems.machinery.recipes import simulated_recipe
from etude.systems.machinery.recipes.simulated import Simulated
from etude.systems.machinery.recipes.simulated_data import _parts
from etude.systems.quickstart import Digits, recipe as quickstart_recipe

COMPILED = "/jax/core/compile/backend_compile_duration"
WAVES: dict[str, Any] = {
    "signals": 64,
    "filters": 2,
    "latent": 4,
    "context": 2,
    "hidden": (3,),
    "batch": 32,
}
SMALL = {
    "prototypes": (prototypes_recipe, Prototypes(repeats=2, hidden=20)),
    "pictures": (
        digits_recipe,
        Pictures(repeats=2, hidden=20, uncoupled_hidden=24, methods=("contrastive", "perceptron")),
    ),
    "quickstart": (quickstart_recipe, Digits(repeats=2, width=8, features=4)),
    "encodings": (
        encodings_recipe,
        Encodings(**WAVES, test_windows=512, repeats=2, encodings=("rate",)),
    ),
    "search": (search_recipe, Search(**WAVES, repeats=2, taps=96)),
    "faults": (simulated_recipe, Simulated(repeats=2, per_class=8, duration=1.0, window=0.5)),
}


@pytest.fixture
def compiled():
    """The names of what is compiled, as it happens."""
    found = []

    def listen(event: str, duration_secs: float, **about: Any) -> None:
        if event == COMPILED:
            found.append(about.get("fun_name", "?"))

    jax.monitoring.register_event_duration_secs_listener(listen)
    yield found
    jax.monitoring.unregister_event_duration_listener(listen)


def searched(survey: Survey, statistic: Any, window: float, stride: float) -> dict[str, float]:
    """In place of hours of strain: what of a survey touches the network."""
    value = float(statistic(jnp.ones((4, 2048, 2))).sum())
    return {f"distance_{rate:g}": value for rate in RATES}


def untrained(trial: Trial) -> Any:
    if trial.skeleton is not None:
        return trial.skeleton()
    return trial.build(progress=False).settings.model


@pytest.mark.parametrize("name", SMALL)
def test_a_second_seed_compiles_nothing_to_be_judged(name, compiled, monkeypatch):
    monkeypatch.setattr(Survey, "judge", searched)
    monkeypatch.setattr(search, "matched_filter", lambda _: {f"distance_{r:g}": 1.0 for r in RATES})
    _parts.cache_clear()  # another test may have made the data of the first seed, not the programs
    recipe, config = SMALL[name]
    by_method: dict[str, list[Any]] = {}
    for trial in recipe.trials(config):
        by_method.setdefault(trial.method, []).append(trial)
    for first, second in list(by_method.values())[:2]:
        one, other = (untrained(trial) for trial in (first, second))
        found = first.evaluate(one, "test")
        compiled.clear()
        assert second.evaluate(other, "test").keys() == found.keys()
        assert compiled == [], first.method


def test_an_evaluation_is_for_models_that_differ_in_numbers(compiled):
    data = et.ArrayData(jnp.arange(5.0), batch_size=5)
    scaled = et.Evaluation(lambda model, batch, context: {"mean": batch.mean() * model["by"]})
    assert scaled({"by": jnp.array(1.0)}, data) == {"mean": 2.0}
    compiled.clear()
    assert scaled({"by": jnp.array(3.0)}, data) == {"mean": 6.0}
    assert compiled == []
    # A number that is no array is part of the program.
    assert [scaled({"by": by}, data)["mean"] for by in (1, 2, 1)] == [2.0, 4.0, 2.0]
