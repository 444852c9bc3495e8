"""How the recipes on simulated records judge a network, and what they put beside it."""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from etude.metrics import compute_confusion_matrix
from etude.recipe import Outcome
from etude.systems.machinery.recipes.simulated_data import SNRS, Parts, Records, noisier, parts
from etude.systems.machinery.recipes.simulated_networks import Sight, scores_of
from etude.systems.machinery.records import Windows
from etude.systems.machinery.reports import columns, report, temperature_of

#: Columns of every table here: the report, the windows with noise, and the best that is possible.
COLUMNS = {
    **columns("recording"),
    **{f"{snr} dB": f"windows_{snr}dB" for snr in SNRS},
    "ceiling": "ceiling",
}

CEILING = (
    "Windows: the accuracy of who knows the wave of each fault, computed for the records of the "
    "test (column ceiling); some windows of cavitation hold no bubble."
)
LICENCE = "None: the data are simulated."


def measured(
    scores: Callable[[Windows], np.ndarray], data: Parts, split: str, seed: int
) -> dict[str, Any]:
    """The report of a part, its accuracy at the ratios of `SNRS`, its ceiling, its confusions.

    Args:
        scores: logits of windows.
        data: the parts; the temperature is fitted to those of the validation.
        split: name of the part.
        seed: of the noise.
    """
    windows = data.of(split)
    temperature = temperature_of(scores(data.valid), data.valid.labels)
    found = scores(windows)
    noisy = {
        f"windows_{snr}dB": accuracy(scores(noisier(windows, snr, seed)), windows) for snr in SNRS
    }
    return {
        **report(found, windows.labels, windows.metadata["record"], temperature),
        **noisy,
        "ceiling": data.ceilings[split],
        "confusion_matrix": np.asarray(
            compute_confusion_matrix(found.argmax(1), windows.labels, len(windows.classes))
        ),
    }


def judge(see: Sight, config: Records, seed: int, model: Any, split: str) -> dict[str, Any]:
    """What `measured` says of a network that sees windows in this way."""
    return measured(
        lambda windows: scores_of(model, see(windows)), parts(config, seed), split, seed
    )


def accuracy(scores: np.ndarray, windows: Windows) -> float:
    """The share of windows that are right."""
    return float(np.mean(scores.argmax(1) == windows.labels))


@lru_cache(maxsize=4)
def forest(config: Records, seed: int, split: str) -> Mapping[str, float]:
    """Windows and records that a random forest on the 36 features gets right.

    Of scikit-learn, with 200 trees; the baseline of the field, beside which a network has to stand.
    """
    from sklearn.ensemble import RandomForestClassifier

    data = parts(config, seed)
    see = Sight("features", data.train)
    trees = RandomForestClassifier(200, random_state=seed)
    trees.fit(see(data.train)["signal"], data.train.labels)
    windows = data.of(split)
    scores = np.log(np.asarray(trees.predict_proba(see(windows)["signal"])) + 1e-9)
    found = report(scores, windows.labels, windows.metadata["record"], 1.0)
    return {
        "forest_windows": found["window_accuracy"],
        "forest_records": found["record_accuracy"],
    }


def draw(config: Records, outcomes: Sequence[Outcome], folder: Path) -> None:
    """`snr.png`: accuracy over windows against the noise, a curve for each method."""
    from matplotlib.figure import Figure

    folder.mkdir(parents=True, exist_ok=True)
    figure = Figure(figsize=(5, 3.6), layout="constrained")
    axes = figure.add_subplot(xlabel="signal to noise of the test, dB", ylabel="windows right")
    names = ("window_accuracy", *(f"windows_{snr}dB" for snr in SNRS))
    for method in dict.fromkeys(outcome.trial.method for outcome in outcomes):
        mine = [outcome.metrics for outcome in outcomes if outcome.trial.method == method]
        table = np.array([[metrics[name] for name in names] for metrics in mine])
        spread = table.std(0, ddof=1) if len(mine) > 1 else None
        axes.errorbar(np.arange(len(names)), table.mean(0), spread, marker="o", label=method)
    axes.set_xticks(np.arange(len(names)), ["as simulated", *map(str, SNRS)])
    axes.set_ylim(0, 1.02)
    axes.legend(fontsize="small")
    figure.savefig(folder / "snr.png", dpi=110)
