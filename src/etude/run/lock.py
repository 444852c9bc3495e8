"""One process writes a run at a time.

>>> import tempfile
>>> lock = Lock(Path(tempfile.mkdtemp()) / "lock")
>>> lock.release()
"""

import fcntl
import os
from pathlib import Path


class LockedError(RuntimeError):
    """Another process writes this run."""


class Lock:
    """Holds the file `path` until `release`, or until this process dies, however it dies.

    A POSIX record lock (`fcntl.lockf`): unlike `flock`, forked data workers that outlive a killed
    trainer do not inherit it. It keeps other processes out, not other threads of this one.
    """

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.read(self._descriptor, 32).decode(errors="replace").strip()
            os.close(self._descriptor)
            raise LockedError(
                f"{path.parent} is being written by process {holder or 'unknown'}: "
                "wait for it, stop it, or train into another folder"
            ) from None
        os.ftruncate(self._descriptor, 0)
        os.write(self._descriptor, f"{os.getpid()}\n".encode())

    def release(self) -> None:
        """Let other processes have the run."""
        os.close(self._descriptor)
