"""What one is told about a run: how to go on with it.

>>> way_on(Path("runs/of my own"))
'trainer.resume()'
"""

import shlex
from pathlib import Path
from typing import Any

import yaml


def from_recipe(config: Any) -> bool:
    """Whether the configuration of a run says which recipe made it: the command line can go on.

    >>> from_recipe({"phases": ["fit"]})
    False
    """
    return isinstance(config, dict) and "recipe" in config and "configuration" in config


def way_on(folder: Path, options: str = "", arguments: str = "") -> str:
    """How to go on with the run in `folder`: on the command line if it began there, or in Python.

    `options` are of the command, `arguments` of the method.
    """
    try:
        config = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        config = None
    if from_recipe(config):
        return f"etude resume {shlex.quote(str(folder))}{options}"
    return f"trainer.resume({arguments})"
