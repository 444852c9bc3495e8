"""The processes of one training: what the first of them decides, all do.

Every process runs the same program on its own devices. What depends on a clock, a file or a
callback would be another thing in each, and the devices would wait for one another for ever; so it
is decided in one process, and told to the others through the coordination service that
`jax.distributed.initialize` has started. All processes call the methods here in the same order.
JAX loads inside, because the command line imports this.

>>> together = processes()
>>> together.is_first, together.count, together.first_says(lambda: 3), together.all_say("a")
(True, 1, 3, ['a'])
"""

import hashlib
import itertools
import json
from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Any, Protocol, TypeVar, cast, runtime_checkable

import etude.errors
from etude.errors import ConfigurationError, EtudeError, ProcessLostError, UsageError

#: What is told is JSON.
Told = Any

T = TypeVar("T")

#: Milliseconds that a process waits for another, which may be compiling; one that has died is
#: noticed by its missing heartbeats, much earlier.
PATIENCE = 24 * 3600 * 1000

#: Differences that are listed; more help nobody.
LISTED = 10


@runtime_checkable
class Client(Protocol):
    """What is used of the coordination service."""

    def key_value_set(self, key: str, value: str) -> None: ...
    def blocking_key_value_get(self, key: str, timeout_in_ms: int) -> str: ...
    def key_value_delete(self, key: str) -> None: ...


