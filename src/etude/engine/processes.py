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

#: Messages of the first process after which all meet, so that what they have read can go.
MEETING = 1000

#: Differences that are listed; more help nobody.
LISTED = 10

#: The kind of a message that tells an error.
FAILED = "failed"

CURE = "Start all of them with the same program, configuration and data."


@runtime_checkable
class Client(Protocol):
    """What is used of the coordination service."""

    def key_value_set(self, key: str, value: str) -> None: ...
    def key_value_try_get(self, key: str) -> str: ...
    def blocking_key_value_get(self, key: str, timeout_in_ms: int) -> str: ...
    def key_value_delete(self, key: str) -> None: ...


class Processes:
    """The processes that `jax.distributed` has joined, as one of them sees them; or one alone."""

    def __init__(self, number: int = 0, count: int = 1, client: Client | None = None):
        self.number, self.count = number, count
        #: of the coordination service; None of a process alone
        self.client = client
        self._messages, self._polls = itertools.count(), itertools.count()
        self._numbers, self._held = itertools.count(), list[str]()
        #: the numbers of the trainings under way, each within the one before
        self.trainings: list[int] = []
        #: whether all have been told of the signal that ends the last of them
        self.interrupting = False
        #: whether the service has its one notice of an interruption still to give
        self.takes_notice = client is not None

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

        Within, the process is alone. An `EtudeError` or `OSError` that it raises is raised by all.
        Raises `ProcessLostError` if the first process is gone, `ConfigurationError` if it does
        something else.
        """
        if self.client is None:
            return make()
        message = next(self._messages)
        if message % MEETING == MEETING - 1:
            self.all_say(None)
        if not self.is_first:
            return self._hear(message, 0, "the first says")
        token = _BY_ITSELF.set(True)
        try:
            told = make()
        except (EtudeError, OSError) as error:
            self._tell(message, FAILED, [_kind(error), str(error)])
            raise
        finally:
            _BY_ITSELF.reset(token)
        self._tell(message, "the first says", told)
        return told

    def all_say(self, mine: Told) -> list[Told]:
        """What every process has passed, by their numbers; each waits for all.

        Raises `ProcessLostError` if one is gone, what it raises if it fails in `all_do`, and
        `ConfigurationError` if it does something else.
        """
        if self.client is None:
            return [mine]
        message, before = next(self._messages), self._held
        self._held = []
        self._tell(message, "all say", mine)
        told = [self._hear(message, number, "all say") for number in range(self.count)]
        for old in before:  # all processes are here, and have read what came before
            self.client.key_value_delete(old)
        return told

    def all_do(self, do: Callable[[], T]) -> T:
        """What `do` returns here. An `EtudeError` or `OSError` in any process all raise.

        Raises what `all_say` raises.
        """
        try:
            made = do()
        except (EtudeError, OSError) as error:
            if self.client is not None:
                self._tell(next(self._messages), FAILED, [_kind(error), str(error)])
            raise
        self.all_say(None)
        return made

    def all_agree(self, mine: dict[str, Told]) -> None:
        """Does nothing if all processes pass the same.

        Raises:
            ConfigurationError: in every process, with what differs, if they do not.
            ProcessLostError: one of them is gone.
        """
        first, *others = self.all_say(mine)
        problems = [
            f"  {name}: process 0 has {first.get(name)!r}, process {number} has {other.get(name)!r}"
            for number, other in enumerate(others, 1)
            for name in sorted({*first, *other})
            if other.get(name) != first.get(name)
        ]
        if problems:
            more = len(problems) - LISTED
            raise ConfigurationError(
                "The processes of this training do not agree:\n"
                + "\n".join(problems[:LISTED] + ([f"  and {more} more"] if more > 0 else []))
                + f"\n{CURE}"
            )

    def interrupted(self, noted: str | None) -> str | None:
        """The signal that ends all, once one of them has got it and all notice; None until then.

        The service takes a SIGTERM that reaches any of them, or another notice of its cluster, and
        chooses a later call of this method at which all processes are told. It does so once; from
        then on they say it to each other.
        """
        if self.client is None:
            return noted
        name = self._interruption(noted)
        self.interrupting = name is not None
        return name

    def _interruption(self, noted: str | None) -> str | None:
        if self.takes_notice:
            from jax.experimental import multihost_utils

            if not multihost_utils.reached_preemption_sync_point(next(self._polls)):
                return None
            self.takes_notice = False
            return self._first_name(noted) or "SIGTERM"
        return self._first_name(noted)

    def _first_name(self, noted: str | None) -> str | None:
        return next((name for name in self.all_say(noted) if name is not None), None)

    @contextmanager
    def training(self) -> Generator[int, None, None]:
        """A training that all processes begin now, by its number."""
        self.interrupting = False
        self.trainings.append(next(self._numbers))
        try:
            yield self.trainings[-1]
        finally:
            self.trainings.pop()

    def _tell(self, message: int, kind: str, told: Told) -> None:
        assert self.client is not None
        key = f"etude/{message}/{self.number}"
        self._held.append(key)
        self.client.key_value_set(key, json.dumps([kind, told]))

    def _hear(self, message: int, number: int, expected: str) -> Told:
        assert self.client is not None
        try:
            text = self.client.blocking_key_value_get(f"etude/{message}/{number}", PATIENCE)
        except RuntimeError as error:
            raise lost(error) from error
        kind, told = json.loads(text)
        if kind == FAILED:
            who = "" if number == 0 else f"Process {number}: "
            raise _named(told[0])(f"{who}{told[1]}")
        if kind != expected:
            raise ConfigurationError(
                f"The processes of this training do not do the same: {kind!r} in process {number}, "
                f"{expected!r} in process {self.number}. {CURE}"
            )
        return told


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
