"""Estimators of scikit-learn, measured by cross-validation."""

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from etude.errors import suggest
from etude.search.space import Space


@dataclass(frozen=True)
class CrossValidation:
    """The scores of an estimator of scikit-learn with given parameters, one for each fold.

    The folds are made once, so that all settings are measured on the same. They, and the scores,
    are those of `sklearn.model_selection.GridSearchCV` with the same arguments.

    Args:
        estimator: the estimator; it stays as it is.
        x: samples, one a row.
        y: their labels or targets.
        cv: number of folds, or a splitter of scikit-learn.
        scoring: name of a score of scikit-learn, or a scorer; None: the estimator's own. Larger is
            better.

    >>> from sklearn.datasets import load_iris
    >>> from sklearn.svm import SVC
    >>> x, y = load_iris(return_X_y=True)
    >>> [round(score, 4) for score in CrossValidation(SVC(), x, y, cv=3)(C=1.0)]
    [0.96, 0.98, 0.94]
    """

    estimator: Any
    x: Any
    y: Any = None
    cv: Any = 5
    scoring: Any = None

    @property
    def name(self) -> str:
        """The estimator, its folds and its score in words, the same in every process."""
        told = f"{self.estimator!r}, folds {self.cv!r}, score {self.scoring or 'its own'}"
        return re.sub(r" at 0x[0-9a-fA-F]+", "", told)  # where a function lies in memory

    @property
    def samples(self) -> str:
        """A digest of the samples, their labels and the folds that they are in."""
        import joblib  # scikit-learn needs it

        return str(joblib.hash((self.x, self.y, self._folds)))

    def __call__(self, **setting: Any) -> list[float]:
        """The scores of the folds. Raises what the estimator raises."""
        from sklearn.model_selection import cross_val_score

        scores = cross_val_score(
            self._with(setting),
            self.x,
            self.y,
            cv=self._folds,
            scoring=self.scoring,
            error_score="raise",
        )
        return [float(score) for score in scores]

    def fitted(self, setting: Mapping[str, Any]) -> Any:
        """The estimator with these parameters, fitted to all samples."""
        return self._with(setting).fit(self.x, self.y)

    def problems(self, space: Space, seeds: int) -> list[str]:
        """Sentences about names that are no parameters, the folds and the score."""
        try:
            known = self.estimator.get_params()
        except (AttributeError, TypeError):  # of a class, which is no estimator yet
            return [f"estimator is one of scikit-learn, as SVC(); got {self.estimator!r}."]
        kind = type(self.estimator).__name__
        found = [
            f"{name}: {kind} has no such parameter. {suggest(name, known)}"
            for name in (*space.varied, *space.constants)
            if name not in known
        ]
        if seeds != 1:
            found.append(
                f"seeds repeats a training; of {kind}, give a splitter that repeats, as "
                "cv=RepeatedStratifiedKFold()."
            )
        try:
            self._folds  # noqa: B018, made here, so that all workers have the same
        except (TypeError, ValueError) as error:
            found.append(f"cv={self.cv!r} makes no folds of the samples: {error}")
        return found + self._wrong_scoring()

    def _wrong_scoring(self) -> list[str]:
        from sklearn.metrics import check_scoring, get_scorer_names

        scoring: Any = self.scoring
        names: list[str] = list(get_scorer_names())
        if isinstance(scoring, str) and scoring not in names:
            # An abbreviation, as mae, has its name's initials.
            short = [name for name in names if _initials(name) == scoring.lower().strip("_")]
            near = short or difflib.get_close_matches(scoring, names)
            told = f"Did you mean {' or '.join(map(repr, near))}?" if near else ""
            way = told or "sklearn.metrics.get_scorer_names() has all of them."
            return [f"scoring: scikit-learn has no score {scoring!r}. {way}"]
        if scoring is not None and not isinstance(scoring, str) and not callable(scoring):
            return [f"scoring is the name of a score, or a scorer; got {scoring!r}."]
        try:
            check_scoring(self.estimator, scoring)
        except (TypeError, ValueError) as error:
            return [f"scoring={scoring!r}: {error}"]
        return []

    def _with(self, setting: Mapping[str, Any]) -> Any:
        from sklearn.base import clone

        return clone(self.estimator).set_params(**setting)

    @cached_property
    def _folds(self) -> list[tuple[np.ndarray, np.ndarray]]:
        from sklearn.base import is_classifier
        from sklearn.model_selection import check_cv

        folds = check_cv(self.cv, self.y, classifier=is_classifier(self.estimator))
        return list(folds.split(self.x, self.y))


def _initials(name: str) -> str:
    """Of `neg_mean_absolute_error`, mae."""
    return "".join(part[0] for part in name.removeprefix("neg_").split("_"))