class Processes:
    """The processes that `jax.distributed` has joined, as one of them sees them; or one alone."""

    def __init__(self, number: int = 0, count: int = 1, client: Client | None = None):
        self.number, self.count, self._client = number, count, client
        self._messages, self._polls = itertools.count(), itertools.count()
        self._held: list[str] = []

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes files and shows progress."""
        return self.number == 0

    @property
    def alone(self) -> bool:
        """Whether there is no other."""
        return self.count == 1

    def first_says(self, make: Callable[[], Told]) -> Told:
        """What `make` returns in the first process; in the others it is not called.

        Within, the process is alone. An `EtudeError` or `OSError` that it raises is raised by
        all. Raises `ProcessLostError` if the first
        process is gone.
        """
        if self._client is None:
            return make()
        key = f"etude/{next(self._messages)}"
        if not self.is_first:
            return self._opened(self._get(key))
        token = _BY_ITSELF.set(True)
        try:
            told = make()
        except (EtudeError, OSError) as error:
            self._set(key, {"error": _kind(error), "text": str(error)})
            raise
        finally:
            _BY_ITSELF.reset(token)
        self._set(key, {"told": told})
        return told

    def all_say(self, mine: Told) -> list[Told]:
        """What every process has passed, by their numbers; each waits for all.

        Raises `ProcessLostError` if one is gone.
        """
        if self._client is None:
            return [mine]
        key, before = f"etude/{next(self._messages)}", self._held
        self._held = []
        self._set(f"{key}/{self.number}", {"told": mine})
        told = [self._opened(self._get(f"{key}/{number}")) for number in range(self.count)]
        for old in before:  # all processes are here, and have read what came before
            self._client.key_value_delete(old)
        return told

    def all_do(self, do: Callable[[], T]) -> T:
        """What `do` returns here. An `EtudeError` or `OSError` in any process all raise.

        Raises `ProcessLostError` if a process is gone.
        """
        mine: EtudeError | OSError | None = None
        made: list[T] = []
        try:
            made.append(do())
        except (EtudeError, OSError) as error:
            mine = error
        told = self.all_say(None if mine is None else [_kind(mine), str(mine)])
        if mine is not None:
            raise mine
        for number, other in enumerate(told):
            if other is not None:
                raise _named(other[0])(f"Process {number}: {other[1]}")
        return made[0]

    def all_agree(self, mine: dict[str, Told]) -> None:
        """Does nothing if all processes pass the same.

        Raises:
            ConfigurationError: in every process, with what differs, if they do not.
            ProcessLostError: one of them is gone.
        """
        first, *others = self.all_say(mine)
        problems = [
            f"  {name}: process 0 has {first.get(name)!r}, process {number} {other.get(name)!r}"
            for number, other in enumerate(others, 1)
            for name in sorted({*first, *other})
            if other.get(name) != first.get(name)
        ]
        if problems:
            more = len(problems) - LISTED
            raise ConfigurationError(
                "The processes of this training do not agree:\n"
                + "\n".join(problems[:LISTED] + ([f"  and {more} more"] if more > 0 else []))
                + "\nStart all of them with the same program, configuration and data."
            )

    def interrupted(self) -> bool:
        """Whether one of the processes was told to end, and all have noticed.

        A SIGTERM, or what else the service takes for a notice, reaches one process; the service
        chooses a later call of this method at which all processes get True.
        """
        if self._client is None:
            return False
        from jax.experimental import multihost_utils

        return multihost_utils.reached_preemption_sync_point(next(self._polls))

    def _set(self, key: str, message: dict[str, Told]) -> None:
        assert self._client is not None
        self._held.append(key)
        self._client.key_value_set(key, json.dumps(message))

    def _get(self, key: str) -> dict[str, Told]:
        assert self._client is not None
        import jax

        try:
            return json.loads(self._client.blocking_key_value_get(key, PATIENCE))
        except jax.errors.JaxRuntimeError as error:
            raise lost(error) from error

    @staticmethod
    def _opened(message: dict[str, Told]) -> Told:
        if "error" not in message:
            return message["told"]
        raise _named(message["error"])(message["text"])


def lost(error: Exception) -> ProcessLostError:
    """The error of a collective or of the service, explained."""
    return ProcessLostError(
        "Another process of this training has ended, or cannot be reached "
        f"({str(error).splitlines()[0][:200]}). Nothing was saved since the last checkpoint; start "
        "all processes again to go on from there, as many as you like."
    )


def agree_on_program(text: str) -> None:
    """Does nothing if all processes are about to compile this program.

    Raises `ConfigurationError` in each of them if they are not.
    """
    if not processes().alone:
        digest = hashlib.sha256(text.encode()).hexdigest()[:12]
        processes().all_agree({"the program of losses and rules (a digest)": digest})


#: Words of the errors of collectives and of the service that say that a process is gone.
SIGNS = ("gloo", "connection", "unavailable", "heartbeat", "coordination", "nccl", "peer")


@contextmanager
def loss_explained() -> Generator[None, None, None]:
    """Within, what the loss of another process raises here becomes a `ProcessLostError`."""
    import jax

    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        if processes().alone or not any(sign in str(error).lower() for sign in SIGNS):
            raise
        raise lost(error) from error


@cache
def _joined() -> Processes:
    import jax
    from jax._src import distributed  # the service has no public door

    client = cast(Any, distributed.global_state).client
    return Processes(jax.process_index(), jax.process_count(), client)


_ALONE = Processes()

#: Whether a process does what the others only hear the result of.
_BY_ITSELF = ContextVar("by_itself", default=False)


def processes() -> Processes:
    """Those of this training; `jax.distributed` has joined them, or this one is alone."""
    return _ALONE if _BY_ITSELF.get() else joined()


def joined() -> Processes:
    """Those that `jax.distributed` has joined, also where one does something by itself."""
    import jax

    if not jax.distributed.is_initialized() or jax.process_count() == 1:
        return _ALONE
    return _joined()


def _named(kind: str) -> type[EtudeError]:
    return getattr(etude.errors, kind, EtudeError)


def _kind(error: Exception) -> str:
    """The class of an error as every process knows it: one that a sentence is enough for."""
    if isinstance(error, OSError):
        return "EtudeError"
    if isinstance(error, ConfigurationError | UsageError):  # may be of a further kind as well
        return "ConfigurationError"
    known = [kind for kind in type(error).__mro__ if _named(kind.__name__) is kind]
    return next(
        kind.__name__
        for place, kind in enumerate(known)
        if not any("__init__" in vars(one) for one in known[place:])
    )
