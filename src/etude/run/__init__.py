"""The run directory of a training: configuration, history, checkpoints, figures and report.

It imports nothing of etude outside this folder, and loads Orbax and matplotlib when they are used.
"""

from etude.run.checkpoint import CheckpointError, CheckpointStore, Restored
from etude.run.compare import compare_leaves

__all__ = ["CheckpointError", "CheckpointStore", "Restored", "compare_leaves"]
