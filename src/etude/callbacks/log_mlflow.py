"""Metrics for MLflow."""

import hashlib
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from etude.callbacks.base import Event
from etude.callbacks.loggers import Logger, run_config
from etude.callbacks.writer import Scalars

#: What MLflow takes in one call, and the longest names and values of parameters.
METRICS, PARAMS = 1000, 100
NAME, VALUE = 250, 6000
TAG, PARENT = "etude.identity", "mlflow.parentRunId"


class MLflowLogger(Logger):
    """Writes a run of MLflow: metrics `phase/train/loss`, and the configuration as parameters.

    A resume goes on with the same run, found by a tag, and leaves out the steps that are there.
    MLflow takes nothing back, so what a roll-back makes again, with other numbers, goes into a run
    nested in the one before: no run has a step twice.

    Args:
        experiment: name of the experiment; made if it is not there.
        name: name of the run; MLflow makes one up, if None.
        uri: address of the store, `http://server:5000` or `sqlite:////path/mlflow.db`; an SQLite
            file `mlflow.db` beside the run folder (without a run: in the working directory), if
            None, where all runs can be compared:
            `mlflow ui --backend-store-uri sqlite:///runs/mlflow.db`.
        every: steps between records; the first step of each group is written.

    Needs the extra `mlflow`.

    >>> MLflowLogger("bearings").experiment
    'bearings'
    """

    package, extra = "mlflow", "mlflow"

    def __init__(
        self,
        experiment: str = "etude",
        name: str | None = None,
        uri: str | None = None,
        every: int = 50,
    ):
        super().__init__(every)
        self.experiment, self.name, self.uri = experiment, name, uri
        self._client: Any = None
        self._run = ""
        # The last step that the run has had of each metric before this sitting.
        self._had: dict[str, int] = {}

    def open(self, event: Event) -> None:
        from mlflow import MlflowClient

        folder = (Path("run") if event.folder is None else event.folder).absolute().parent
        client = self._client = MlflowClient(self.uri or f"sqlite:///{folder / 'mlflow.db'}")
        known = client.get_experiment_by_name(self.experiment)
        if known is None:
            artifacts = None if self.uri else (folder / "mlruns").as_uri()
            there = client.create_experiment(self.experiment, artifacts)
        else:
            there = known.experiment_id
        before, self._run, self._had = self._run, "", {}
        tag = f"{self.identity}-{self.branch}" if self.branch else self.identity
        mine = client.search_runs([there], f"tags.`{TAG}` = '{tag}'")
        if mine:
            self._run = mine[0].info.run_id
            client.update_run(self._run, status="RUNNING")
            for name in mine[0].data.metrics:
                points = client.get_metric_history(self._run, name)
                self._had[name] = max(point.step for point in points)
            return
        link = {PARENT: before} if self.branch and before else {}
        run = client.create_run(there, tags={TAG: tag, **link}, run_name=self.name)
        self._run = run.info.run_id
        params = _params(run_config(event))
        for first in range(0, len(params), PARAMS):
            client.log_batch(self._run, params=params[first : first + PARAMS])

    def write(self, scalars: Scalars) -> None:
        from mlflow.entities import Metric

        now = int(1000 * time.time())
        metrics = [
            Metric(key, value, now, step)
            for step, row in scalars.rows()
            for name, value in row.items()
            if step > self._had.get(key := _key(name), -1)
        ]
        for first in range(0, len(metrics), METRICS):
            self._client.log_batch(self._run, metrics=metrics[first : first + METRICS])

    def close(self, failed: bool) -> None:
        if self._run:
            self._client.set_terminated(self._run, "FAILED" if failed else "FINISHED")


def _params(config: Mapping[str, Any]) -> list[Any]:
    """The configuration as parameters, of names and lengths that MLflow takes."""
    from mlflow.entities import Param

    found: dict[str, str] = {}
    for name, value in config.items():
        key, text = _key(name), str(value)
        key = _marked(key, name) if key in found else key
        found[key] = text if len(text) <= VALUE else f"{text[: VALUE - 3]}..."
    return [Param(key, text) for key, text in found.items()]


def _key(name: str) -> str:
    """A name that MLflow takes: letters, digits, and `_-. :/`, a path that leads down, not long.

    >>> _key("fit+1/train/loss"), _key("a//b"), len(_key(1000 * "x"))
    ('fit_1/train/loss', 'a/_/b', 250)
    """
    parts = [re.sub(r"[^\w\-. :]", "_", part) for part in name.split("/")]
    key = "/".join("_" if part in ("", ".", "..") else part for part in parts)
    return key if len(key) <= NAME else _marked(key, name)


def _marked(key: str, name: str) -> str:
    """A key that says which of several names it stands for."""
    return f"{key[: NAME - 9]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
