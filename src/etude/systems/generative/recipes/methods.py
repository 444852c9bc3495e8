"""The trials of an experiment that compares methods."""

from collections.abc import Callable
from functools import partial
from typing import Any

from etude.recipe import Trial


def every(
    config: Any,
    build: Callable[..., Any],
    evaluate: Callable[..., Any],
    untrained: Callable[..., Any],
) -> list[Trial]:
    """Every method of a configuration with every seed; each trial has its part of it.

    Args:
        config: with `methods`, the first `seed` and `repeats`.
        build: `build(config, method, seed, /, **options)` makes a trainer.
        evaluate: `evaluate(config, seed, model, split)` gives measures.
        untrained: `untrained(config, method, seed)` gives a model.
    """
    return [
        Trial(
            method,
            seed,
            partial(build, config, method, seed),
            partial(evaluate, config, seed),
            partial(untrained, config, method, seed),
            config.model_copy(update={"methods": (method,), "seed": seed, "repeats": 1}),
        )
        for method in config.methods
        for seed in range(config.seed, config.seed + config.repeats)
    ]
