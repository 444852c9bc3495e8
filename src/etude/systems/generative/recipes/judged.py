"""Samples of pictures by class beside real ones: measures, and what a table calls them."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float, Integer

from etude.recipe import DataConfiguration
from etude.systems.generative.metrics import frechet_value, memorised, recall
from etude.systems.generative.recipes.recognition import features, pictures, recognised, recogniser

#: Samples that a model is measured by, and those that are drawn at a time: each class as often.
COUNT, AT_ONCE = 2000, 500

COLUMNS: Mapping[str, str] = {
    "recognised": "recognised",
    "of test pictures": "real_recognised",
    "Frechet distance": "frechet",
    "of data": "real_frechet",
    "recall": "recall",
    "of the data": "real_recall",
    "memorised": "memorised",
}


def judged(
    config: DataConfiguration,
    split: str,
    fake: Float[np.ndarray, "n *shape"],
    labels: Integer[np.ndarray, " n"],
) -> dict[str, Any]:
    """Measures of samples and, with names that begin with `real`, the same of real pictures.

    By a classifier: the share whose class it finds; by its features: the Frechet distance from
    pictures of the split, and the share of these pictures that samples come near. By pixels: the
    share of samples that are nearer to training pictures than to those of the validation.
    """
    found = pictures(config.data, config.root)
    chosen, judge = getattr(found, split), recogniser(config.data, config.root)
    others = found.train if split != "train" else found.valid
    assert others is not None
    assert found.valid is not None
    real, other, seen = (features(judge, x) for x in (chosen.x[:COUNT], others.x[:COUNT], fake))
    return {
        "recognised": recognised(judge, fake, labels),
        "real_recognised": recognised(judge, chosen.x, chosen.y),
        "frechet": frechet_value(seen, real),
        "real_frechet": frechet_value(other, real),
        "recall": recall(seen, real).value,
        "real_recall": recall(other, real).value,
        "memorised": memorised(fake, found.train.x, found.valid.x[:COUNT]).value,
    }
