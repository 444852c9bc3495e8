"""Metrics for MLflow."""

import re
import time
from pathlib import Path
from typing import Any

from etude.callbacks.base import Event
from etude.callbacks.loggers import Logger, run_config
from etude.callbacks.writer import Scalars

#: What MLflow takes in one call.
METRICS, PARAMS = 1000, 100
TAG = "etude.identity"


class MLflowLogger(Logger):
    """Writes a run of MLflow: metrics `phase/train/loss`, and the configuration as parameters.

    A resume goes on with the same run, found by a tag.

    Args:
        experiment: its name; made if it is not there.
        name: of the run; MLflow makes one up, if None.
        uri: of the store, `http://server:5000` or `sqlite:////path/mlflow.db`; an SQLite file
            `mlflow.db` beside the run folder (or here, without a run), if None, where all runs
            can be compared: `mlflow ui --backend-store-uri sqlite:///runs/mlflow.db`.
        every: of each so many steps, the first is written.

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

    def open(self, event: Event) -> None:
        from mlflow import MlflowClient
        from mlflow.entities import Param

        folder = (Path("run") if event.folder is None else event.folder).absolute().parent
        client = self._client = MlflowClient(self.uri or f"sqlite:///{folder / 'mlflow.db'}")
        known = client.get_experiment_by_name(self.experiment)
        if known is None:
            artifacts = None if self.uri else (folder / "mlruns").as_uri()
            there = client.create_experiment(self.experiment, artifacts)
        else:
            there = known.experiment_id
        mine = client.search_runs([there], f"tags.`{TAG}` = '{self.identity}'")
        if mine:
            self._run = mine[0].info.run_id
            client.update_run(self._run, status="RUNNING")
            return
        run = client.create_run(there, tags={TAG: self.identity}, run_name=self.name)
        self._run = run.info.run_id
        params = [Param(_key(name), str(value)) for name, value in run_config(event).items()]
        for first in range(0, len(params), PARAMS):
            client.log_batch(self._run, params=params[first : first + PARAMS])

    def write(self, scalars: Scalars) -> None:
        from mlflow.entities import Metric

        now = int(1000 * time.time())
        metrics = [
            Metric(_key(name), value, now, step)
            for step, row in scalars.rows()
            for name, value in row.items()
        ]
        for first in range(0, len(metrics), METRICS):
            self._client.log_batch(self._run, metrics=metrics[first : first + METRICS])

    def close(self, failed: bool) -> None:
        self._client.set_terminated(self._run, "FAILED" if failed else "FINISHED")


def _key(name: str) -> str:
    """A name that MLflow takes: letters, digits, and `_-. :/`."""
    return re.sub(r"[^\w\-. :/]", "_", name)
