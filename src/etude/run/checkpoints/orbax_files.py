"""Arrays of checkpoints up to format 2, which Orbax wrote: the only module that knows it."""

import logging
import re
import tempfile
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import ModuleType

import numpy as np

from etude.errors import RunError


def read_packed(folder: Path, keys: Iterable[str]) -> dict[str, np.ndarray]:
    """Read the arrays named `keys`, on the host."""
    ocp = _orbax()
    restore_args = {key: ocp.RestoreArgs(restore_type=np.ndarray) for key in keys}
    if not restore_args:
        return {}
    handler = ocp.PyTreeCheckpointHandler(use_ocdbt=True)
    with ocp.Checkpointer(handler) as checkpointer, _plain(folder) as path:
        arguments = ocp.args.PyTreeRestore(restore_args=restore_args)
        return dict(checkpointer.restore(path, args=arguments))


@contextmanager
def _plain(folder: Path) -> Generator[Path, None, None]:
    """A path of `folder` that TensorStore takes literally: through a link, where it would not.

    It reads `[1]` as a pattern and a backslash as a separator, and cannot take bytes that are no
    UTF-8.
    """
    path = folder.absolute()
    if _is_plain(str(path)):
        yield path
        return
    temporary = tempfile.gettempdir()
    place = temporary if _is_plain(temporary) else "/tmp"
    with tempfile.TemporaryDirectory(prefix="etude-", dir=place) as links:
        link = Path(links) / "run"
        link.symlink_to(path.parent, target_is_directory=True)
        yield link / path.name


def _is_plain(path: str) -> bool:
    return re.fullmatch(r"[\w/.,=+@ -]*", path) is not None


@cache
def _orbax() -> ModuleType:
    try:
        import orbax.checkpoint as ocp
    except ImportError as error:
        raise RunError(
            "This run was saved by Orbax (checkpoints up to format 2), which is not installed: "
            "pip install 'etude[orbax]'."
        ) from error
    # Orbax tells every step of a save to absl's logger, which it shares with others.
    logging.getLogger("absl").addFilter(lambda record: "orbax" not in record.pathname)
    return ocp
