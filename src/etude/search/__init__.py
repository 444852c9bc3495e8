"""Search: the settings with which a recipe, a function or an estimator does best.

Needs the extra `search` (Optuna 5), which is imported when a search runs.
"""

from etude.search.constraints import Expression as Expression
from etude.search.estimators import CrossValidation as CrossValidation
from etude.search.figures import (
    importances as importances,
    plot_history as plot_history,
    plot_importances as plot_importances,
    plot_map as plot_map,
    plot_parallel as plot_parallel,
    plot_slices as plot_slices,
)
from etude.search.report import write_report as write_report
from etude.search.results import Found as Found, Results as Results
from etude.search.searches import (
    AbstractSearch as AbstractSearch,
    BayesianSearch as BayesianSearch,
    GridSearch as GridSearch,
    RandomSearch as RandomSearch,
)
from etude.search.space import Range as Range, Space as Space
