"""Settings to search for estimators of scikit-learn: grids, distributions, spaces.

Scales (the costs of errors, widths of kernels, learning rates) are logarithmic: a tenth and a
hundredth are as far apart as ten and one.
"""

from typing import Any

import etude as et
from etude.errors import suggest
from etude.search import Range

#: Names of estimators, here and in scikit-learn.
NAMES = {
    "RandomForest": "RandomForest",
    "RandomForestClassifier": "RandomForest",
    "SVM": "SVM",
    "SVC": "SVM",
    "GradientBoosting": "GradientBoosting",
    "GradientBoostingClassifier": "GradientBoosting",
}

GRIDS: dict[str, dict[str, list[Any]]] = {
    "RandomForest": {
        "n_estimators": [50, 100, 200],
        "max_depth": [10, 20, 30, None],
        "min_samples_leaf": [1, 2, 5, 10],
        "max_features": ["sqrt", "log2"],
    },
    "SVM": {
        "C": [0.1, 1.0, 10.0, 100.0],
        "gamma": [0.01, 0.1, 1.0, 10.0],
        "kernel": ["rbf", "poly"],
    },
    "GradientBoosting": {
        "learning_rate": [0.01, 0.05, 0.1, 0.2],
        "max_depth": [3, 5, 7, 10],
        "subsample": [0.6, 0.8, 1.0],
    },
}

SPACES: dict[str, dict[str, Any]] = {
    "RandomForest": {
        "n_estimators": Range(50, 500, log=True),
        "max_depth": [5, 10, 20, 30, None],
        "min_samples_leaf": Range(1, 10),
        "max_features": ["sqrt", "log2"],
    },
    "SVM": {
        "C": Range(0.1, 1000.0, log=True),
        "gamma": Range(1e-4, 10.0, log=True),
        "kernel": ["rbf", "poly"],
    },
    "GradientBoosting": {
        "n_estimators": Range(50, 500, log=True),
        "learning_rate": Range(0.01, 0.3, log=True),
        "max_depth": Range(2, 10),
        "subsample": Range(0.5, 1.0),
    },
}


def get_default_param_grid(model_name: str) -> dict[str, list[Any]]:
    """The grid of an estimator: "RandomForest", "SVM", "GradientBoosting", or its class's name.

    Raises `ConfigurationError` for another name.

    >>> get_default_param_grid("SVM")["C"]
    [0.1, 1.0, 10.0, 100.0]
    """
    return {name: list(values) for name, values in GRIDS[_known(model_name)].items()}


def get_model_search_space(model_name: str) -> dict[str, Any]:
    """The space of an estimator, for `BayesianOptimizer` and `etude.search`.

    Raises `ConfigurationError` for an unknown name.

    >>> get_model_search_space("SVM")["C"]
    Range(low=0.1, high=1000.0, log=True, step=None)
    """
    return dict(SPACES[_known(model_name)])


def get_default_param_distributions(model_name: str) -> dict[str, Any]:
    """The same space as distributions of SciPy, for `sklearn.model_selection.RandomizedSearchCV`.

    Raises `ConfigurationError` for an unknown name.

    >>> round(float(get_default_param_distributions("SVM")["C"].median()), 6)
    10.0
    """
    return {name: _distribution(one) for name, one in get_model_search_space(model_name).items()}


def _known(model_name: str) -> str:
    if model_name not in NAMES:
        raise et.ConfigurationError(
            f"There are no settings for {model_name!r}. {suggest(model_name, NAMES)} Pass a grid "
            "or a space of your own."
        )
    return NAMES[model_name]


def _distribution(one: Any) -> Any:
    from scipy import stats

    if not isinstance(one, Range):
        return one
    if one.whole and one.log:  # a list is drawn from evenly: as many values in each octave
        values = [one.low * (one.high / one.low) ** (part / 20) for part in range(21)]
        return sorted({round(value) for value in values})
    if one.whole:
        return stats.randint(one.low, one.high + 1)
    if one.log:
        return stats.loguniform(one.low, one.high)
    return stats.uniform(one.low, one.high - one.low)
