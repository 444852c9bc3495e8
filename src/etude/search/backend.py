"""Optuna, imported when it is needed, and where its study is kept.

The journal is a file of JSON lines in the folder of the search, in the format of Optuna's own
(`optuna.storages.journal.JournalFileBackend` reads it). Ours differs in what a kill leaves: a lock
of the system, which is free when its process has died, and a line that was cut off, which the
next writer removes.
"""

import contextlib
import json
import os
import re
import warnings
from collections.abc import Generator, Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from etude.errors import ConfigurationError, RunError
from etude.kinds import is_mapping

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

#: Seconds between two signs of life of a trial, and until one that gives none counts as dead.
BEAT, GRACE = 30, 120
#: Seconds to wait for a proxy.
WAIT = 10
JOURNAL = "journal.log"
CURE = (
    "Remove what does not belong there, or put back a copy; a journal that ends before it is no "
    "harm, the search goes on from there."
)


def optuna_or_refuse() -> ModuleType:
    """The module. Raises `ConfigurationError` if it is not installed, or is too old."""
    try:
        import optuna
    except ImportError:
        raise ConfigurationError(
            "A search needs Optuna: pip install 'etude[search]'. A grid over an estimator of "
            "scikit-learn needs none: sklearn.model_selection.GridSearchCV."
        ) from None
    if int(optuna.__version__.partition(".")[0]) < 5:
        raise ConfigurationError(
            f"A search needs Optuna 5 or newer; got {optuna.__version__}. "
            "pip install --upgrade 'etude[search]'"
        )
    return optuna


@contextlib.contextmanager
def quiet() -> Generator[None, None, None]:
    """Within, Optuna says nothing: what a search says is its own."""
    logging = optuna_or_refuse().logging
    before = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)
    try:
        yield
    finally:
        logging.set_verbosity(before)


def open_storage(url: str | None, folder: Path | None) -> "BaseStorage":
    """The database at `url`, or the journal in a folder, or, without either, the memory.

    Raises `ConfigurationError` if it cannot be reached, `RunError` if the journal is damaged.
    """
    optuna = optuna_or_refuse()
    if url is not None:
        return _database(optuna, url)
    if folder is None:
        return optuna.storages.InMemoryStorage()
    path = folder / JOURNAL
    try:
        return optuna.storages.JournalStorage(_journal(path))
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, AssertionError) as error:
        if isinstance(error, RunError):
            raise
        raise RunError(f"{path} is damaged: a line says what cannot be. {CURE}") from error


def shown(url: str) -> str:
    """A URL without its password.

    >>> shown("mysql://me:secret@host/db"), shown("sqlite:///a.db")
    ('mysql://me:***@host/db', 'sqlite:///a.db')
    >>> shown("postgresql://host/db?user=me&password=secret&port=1")
    'postgresql://host/db?user=me&password=***&port=1'
    """
    url = re.sub(r"([?&](?:password|passwd)=)[^&]*", r"\1***", url)
    head, at, rest = url.rpartition("@")
    scheme, slashes, user = head.partition("://")
    name, colon, _ = user.partition(":")
    return f"{scheme}{slashes}{name}:***@{rest}" if at and colon else url


def _database(optuna: ModuleType, url: str) -> "BaseStorage":
    try:
        if url.startswith("grpc://"):
            return _proxy(optuna, url)
        arguments = {"connect_args": {"timeout": 60}} if url.startswith("sqlite") else {}
        with warnings.catch_warnings():  # the heartbeat is called experimental
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return optuna.storages.RDBStorage(
                url, engine_kwargs=arguments, heartbeat_interval=BEAT, grace_period=GRACE
            )
    except Exception as error:  # of SQLAlchemy, of any driver, of gRPC
        told = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        told = told.replace(url, shown(url))
        raise ConfigurationError(
            f"The storage {shown(url)} cannot be reached: {told}. Give the "
            "URL of a database, as sqlite:///search.db or postgresql://user:password@host/name, or "
            "of a proxy, grpc://host:13000."
        ) from None


def _proxy(optuna: ModuleType, url: str) -> "BaseStorage":
    """The storage behind a server of `optuna.storages.run_grpc_proxy_server`."""
    parts = urlsplit(url)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        proxy = optuna.storages.GrpcStorageProxy(
            host=parts.hostname or "localhost", port=parts.port or 13000
        )
    proxy.wait_server_ready(timeout=WAIT)
    return proxy


def _journal(path: Path) -> Any:
    from optuna.storages.journal import BaseJournalBackend

    class Journal(BaseJournalBackend):
        """One JSON value a line; who appends holds a lock of the system on the file."""

        def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:
            # Each worker reads on where it stopped.
            place = offsets.get(log_number_from, 0)
            with path.open("rb") as file:
                file.seek(place)
                number = log_number_from if place else 0
                for line in file:
                    if not line.endswith(b"\n"):
                        return  # being written, or cut off
                    place += len(line)
                    number += 1
                    offsets[number] = place
                    if number > log_number_from:
                        yield _log(path, number, line)

        def append_logs(self, logs: list[dict[str, Any]]) -> None:
            text = "".join(json.dumps(log, separators=(",", ":")) + "\n" for log in logs)
            with locked(path) as file:
                os.ftruncate(file, whole_lines(path))
                os.lseek(file, 0, os.SEEK_END)
                data = text.encode()
                while data:
                    data = data[os.write(file, data) :]
                os.fsync(file)

    offsets: dict[int, int] = {}
    if not path.exists():
        path.touch()
    return Journal()


def _log(path: Path, number: int, line: bytes) -> dict[str, Any]:
    """What a line of a journal says. Raises `RunError` if it says nothing."""
    try:
        log = json.loads(line)
    except ValueError:  # also of bytes that are no text
        log = None
    if not is_mapping(log) or not {"op_code", "worker_id"} <= set(log):
        raise RunError(
            f"{path} is damaged: line {number} is no entry of a journal; got {line[:40]!r}. {CURE}"
        )
    return dict(log)


@contextlib.contextmanager
def locked(path: Path) -> Generator[int, None, None]:
    """Within, no other process or thread holds the lock of a file; waits until it is free."""
    import fcntl  # late: Windows has none, and no runs

    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield file
    finally:
        os.close(file)


def whole_lines(path: Path) -> int:
    """The length of a file up to its last end of a line."""
    with path.open("rb") as file:
        end = file.seek(0, os.SEEK_END)
        place = end
        while place > 0:
            start = max(0, place - 4096)
            file.seek(start)
            cut = file.read(place - start).rfind(b"\n")
            if cut >= 0:
                return start + cut + 1
            place = start
    return 0
