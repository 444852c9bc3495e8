"""The run directory of a training: configuration, history, checkpoints, figures and report.

It imports nothing of etude outside this folder, and loads Orbax and matplotlib when they are used.
"""

from etude.run.checkpoint import CheckpointError, CheckpointStore, Restored
from etude.run.compare import compare_leaves
from etude.run.directory import Run
from etude.run.history import History

__all__ = ["CheckpointError", "CheckpointStore", "History", "Restored", "Run", "compare_leaves"]
