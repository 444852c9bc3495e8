"""The faces of another package's optimizers: scikit-learn's own results, and their plots."""

import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV, train_test_split
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from etude.errors import ConfigurationError
from etude.search import Range
from etude.systems import machinery

X, Y = load_iris(return_X_y=True)


def test_a_grid_is_scikit_learns():
    grid = {"max_depth": [1, 3, None], "n_estimators": [3, 5], "max_features": ["sqrt", None]}
    ours = machinery.GridSearchOptimizer(random_state=7, n_jobs=1, verbose=0)
    found = ours.search(RandomForestClassifier(), X, Y, grid, cv=3, scoring="f1_macro")
    theirs = GridSearchCV(
        RandomForestClassifier(random_state=7), grid, cv=3, scoring="f1_macro"
    ).fit(X, Y)
    assert found["best_params"] == theirs.best_params_
    assert found["best_score"] == theirs.best_score_
    np.testing.assert_array_equal(found["best_model"].predict(X), theirs.predict(X))
    np.testing.assert_array_equal(ours.results["score"], theirs.cv_results_["mean_test_score"])
    assert ours.results["max_depth"][:2] == [1, 1]
    # None is a value like any other, and the best over the third parameter stands in the cell.
    image = ours.plot_grid_results("max_depth", "n_estimators").axes[0].images[0]
    best = max(
        score
        for score, setting in zip(ours.results["score"], theirs.cv_results_["params"], strict=True)
        if setting["max_depth"] is None and setting["n_estimators"] == 3
    )
    assert np.asarray(image.get_array())[0].max() <= max(ours.results["score"])
    assert best in np.asarray(image.get_array())[0]


def test_a_cell_without_a_trial_is_missing():
    ours = machinery.GridSearchOptimizer(n_jobs=1, verbose=0)
    ours.search(SVC(), X, Y, {"C": [0.1, 1.0], "gamma": [0.1, 1.0]}, cv=3)
    from dataclasses import replace

    from etude.search import plot_map

    part = replace(ours.results, trials=ours.results.trials[:3])
    cells = plot_map(part, "C", "gamma").axes[0].images[0].get_array()
    assert np.ma.getmaskarray(cells).tolist() == [[False, False], [False, True]]


def test_settings_may_be_tables_and_parts_are_seeded():
    forest = Pipeline([("scale", StandardScaler()), ("forest", RandomForestClassifier(3))])
    ours = machinery.GridSearchOptimizer(random_state=7, n_jobs=1, verbose=0)
    weights = [{0: 1.0, 1: 2.0, 2: 1.0}, None]
    found = ours.search(forest, X, Y, {"forest__class_weight": weights}, cv=3)
    assert ours.results.space.varied == {"forest__class_weight": tuple(weights)}
    assert found["best_model"].get_params()["forest__random_state"] == 7
    assert forest.get_params()["forest__random_state"] is None
    assert ours.search(SVC(), X, Y, {}, cv=3)["best_params"] == {}, "not the default grid"


def test_a_random_search_is_scikit_learns():
    ours = machinery.RandomSearchOptimizer(random_state=3, n_jobs=1, verbose=0)
    space = machinery.get_default_param_distributions("SVM")
    found = ours.search(SVC(), X, Y, n_iter=6, cv=3)
    theirs = RandomizedSearchCV(SVC(random_state=3), space, n_iter=6, cv=3, random_state=3).fit(
        X, Y
    )
    assert found["best_params"] == theirs.best_params_
    np.testing.assert_array_equal(ours.results["score"], theirs.cv_results_["mean_test_score"])
    axes = ours.plot_search_results("C").axes[0]
    assert len(axes.collections[0].get_offsets()) == 6
    with pytest.raises(ConfigurationError, match="varies no 'c'"):
        ours.plot_search_results("c")


def test_a_bayesian_search_finds_what_scores_best():
    parts = train_test_split(X, Y, test_size=0.4, random_state=0)
    x, valid_x, y, valid_y = parts
    ours = machinery.BayesianOptimizer(random_state=1)
    space = {"n_neighbors": Range(1, 60), "weights": ["uniform"]}
    found = ours.optimize(KNeighborsClassifier, x, y, valid_x, valid_y, 15, space)
    scores = {
        k: KNeighborsClassifier(n_neighbors=k).fit(x, y).score(valid_x, valid_y)
        for k in ours.results["n_neighbors"]
    }
    assert (
        found["best_score"] == max(scores.values()) == found["best_model"].score(valid_x, valid_y)
    )
    assert scores[found["best_params"]["n_neighbors"]] == found["best_score"]
    assert found["best_params"]["weights"] == "uniform"
    assert len(ours.results.trials) == 15
    assert ours.plot_optimization_history().axes[0].get_ylabel() == "score"
    assert ours.plot_param_importances().axes


def test_results_are_there_after_a_search_only():
    for optimizer in (machinery.GridSearchOptimizer(), machinery.RandomSearchOptimizer()):
        with pytest.raises(ConfigurationError, match=r"call search\(...\) first"):
            optimizer.get_results()
    with pytest.raises(ConfigurationError, match=r"call optimize\(...\) first"):
        machinery.BayesianOptimizer().plot_optimization_history()


@pytest.mark.parametrize("estimator", [RandomForestClassifier, SVC, GradientBoostingClassifier])
def test_presets_are_parameters_of_their_estimators(estimator):
    name = {"SVC": "SVM"}.get(estimator.__name__, estimator.__name__.removesuffix("Classifier"))
    known = estimator().get_params()
    grid, space = machinery.get_default_param_grid(name), machinery.get_model_search_space(name)
    distributions = machinery.get_default_param_distributions(estimator.__name__)
    assert grid.keys() | space.keys() | distributions.keys() <= known.keys()
    for one in distributions.values():
        for value in one if isinstance(one, list) else one.rvs(50, random_state=0):
            assert value is None or isinstance(value, str) or value > 0
    small = {key: values[:1] for key, values in grid.items()}
    estimator(**{key: values[0] for key, values in small.items()}).fit(X, Y)


def test_scales_are_drawn_from_evenly_by_their_logarithm():
    drawn = machinery.get_default_param_distributions("SVM")["C"].rvs(4000, random_state=0)
    assert np.median(drawn) == pytest.approx(10, rel=0.2)
    with pytest.raises(ConfigurationError, match="Did you mean 'SVM'"):
        machinery.get_default_param_grid("SVMs")
