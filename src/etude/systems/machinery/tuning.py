"""The settings of an estimator of scikit-learn: a grid, random ones, a Bayesian search.

Thin faces. The first two are scikit-learn's own searches, the third is `etude.search`, which
searches recipes and functions as well, prunes, goes on after a kill and works in several processes.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

import etude as et
from etude.search import (
    BayesianSearch,
    Found,
    Range,
    Results,
    Space,
    plot_history,
    plot_importances,
    plot_map,
    plot_slices,
)
from etude.systems.machinery.tuning_presets import (
    get_default_param_distributions,
    get_default_param_grid,
    get_model_search_space,
)

if TYPE_CHECKING:
    import pandas
    from matplotlib.figure import Figure


class _CrossValidated:
    """What the two searches of scikit-learn have in common.

    Args:
        random_state: seed of the draws, and of an estimator, or a part of one, that draws and has
            none of its own.
        n_jobs: processes; -1 is one for each core.
        verbose: how much scikit-learn says.
    """

    def __init__(self, random_state: int = 42, n_jobs: int = -1, verbose: int = 2):
        self.random_state, self.n_jobs, self.verbose = random_state, n_jobs, verbose
        self._results: Results | None = None

    @property
    def results(self) -> Results:
        """All settings with their scores: columns, a table, the best."""
        return _there(self._results, "search")

    def get_results(self) -> "pandas.DataFrame":
        """The same as a table, if pandas is installed; `results.columns` needs it not."""
        return self.results.to_pandas()

    def _searched(
        self, kind: Callable[..., Any], model: Any, X: Any, y: Any, settings: Any, **more: Any
    ) -> dict[str, Any]:
        search = kind(
            _seeded(model, self.random_state),
            dict(settings),
            n_jobs=self.n_jobs,
            verbose=self.verbose,
            **more,
        )
        search.fit(X, y)
        self._results = _results_of(search)
        return {
            "best_params": search.best_params_,
            "best_score": float(search.best_score_),
            "best_model": search.best_estimator_,
        }


class GridSearchOptimizer(_CrossValidated):
    """Every setting of a grid, by cross-validation: `sklearn.model_selection.GridSearchCV`.

    >>> from sklearn.datasets import load_iris
    >>> from sklearn.svm import SVC
    >>> x, y = load_iris(return_X_y=True)
    >>> optimizer = GridSearchOptimizer(n_jobs=1, verbose=0)
    >>> grid = {"C": [0.001, 1.0], "kernel": ["rbf", "linear"]}
    >>> optimizer.search(SVC(), x, y, grid)["best_params"]
    {'C': 1.0, 'kernel': 'linear'}
    """

    def search(
        self,
        model: Any,
        X: Any,
        y: Any,
        param_grid: Mapping[str, Any] | None = None,
        cv: Any = 5,
        scoring: Any = None,
    ) -> dict[str, Any]:
        """`best_params`, `best_score` and `best_model`, which is fitted to all samples.

        `param_grid` None is that of `get_default_param_grid` for the class of the model.
        """
        from sklearn.model_selection import GridSearchCV

        if param_grid is None:
            param_grid = get_default_param_grid(type(model).__name__)
        return self._searched(GridSearchCV, model, X, y, param_grid, cv=cv, scoring=scoring)

    def plot_grid_results(self, param1: str, param2: str) -> "Figure":
        """The best score of each combination of two parameters; one without a score is hatched."""
        return plot_map(self.results, param1, param2)


class RandomSearchOptimizer(_CrossValidated):
    """Settings drawn from distributions: `sklearn.model_selection.RandomizedSearchCV`."""

    def search(
        self,
        model: Any,
        X: Any,
        y: Any,
        param_dist: Mapping[str, Any] | None = None,
        n_iter: int = 50,
        cv: Any = 5,
        scoring: Any = None,
    ) -> dict[str, Any]:
        """`best_params`, `best_score` and `best_model`, which is fitted to all samples.

        `param_dist` None is those of `get_default_param_distributions` for the class of the model.
        """
        from sklearn.model_selection import RandomizedSearchCV

        if param_dist is None:
            param_dist = get_default_param_distributions(type(model).__name__)
        return self._searched(
            RandomizedSearchCV,
            model,
            X,
            y,
            param_dist,
            n_iter=n_iter,
            cv=cv,
            scoring=scoring,
            random_state=self.random_state,
        )

    def plot_search_results(self, param_name: str) -> "Figure":
        """The score against a parameter."""
        return plot_slices(self.results, [param_name])


class BayesianOptimizer:
    """Settings drawn where the good ones lie (TPE), by the score on validation samples.

    Args:
        random_state: seed of the draws, and of an estimator that takes one.

    Needs the extra `search`.
    """

    def __init__(self, random_state: int = 42):
        self.random_state = random_state
        self._results: Results | None = None

    def optimize(
        self,
        model_class: Callable[..., Any],
        X_train: Any,
        y_train: Any,
        X_val: Any,
        y_val: Any,
        n_trials: int = 50,
        param_space: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """`best_params`, `best_score` and `best_model`, fitted to the training samples.

        `model_class(**params)` makes a model with `fit(X, y)` and `score(X, y)`, of which larger
        is better. `param_space` is a space as `etude.search` takes it; None: that of
        `get_model_search_space` for the name of the class.
        """
        name = getattr(model_class, "__name__", str(model_class))
        space = get_model_search_space(name) if param_space is None else param_space

        def fitted(**params: Any) -> Any:
            return _seeded(model_class(**params), self.random_state).fit(X_train, y_train)

        def score(**params: Any) -> float:
            return float(fitted(**params).score(X_val, y_val))

        search = BayesianSearch(
            target=score, space=space, metric="score", mode="max", seed=self.random_state
        )
        self._results = search.run(n_trials, say=lambda line: None)
        best = self._results.best
        params = {**self._results.space.constants, **best.setting}
        return {
            "best_params": params,
            "best_score": best.value,
            "best_model": fitted(**params),
        }

    @property
    def results(self) -> Results:
        """All trials: columns, a table, the best."""
        return _there(self._results, "optimize")

    def plot_optimization_history(self) -> "Figure":
        """The score of each trial, and the best so far."""
        return plot_history(self.results)

    def plot_param_importances(self) -> "Figure":
        """How much each parameter matters (PED-ANOVA)."""
        return plot_importances(self.results)


def _there(results: Results | None, method: str) -> Results:
    if results is None:
        raise et.ConfigurationError(f"There are no results yet: call {method}(...) first.")
    return results


def _seeded(model: Any, seed: int) -> Any:
    """A copy that draws from the seed, in all parts that draw and have no seed of their own."""
    from sklearn.base import clone

    if not callable(getattr(model, "get_params", None)):
        return model  # of another library: its seed is its own matter
    parameters = model.get_params()
    unseeded = [
        name
        for name, value in parameters.items()
        if value is None and name.rpartition("__")[2] == "random_state"
    ]
    return clone(model).set_params(**dict.fromkeys(unseeded, seed))


def _results_of(search: Any) -> Results:
    """What a search of scikit-learn has found, as ours."""
    table = search.cv_results_
    settings = [dict(params) for params in table["params"]]
    names = list(dict.fromkeys(name for setting in settings for name in setting))
    space = Space({name: _values([s.get(name) for s in settings]) for name in names}, {})
    folds = np.stack([table[f"split{k}_test_score"] for k in range(search.n_splits_)], axis=1)
    trials = [
        Found(
            number,
            "complete" if np.isfinite(mean) else "failed",
            {name: setting.get(name) for name in names},
            float(mean) if np.isfinite(mean) else None,
            tuple(map(float, scores)),
        )
        for number, (setting, mean, scores) in enumerate(
            zip(settings, table["mean_test_score"], folds, strict=True)
        )
    ]
    return Results(tuple(trials), space, "score", "max")


def _values(found: list[Any]) -> Any:
    """What a parameter was among: few values as they are, many numbers as a range."""
    distinct = list({repr(value): value for value in found}.values())  # a dict has no hash
    numbers = all(isinstance(v, int | float) and not isinstance(v, bool) for v in distinct)
    if not numbers or len(distinct) <= 10:
        return tuple(sorted(distinct) if numbers else distinct)
    low, high = float(min(distinct)), float(max(distinct))
    return Range(low, high, log=low > 0 and high / low > 100)
