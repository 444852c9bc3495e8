"""Searches against what is known otherwise: a function in closed form, scikit-learn's own."""

import itertools
import math
import warnings

import numpy as np
import pytest
from little_recipe import Little, recipe
from sklearn.datasets import load_iris
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.svm import SVC

from etude.errors import ColumnError, ConfigurationError, NonFiniteError, RunError
from etude.run import Status
from etude.search import (
    BayesianSearch,
    CrossValidation,
    GridSearch,
    RandomSearch,
    Range,
    Results,
)
from etude.search.ledger import Ledger


def silent(line):
    pass


def bowl(x, y):
    return (x - 0.3) ** 2 + (y + 2) ** 2


def test_a_grid_is_brute_force():
    xs, ys = [0.1, 0.2, 0.4], [-3, -2, -1, 0, 1]
    search = GridSearch(target=bowl, space={"x": xs, "y": Range(-3, 1)}, mode="min")
    results = search.run(say=silent)
    points = list(itertools.product(xs, ys))
    assert results["x"] == [x for x, _ in points]
    assert results["y"] == [y for _, y in points]
    assert results["value"] == [bowl(*point) for point in points]
    assert results.best.setting == dict(zip("xy", min(points, key=lambda p: bowl(*p)), strict=True))


def test_a_cross_validated_grid_is_that_of_scikit_learn():
    x, y = load_iris(return_X_y=True)
    folds = StratifiedKFold(4, shuffle=True, random_state=3)
    space = {"C": [0.01, 1.0, 100.0], "kernel": ["rbf", "linear"]}
    theirs = GridSearchCV(SVC(), space, cv=folds, scoring="f1_macro").fit(x, y)
    target = CrossValidation(SVC(), x, y, cv=folds, scoring="f1_macro")
    results = GridSearch(target=target, space=space).run(say=silent)
    assert results.best.setting == theirs.best_params_
    assert results.best.value == pytest.approx(theirs.best_score_, abs=1e-12)
    np.testing.assert_allclose(results["score"], theirs.cv_results_["mean_test_score"], atol=1e-12)
    stds = theirs.cv_results_["std_test_score"] * math.sqrt(4 / 3)  # theirs is of the population
    np.testing.assert_allclose(results["spread"], stds, atol=1e-12)
    best = target.fitted(results.best.setting)
    np.testing.assert_array_equal(best.predict(x), theirs.predict(x))


def test_parameters_that_an_estimator_lacks_are_refused():
    x, y = load_iris(return_X_y=True)
    target = CrossValidation(SVC(), x, y)
    search = GridSearch(target=target, space={"c": [1, 2], "degre": 3}, seeds=2)
    with pytest.raises(ConfigurationError) as refused:
        search.run(say=silent)
    assert "c: SVC has no such parameter." in str(refused.value)
    assert "degre: SVC has no such parameter. Did you mean 'degree'?" in str(refused.value)
    assert "give a splitter that repeats" in str(refused.value)


def test_the_same_setting_is_not_tried_twice():
    calls = []

    def target(x):
        calls.append(x)
        if x == 2:
            raise NonFiniteError("the loss is NaN")
        return float(x)

    search = RandomSearch(target=target, space={"x": [1, 2, 3, 4], "y": 0}, mode="max")
    with pytest.raises(TypeError):  # y is not taken: the function is called with all of it
        target(x=1, y=0)
    search = RandomSearch(target=target, space={"x": Range(1, 4)}, mode="max")
    results = search.run(40, say=silent)
    assert sorted(calls) == [1, 2, 3, 4]
    again = [found for found in results.trials if found.same_as is not None]
    assert len(results.trials) == 4 + len(again) < 40, "all four are known: nothing is left"
    for found in again:
        first = results.trials[found.same_as]
        assert first.same_as is None
        assert (found.setting, found.value, found.state, found.why) == (
            first.setting, first.value, first.state, first.why
        )  # fmt: skip
    assert results.best.value == 4


