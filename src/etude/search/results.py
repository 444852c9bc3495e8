"""What a search has found: columns, the best setting, how trials ended."""

import statistics
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from etude.engine.direction import Mode, best
from etude.errors import ColumnError, ConfigurationError, RunError, suggest
from etude.search.backend import open_storage, optuna_or_refuse
from etude.search.record import RECORD, recorded
from etude.search.space import Space
from etude.table import Table

if TYPE_CHECKING:
    import pandas
    from optuna.trial import FrozenTrial

#: How a trial stands.
STATES = ("running", "complete", "pruned", "diverged", "failed")


@dataclass(frozen=True)
class Found:
    """A trial.

    Attributes:
        number: its place among the trials, from 0; its folder is `trials/0007` for 7.
        state: "running" (or left by a worker that died), "complete", "pruned" (stopped, because
            others were better by then), "diverged" (a value was not finite) or "failed".
        setting: the values of what is varied.
        value: the mean of `values`; None unless it is complete.
        values: the metric of each seed, or of each fold.
        same_as: number of the earlier trial with the same setting, of which the value is.
        why: what ended it, unless it is complete.
    """

    number: int
    state: str
    setting: Mapping[str, Any]
    value: float | None
    values: tuple[float, ...] = ()
    same_as: int | None = None
    why: str = ""

    @property
    def spread(self) -> float | None:
        """The sample standard deviation of several values; None of a single one."""
        return statistics.stdev(self.values) if len(self.values) > 1 else None

    @property
    def shown(self) -> str:
        """Its value as text, with the spread.

        >>> Found(0, "complete", {}, 0.5, (0.25, 0.75)).shown
        '0.5 ± 0.354'
        """
        if self.value is None:
            return self.state
        return f"{self.value:.5g}" + ("" if self.spread is None else f" ± {self.spread:.3g}")


@dataclass(frozen=True)
class Results:
    """The trials of a search.

    Attributes:
        trials: all of them, by number.
        space: what was varied.
        metric: what settings are compared by.
        mode: whether small or large values are better.
        folder: that of the search.
        optuna_trials: the trials as Optuna has them.
    """

    trials: tuple[Found, ...]
    space: Space
    metric: str
    mode: Mode
    folder: Path | None = None
    optuna_trials: "tuple[FrozenTrial, ...]" = ()

    @classmethod
    def open(cls, folder: str | Path, storage: str | None = None) -> "Results":
        """Those of the search in a folder, as far as it is; it may be under way.

        `storage` is the URL of its database, needed if that has a password.

        Raises `RunError` if there is no search, `ConfigurationError` if its storage cannot be
        reached.
        """
        place = Path(folder)
        record = recorded(place)
        optuna = optuna_or_refuse()
        if storage is None and "***" in (record["storage"] or ""):
            raise ConfigurationError(
                f"The storage of {place}, {record['storage']}, has a password, which is not kept: "
                "give its URL in Python, Results.open(folder, storage='...') or "
                "write_report(folder, storage='...')."
            )
        kept = open_storage(storage or record["storage"], place)
        try:
            study = optuna.load_study(study_name=record["study"], storage=kept)
        except KeyError:
            raise RunError(f"{place}: the storage of the search does not hold it.") from None
        space = Space.of(record["space"])
        try:
            return results_of(study.get_trials(), space, record["metric"], record["mode"], place)
        except RunError as error:
            raise RunError(f"{place / RECORD}: {error}") from None

    @property
    def has_best(self) -> bool:
        """Whether any trial has a value."""
        return any(found.value is not None for found in self.trials)

    @property
    def best(self) -> Found:
        """The trial with the best value, the first of equals.

        Raises `ConfigurationError` if none is complete.
        """
        complete = [found for found in self.trials if found.value is not None]
        value = best(self.mode, (found.value for found in complete if found.value is not None))
        if value is None:
            raise ConfigurationError(f"No trial of the search has a value: {self.stands}.")
        return next(found for found in complete if found.value == value)

    @property
    def stands(self) -> str:
        """How many trials ended in which way, in words."""
        counts = Counter(found.state for found in self.trials)
        told = ", ".join(f"{counts[state]} {state}" for state in STATES if counts[state])
        return told or "there are none"

    @property
    def columns(self) -> dict[str, list[Any]]:
        """A list for each column, with a row for each trial; None where there is no value."""
        rows = self.trials
        return {
            "trial": [found.number for found in rows],
            "state": [found.state for found in rows],
            **{name: [found.setting[name] for found in rows] for name in self.space.varied},
            self.metric: [found.value for found in rows],
            "spread": [found.spread for found in rows],
            "same_as": [found.same_as for found in rows],
        }

    def __getitem__(self, name: str) -> list[Any]:
        """A column. Raises `ColumnError` for a name that there is not."""
        columns = self.columns
        if name not in columns:
            raise ColumnError(f"The search has no column {name!r}. {suggest(name, columns)}")
        return columns[name]

    def to_pandas(self) -> "pandas.DataFrame":
        """The columns as a table. Raises `ConfigurationError` if pandas is not installed."""
        try:
            import pandas
        except ImportError:
            raise ConfigurationError(
                "Results.to_pandas needs the package pandas: pip install pandas. "
                "results.columns gives lists without it."
            ) from None
        return pandas.DataFrame(self.columns)

    def table(self, count: int = 5) -> Table:
        """The best trials, the best first."""
        sign = 1 if self.mode == "min" else -1
        complete = [t for t in self.trials if t.value is not None and t.same_as is None]
        complete.sort(key=lambda found: (sign * (found.value or 0.0), found.number))
        rows = [
            (str(t.number), *(_cell(t.setting[name]) for name in self.space.varied), t.shown)
            for t in complete[:count]
        ]
        return Table(("trial", *self.space.varied, self.metric), tuple(rows))


def results_of(
    trials: "list[FrozenTrial]", space: Space, metric: str, mode: Mode, folder: Path | None
) -> Results:
    """What Optuna's trials say."""
    found = tuple(_found(trial, space) for trial in trials)
    return Results(found, space, metric, mode, folder, tuple(trials))


def best_as_yaml(results: Results, configuration: Mapping[str, Any]) -> str:
    """The best configuration as a file that `etude train RECIPE --config` takes."""
    found = results.best
    head = f"# Trial {found.number} of {len(results.trials)}: {results.metric} {found.shown}\n"
    return head + yaml.safe_dump(dict(configuration), sort_keys=False, allow_unicode=True)


def _found(trial: "FrozenTrial", space: Space) -> Found:
    kept, state = trial.user_attrs, trial.state.name.lower()
    how, why = kept.get("end", ("failed" if state == "fail" else state, ""))
    complete = state == "complete"
    return Found(
        trial.number,
        "running" if not trial.state.is_finished() else "complete" if complete else how,
        space.decoded(trial.params),
        trial.value if complete else None,
        tuple(kept.get("values", ())) if complete else (),
        kept.get("same_as"),
        "" if complete else why,
    )


def _cell(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
