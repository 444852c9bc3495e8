"""What a search is told beside its space is refused by name, before any work."""

import jaxtyping
import pytest
from sklearn.datasets import load_iris
from sklearn.svm import SVC

from etude.errors import ConfigurationError
from etude.search import CrossValidation, GridSearch


@pytest.fixture
def unchecked():
    """As users have it: annotations are not checked at run time."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


def refused(**options):
    arguments = {"target": lambda x: float(x), "space": {"x": [1, 2]}, "mode": "min"} | options
    with pytest.raises(ConfigurationError) as error:
        GridSearch(**arguments).run(say=lambda line: None)
    return str(error.value)


@pytest.mark.parametrize(
    ("option", "value", "told"),
    [
        ("metric", "", "metric is a name, as valid/loss; got ''."),
        ("metric", 3, "a metric is named by text, as 'valid/loss'; got 3."),
        ("folder", "", "folder is the path of a folder; got ''."),
        ("folder", 3, "folder is the path of a folder; got 3."),
        ("storage", 3, "storage is the URL of a database, as sqlite:///a.db; got 3."),
        ("storage", "", "storage is the URL of a database, as sqlite:///a.db; got ''."),
        ("constraints", 3, "functions of a setting; got 3. For none, leave it out."),
        ("constraints", None, "functions of a setting; got None. For none, leave it out."),
        ("constraints", [3], "A constraint is an expression or a function; got 3."),
        ("prune", ["median"], "prune is one of median, halving, never; got ['median']."),
        ("prune", 3, "prune is one of median, halving, never; got 3."),
        ("seeds", 1.5, "seeds is a whole number from 1; got 1.5."),
        ("seeds", "2", "seeds is a whole number from 1; got '2'."),
    ],
    ids=str,
)
def test_an_option_that_is_none_is_refused_by_name(option, value, told, unchecked):
    message = refused(**{option: value})
    assert told in message
    assert len(message.splitlines()) == 1, message


def test_a_mode_is_refused_where_it_is_given(unchecked):
    with pytest.raises(ConfigurationError, match=r"got 'maximum'\. Did you mean 'max'\?"):
        GridSearch(target=abs, space={}, mode="maximum")
    message = refused(prune="medain")
    assert message == (
        "prune is one of median, halving, never; got 'medain'. Did you mean 'median'?"
    )


def test_a_constraint_that_raises_is_named():
    def small(setting):
        return setting["y"] < 3

    message = refused(constraints=small)
    assert "small cannot be computed of {'x': 1}: KeyError: 'y'" in message


@pytest.mark.parametrize("estimator", [SVC, 3], ids=["class", "number"])
def test_what_is_no_estimator_is_refused(estimator):
    message = refused(target=CrossValidation(estimator, [[1]], [1]), mode=None)
    assert message.startswith("estimator is one of scikit-learn, as SVC(); got ")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"scoring": "mae"}, "no score 'mae'. Did you mean 'neg_mean_absolute_error' or"),
        ({"scoring": "acuracy"}, "no score 'acuracy'. Did you mean 'accuracy'"),
        ({"scoring": "zzz"}, "no score 'zzz'. sklearn.metrics.get_scorer_names() has all"),
        ({"scoring": ["accuracy"]}, "or a scorer; got ['accuracy']."),
        ({"cv": 1}, "cv=1 makes no folds of the samples: k-fold"),
    ],
    ids=["initials", "near", "none", "list", "folds"],
)
def test_a_score_is_checked_before_the_first_trial(options, told):
    target = CrossValidation(SVC(), *load_iris(return_X_y=True), **options)
    message = refused(target=target, space={"C": [1, 2]}, mode=None)
    assert told in message