def test_constraints_are_never_broken():
    seen = []

    def target(a, b):
        seen.append((a, b))
        return a + b

    for kind, more in ((GridSearch, {}), (RandomSearch, {"seed": 3}), (BayesianSearch, {})):
        search = kind(
            target=target, space={"a": Range(0, 9), "b": Range(0, 9)}, mode="max",
            constraints=["a < b", lambda setting: setting["a"] > 6], **more,
        )  # fmt: skip
        results = search.run(12, say=silent)
        assert set(seen) == {(7, 8), (7, 9), (8, 9)}
        assert results.best.setting == {"a": 8, "b": 9}
        seen.clear()
    with pytest.raises(ConfigurationError, match="allow none of the 100 settings"):
        GridSearch(
            target=target, space={"a": Range(0, 9), "b": Range(0, 9)}, mode="min",
            constraints="a + b > 18",
        ).run()  # fmt: skip
    impossible = RandomSearch(
        target=target, space={"a": Range(0.0, 1.0), "b": [1, 2]}, mode="min", constraints="a > b"
    )
    with pytest.raises(ConfigurationError, match="the constraints allow none of them"):
        impossible.run(3, say=silent)


def test_what_goes_wrong_in_a_trial_is_its_outcome(tmp_path):
    def target(x):
        if x == 1:
            raise ValueError("no such shape")
        return [x, x + 1.0] if x else math.nan

    lines = []
    search = GridSearch(target=target, space={"x": [0, 1, 2]}, mode="max", folder=tmp_path / "s")
    results = search.run(say=lines.append)
    assert results["state"] == ["diverged", "failed", "complete"]
    assert results["value"] == [None, None, 2.5]
    assert results.best.spread == pytest.approx(math.sqrt(0.5))
    assert lines[1] == "[2/3] trial 1: failed: ValueError: no such shape  x 1".replace("/3", "")
    assert "raise ValueError" in (tmp_path / "s/errors/0001.txt").read_text()
    assert Results.open(tmp_path / "s").columns == results.columns
    assert (tmp_path / "s/best.yaml").read_text() == "# Trial 2 of 3: value 2.5 ± 0.707\nx: 2\n"
    with pytest.raises(ColumnError, match="Did you mean 'value'"):
        results["vlaue"]


def test_a_search_that_only_fails_ends():
    def target(x):
        raise ValueError(f"never {x}")

    search = GridSearch(target=target, space={"x": Range(0, 99)}, mode="max")
    with pytest.raises(ConfigurationError, match=r"All 3 trials so far have failed.*never 2"):
        search.run(say=silent)


def test_a_full_disk_is_no_fault_of_a_trial(tmp_path):
    full = [True]

    def target(x):
        if full[0] and x == 2:
            raise OSError(28, "No space left on device")
        return x

    search = GridSearch(target=target, space={"x": [1, 2, 3]}, mode="max", folder=tmp_path / "s")
    with pytest.raises(OSError, match="No space"):
        search.run(say=silent)
    full.clear()
    full.append(False)
    assert search.run(say=silent)["value"] == [1.0, 2.0, 3.0]


def test_an_interrupted_search_proposes_what_an_uninterrupted_one_does(tmp_path):
    space = {"x": Range(1e-3, 1.0, log=True), "y": Range(-3.0, 3.0)}

    def of(folder):
        return BayesianSearch(target=bowl, space=space, mode="min", folder=folder, start=3)

    whole = of(tmp_path / "whole").run(9, say=silent)
    for trials in (2, 5, 9):
        parts = of(tmp_path / "parts").run(trials, say=silent)
    assert parts.columns == whole.columns
    values = whole["x"]
    assert len(set(values)) == len(values), "no random number is drawn twice"


