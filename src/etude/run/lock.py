"""One training writes a run at a time, in this process and in all others.

>>> import tempfile
>>> lock = Lock(Path(tempfile.mkdtemp()) / "lock")
>>> lock.in_place()
True
>>> lock.release()
"""

import os
from pathlib import Path

from etude.errors import LockedError, RunError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None


def refuse_without_locks() -> None:
    """Raise RunError on a system where no run can be written."""
    if fcntl is None:
        raise RunError(
            "etude's run folders need a system with fcntl: Linux or macOS; train without `run`, or "
            "under WSL"
        )


class Lock:
    """Holds the file `path` until `release`, or until this process dies, however it dies.

    `flock` belongs to an open file, so it keeps out other threads as well as other processes, and
    reading the file elsewhere does not drop it, as it would a POSIX record lock.

    Raises LockedError, with the process that holds it, or OSError if the file cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        assert fcntl is not None
        self._path = path
        self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        _HELD.add(self)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(self._file, 0)
            os.write(self._file, f"{os.getpid()}\n".encode())
        except BlockingIOError:
            holder = os.read(self._file, 32).decode(errors="replace").strip()
            self.release()
            here = ", this one, in another training" if holder == str(os.getpid()) else ""
            raise LockedError(
                f"{path.parent} is being written by process {holder or 'unknown'}{here}: "
                "wait for it, stop it, or train into another folder"
            ) from None
        except BaseException:
            self.release()
            raise

    def in_place(self) -> bool:
        """Whether the file is still where it was made: the folder not deleted, moved or replaced.

        Two system calls, so it can be asked after every chunk of a training.
        """
        try:
            return os.path.samestat(os.stat(self._path), os.fstat(self._file))
        except (FileNotFoundError, NotADirectoryError):
            return False

    def release(self) -> None:
        """Let others have the run."""
        if self in _HELD:
            _HELD.remove(self)
            os.close(self._file)


def is_held(path: Path) -> bool:
    """Whether a training holds the lock at `path`, here or in another process.

    A lock that nobody holds is shared with others who ask, for as long as the question takes.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "lock"
    >>> lock = Lock(path)
    >>> is_held(path), lock.release(), is_held(path)
    (True, None, False)
    """
    if fcntl is None:
        return False
    try:
        file = os.open(path, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # a file system without locks: then no run was written there
        return False
    finally:
        os.close(file)
    return False


# What is held in this process; only `_leave` reads it.
_HELD: set[Lock] = set()


def _leave() -> None:
    """Close inherited files in a forked child: a data worker must not hold a run that was killed.

    Closing leaves the lock to the parent; unlocking would take it from both.
    """
    for lock in list(_HELD):
        lock.release()


if fcntl is not None:
    os.register_at_fork(after_in_child=_leave)
