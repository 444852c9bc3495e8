"""The run directory of a training: configuration, history, checkpoints, figures and report.

It knows nothing of models and trainings, and loads Orbax and matplotlib when they are used.
"""

from etude.run.append_file import WriteError
from etude.run.checkpoints import CheckpointStore, Restored
from etude.run.compare import compare_leaves
from etude.run.directory import Run
from etude.run.durations import Durations
from etude.run.folder import from_recipe, way_on
from etude.run.history import Column, History
from etude.run.history_tables import Summary
from etude.run.report import write_report
from etude.run.status import Status

__all__ = [
    "CheckpointStore",
    "Column",
    "Durations",
    "History",
    "Restored",
    "Run",
    "Status",
    "Summary",
    "WriteError",
    "compare_leaves",
    "from_recipe",
    "way_on",
    "write_report",
]