def test_everything_wrong_with_a_search_is_in_one_message(tmp_path):
    search = BayesianSearch(
        target=recipe, space={"raet": [1, 2], "seed": [1, 2]}, metric="test/err",
        constraints=["steps >", "sptes < 3"], seeds=0, prune="medain", storage="sqlite:///x.db",
    )  # fmt: skip
    with pytest.raises(ConfigurationError) as refused:
        search.run(0, workers=0, say=silent)
    for told in (
        "trials is a whole number from 1; got 0.",
        "workers is a whole number from 1; got 0.",
        "seeds is a whole number from 1; got 0.",
        "prune is one of median, halving, never; got 'medain'. Did you mean 'median'?",
        "A storage needs a folder",
        "raet: unknown field; did you mean 'rate'?",
        "seed: a seed is no setting to choose",
        "The metric is one of a validation, as valid/loss; got 'test/err'.",
        "A search over a recipe needs a folder",
        "'steps >' is no expression",
        "there is no 'sptes'. Did you mean 'steps'?",
        "is a small or a large 'test/err' better?",
    ):
        assert told in str(refused.value)
    with pytest.raises(ConfigurationError, match="a recipe, its name, a function or a Cross"):
        RandomSearch(target=3, space={"x": [1, 2]}, mode="min").run(1)
    with pytest.raises(ConfigurationError, match="a grid needs a list of values"):
        GridSearch(target=bowl, space={"x": Range(0.0, 1.0)}, mode="min").run()
    with pytest.raises(ConfigurationError, match="seed is a whole number from 0; got -1"):
        RandomSearch(target=bowl, space={"x": [1, 2]}, mode="min", seed=-1).run(1)
    with pytest.raises(ConfigurationError, match="'x' has the name of another column"):
        GridSearch(target=bowl, space={"x": [1, 2]}, mode="min", metric="x").run()
    with pytest.raises(ConfigurationError, match="mode='min' or mode='max'"):
        GridSearch(target=bowl, space={"x": [1, 2]}).run()
    with pytest.raises(ConfigurationError, match="what another process can import"):
        GridSearch(target=lambda x: x, space={"x": [1, 2]}, mode="min", folder=tmp_path / "s").run(
            workers=2
        )
    assert not (tmp_path / "s").exists()
    with pytest.raises(ConfigurationError, match="There is no recipe 'litle'"):
        RandomSearch(target="litle", space={"x": [1, 2]}, folder=tmp_path / "s").run(1)


def test_a_folder_that_holds_something_else_is_left_alone(tmp_path):
    def of(**options):
        return GridSearch(target=bowl, space={"x": [1, 2], "y": 0}, mode="min", **options)

    (tmp_path / "notes").mkdir()
    (tmp_path / "notes/mine.txt").write_text("kept")
    with pytest.raises(RunError, match="not empty and not a search"):
        of(folder=tmp_path / "notes").run(say=silent)
    with pytest.raises(RunError, match="cannot be made: Not a directory"):
        of(folder=tmp_path / "notes/mine.txt/s").run(say=silent)
    of(folder=tmp_path / "s").run(say=silent)
    with pytest.raises(RunError, match=r"mode: got 'max', recorded 'min'.*another folder"):
        GridSearch(target=bowl, space={"x": [1, 2], "y": 0}, mode="max", folder=tmp_path / "s").run(
            say=silent
        )
    with pytest.raises(RunError, match="is not a search"):
        Results.open(tmp_path / "notes")


@pytest.mark.parametrize(
    "url", ["sqlite:////no/such/place/a.db", "nosuch://host/db", "sqlit", "grpc://localhost:1"]
)
def test_a_storage_that_cannot_be_reached_is_named(url, tmp_path, monkeypatch):
    monkeypatch.setattr("etude.search.backend.WAIT", 0.1)
    search = GridSearch(
        target=bowl, space={"x": [1, 2], "y": 0}, mode="min", folder=tmp_path / "s", storage=url
    )
    with pytest.raises(ConfigurationError, match=f"The storage {url} cannot be reached"):
        search.run(say=silent)


def test_a_database_holds_a_search_as_well(tmp_path):
    url = f"sqlite:///{tmp_path}/search.db"
    search = RandomSearch(
        target=bowl, space={"x": Range(0.0, 1.0), "y": [0, 1]}, mode="min",
        folder=tmp_path / "s", storage=url,
    )  # fmt: skip
    search.run(3, say=silent)
    results = search.run(5, say=silent)
    assert results.columns == Results.open(tmp_path / "s").columns
    assert len(results.trials) == 5


def test_a_torn_line_of_the_journal_is_no_harm(tmp_path):
    search = GridSearch(
        target=bowl, space={"x": Range(0, 5), "y": 0}, mode="min", folder=tmp_path / "s"
    )
    search.run(3, say=silent)
    journal = tmp_path / "s/journal.log"
    journal.write_bytes(journal.read_bytes() + b'{"op_code": 4, "worker')
    results = search.run(say=silent)
    assert results["x"] == [0, 1, 2, 3, 4, 5]
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = JournalStorage(JournalFileBackend(str(journal)))
    assert len(theirs.get_all_trials(0)) == 6


def test_seeds_are_averaged(tmp_path):
    search = GridSearch(
        target=recipe, space={"rate": [0.1, 0.2]}, folder=tmp_path, seeds=2, config=Little(seed=5)
    )
    results = search.run(say=silent)
    first = results.trials[0]
    assert first.value == pytest.approx(np.mean(first.values))
    for seed, value in zip((5, 6), first.values, strict=True):
        trial = recipe.trials(Little(seed=seed, rate=0.1))[0]
        alone = trial.build(progress=False).fit()
        assert float(alone.metrics["valid/loss"]) == value
        assert trial.load(tmp_path / f"trials/0000/seed-{seed}") == alone.model


def test_a_training_that_is_worse_than_others_is_pruned(tmp_path, monkeypatch):
    search = GridSearch(target=recipe, space={"rate": [0.1, 0.2]}, folder=tmp_path)
    seen = []

    def report(self, number, step, value):
        seen.append((number, step))
        return number == 1 and step == 2

    monkeypatch.setattr(Ledger, "report", report)
    results = search.run(say=silent)
    assert seen == [(0, 1), (0, 2), (0, 3), (0, 4), (1, 1), (1, 2)]
    assert results["state"] == ["complete", "pruned"]
    assert results.trials[1].why == "pruned at validation 2"
    assert Status.read(tmp_path / "trials/0001").steps == 10


def test_worse_is_worse_than_the_median_of_the_others(tmp_path):
    plan = GridSearch(target=recipe, space={"rate": [*range(1, 9)]}, folder=tmp_path).plan(None)
    with plan.ledger() as ledger:
        for number in range(5):
            taken = ledger.take(plan.propose, None)
            assert not ledger.report(number, 1, 1.0 + number)
            ledger.done(taken, [1.0])
        for value, pruned in ((2.9, False), (3.1, True), (math.nan, False)):
            assert ledger.report(ledger.take(plan.propose, None).number, 1, value) is pruned


@pytest.mark.parametrize("prune", ["median", "halving"])
def test_what_no_validation_reports_prunes_nothing(tmp_path, prune):
    search = GridSearch(
        target=recipe, space={"rate": [0.1, 0.2]}, metric="valid/distance", mode="min",
        folder=tmp_path / "s", prune=prune,
    )  # fmt: skip
    told = "prune: 'valid/distance' is measured once.*prune='never'.*report: valid/loss"
    for workers in (1, 2) if prune == "median" else (1,):
        with pytest.raises(ConfigurationError, match=told):
            search.run(workers=workers, say=silent)
        assert not (tmp_path / "s").exists()


def test_what_no_validation_reports_is_measured_on_the_validation_split(tmp_path):
    search = GridSearch(
        target=recipe, space={"steps": [5, 10]}, metric="valid/distance", mode="min",
        folder=tmp_path / "s",
    )  # fmt: skip
    results = search.run(say=silent)
    trial = recipe.trials(Little(steps=5))[0]
    model = trial.load(tmp_path / "s/trials/0000")
    assert results["valid/distance"][0] == pytest.approx(trial.evaluate(model, "valid")["distance"])
    search = GridSearch(
        target=recipe, space={"steps": [5, 10]}, metric="valid/distnace", mode="min",
        folder=tmp_path / "t",
    )  # fmt: skip
    with pytest.raises(ConfigurationError, match="Did you mean 'valid/distance'"):
        search.run(say=silent)
    assert not (tmp_path / "t/trials").exists()


def square(x):
    return x * x


@pytest.mark.slow
def test_two_workers_share_the_trials(tmp_path):
    search = GridSearch(target=square, space={"x": Range(-3, 4)}, mode="min", folder=tmp_path / "s")
    lines = []
    results = search.run(workers=2, say=lines.append)
    assert results["value"] == [x * x for x in range(-3, 5)]
    assert len(lines) == 8
    assert results.best.setting == {"x": 0}


@pytest.mark.slow
def test_a_bayesian_search_beats_a_random_one():
    def branin(x, y):
        a = y - 5.1 / (4 * math.pi**2) * x**2 + 5 / math.pi * x - 6
        return a**2 + 10 * (1 - 1 / (8 * math.pi)) * math.cos(x) + 10

    space = {"x": Range(-5.0, 10.0), "y": Range(0.0, 15.0)}
    wins = 0
    for seed in range(8):
        found = [
            kind(target=branin, space=space, mode="min", seed=seed).run(60, say=silent).best.value
            for kind in (BayesianSearch, RandomSearch)
        ]
        wins += found[0] < found[1]
    assert wins >= 6
