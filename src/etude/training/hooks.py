"""Calls the callbacks and collects what they ask for."""

import json
from collections.abc import Sequence
from typing import Any

from etude.callbacks.base import (
    Callback,
    Event,
    Exchange,
    Reason,
    Save,
    Show,
    StepMetrics,
    Stop,
    overrides,
)
from etude.engine.learner import Probe
from etude.engine.numbers import is_count
from etude.engine.processes import processes
from etude.errors import ConfigurationError, suggest


class Hooks:
    """The callbacks of a training.

    Of several processes the first calls them, and what they ask for is asked for in all.

    Raises `ConfigurationError` for one that is no `Callback`, or has a hook that is never called.

    >>> Hooks([]).every_step
    False
    """

    def __init__(self, callbacks: Sequence[Callback]):
        if problems := [problem for c in callbacks for problem in _misshapen(c)]:
            raise ConfigurationError("\n".join(dict.fromkeys(problems)))
        self.callbacks = list(callbacks)
        self._called = self.callbacks if processes().is_first else []
        #: those who need every step, and for which hook
        self.impatient = [
            (c, hook)
            for c in callbacks
            for hook in ("on_batch_begin", "on_batch_end")
            if overrides(c, hook)
        ]
        self.every_step = bool(self.impatient)
        self.epochs = any(
            overrides(c, "on_epoch_begin") or overrides(c, "on_epoch_end") for c in callbacks
        )
        self.stop: Stop | None = None
        self.save: Save | None = None
        #: of single members of a population
        self.member_stops: dict[int, Stop] = {}
        self.exchanges: list[Exchange] = []
        self._initial = json.dumps(self.states())

    @property
    def requested(self) -> bool:
        """Whether anything was asked for since it was last dealt with."""
        return self.save is not None or self.stop is not None or bool(self.member_stops)

    @property
    def probes(self) -> tuple[Probe, ...]:
        """What callbacks measure inside the compiled step."""
        return tuple(c.probe for c in self.callbacks if overrides(c, "probe"))

    def begin(self) -> None:
        """A training begins: what callbacks remember of another one is forgotten."""
        self.stop = self.save = None
        self.member_stops, self.exchanges = {}, []
        self.restore(json.loads(self._initial))

    def call(self, hook: str, event: Event, *arguments: Any) -> None:
        """Calls one hook of every callback, in order."""
        for callback in self._called:
            # Metrics are copied: what one writes into them is neither a metric of the training,
            # which goals and rescues go by, nor told to the next callback.
            own = [dict(one) if isinstance(one, dict) else one for one in arguments]
            asked = getattr(callback, hook)(event, *own)
            for request in asked if isinstance(asked, tuple) else (asked,):
                self._take(callback, hook, event, request)

    def _take(self, callback: Callback, hook: str, event: Event, request: Any) -> None:
        if late := _too_late(hook, request):
            raise ConfigurationError(
                f"{type(callback).__name__}.{hook} returned {type(request).__name__}: {late}"
            )
        if isinstance(request, Exchange) or (
            isinstance(request, Stop) and request.member is not None
        ):
            _check_member(callback, event, request)
        if isinstance(request, Exchange):
            self.exchanges.append(request)
        elif isinstance(request, Stop) and request.member is not None:
            self.member_stops.setdefault(request.member, request)
        elif isinstance(request, Stop):
            self.stop = self.stop or request
        elif isinstance(request, Save) and (self.save is None or self.save.optional):
            self.save = request
        elif isinstance(request, Show):
            self.call("on_picture", event, request.name, request.pixels)
        elif not (request is None or isinstance(request, Save | Show)):
            raise ConfigurationError(
                f"{type(callback).__name__}.{hook} returned {request!r}, which asks for nothing. A "
                "hook returns Stop(), Save(), Show(...), Exchange(...), a tuple of these, or None."
            )

    def fail(self, event: Event, error: BaseException) -> None:
        """Training ends by an exception: every callback closes, also if another one cannot."""
        for callback in self._called:
            try:
                callback.on_exception(event, error)
            except Exception as second:
                name = type(callback).__name__
                error.add_note(f"{name}.on_exception failed as well: {second!r}")

    def steps(self, event: Event, metrics: StepMetrics) -> None:
        """A chunk was read."""
        self.call("on_steps_end", event, metrics)
        if self.every_step:
            self.call("on_batch_end", event, metrics.last())

    def next_step(self, event: Event) -> int | None:
        """The next step at which a callback needs a chunk to end."""
        return nearest(self._called, [event] * len(self._called))

    def settle(self) -> None:
        """What the callbacks of the first process have asked for is asked for here as well."""
        together = processes()
        if together.alone:
            return
        stop, optional = together.first_says(
            lambda: [
                self.stop and [self.stop.reason.name, self.stop.detail],
                self.save and self.save.optional,
            ]
        )
        if not together.is_first:
            self.stop = None if stop is None else Stop(Reason[stop[0]], stop[1])
            self.save = None if optional is None else Save(optional=optional)

    def take_save(self) -> Save | None:
        """The checkpoint that was asked for, if any; asks no more."""
        asked, self.save = self.save, None
        return asked

    def take_stop(self) -> Stop | None:
        """The stop that was asked for, if any; asks no more."""
        asked, self.stop = self.stop, None
        return asked

    def take_member_stops(self) -> dict[int, Stop]:
        """The stops that were asked for single members; asks no more."""
        asked, self.member_stops = self.member_stops, {}
        return asked

    def take_exchanges(self) -> list[Exchange]:
        """The exchanges that were asked for; asks no more."""
        asked, self.exchanges = self.exchanges, []
        return asked

    def states(self) -> list[dict[str, Any]]:
        """What callbacks must take back on a resume."""
        return [{"name": type(c).__name__, "state": c.state()} for c in self.callbacks]

    def restore(self, states: list[dict[str, Any]]) -> None:
        """Gives each callback its state back; one that is new begins anew."""
        for callback in self.callbacks:
            for index, saved in enumerate(states):
                if saved["name"] == type(callback).__name__:
                    callback.restore(states.pop(index)["state"])
                    break


def nearest(callbacks: Sequence[Callback], events: Sequence[Event]) -> int | None:
    """The next step at which one of them needs a chunk to end; one that is past is none.

    Raises `ConfigurationError` for what is no number of a step.
    """
    wanted: list[int] = []
    for callback, event in zip(callbacks, events, strict=True):
        step = callback.next_step(event)
        if step is None:
            continue
        if not is_count(step, least=0):
            raise ConfigurationError(
                f"{type(callback).__name__}.next_step returned {step!r}; expected a number of "
                "steps in the phase, or None."
            )
        if step > event.step:
            wanted.append(int(step))
    return min(wanted, default=None)


def _too_late(hook: str, request: Any) -> str:
    """Why nothing would come of a request of a hook; empty if something does."""
    if isinstance(request, Stop) and hook == "on_phase_end":
        return "the phase has ended. Return it from on_phase_begin, to leave out the next one."
    if isinstance(request, Stop | Save) and hook == "on_train_end":
        return "the training has ended, and is saved. Return None."
    if isinstance(request, Show) and hook == "on_picture":
        return "that is called for each picture, also for this one. Return it from another hook."
    if isinstance(request, Exchange) and hook != "on_validation_end":
        return "members are exchanged by what a validation says. Return it from on_validation_end."
    return ""


def _check_member(callback: Callback, event: Event, request: Stop | Exchange) -> None:
    numbers: list[Any] = [request.member]
    numbers += [] if isinstance(request, Stop) else [request.source]
    for number in numbers:
        if not is_count(number, least=0) or number >= event.members:
            raise ConfigurationError(
                f"{type(callback).__name__} returned {request}, and there is no member {number!r}: "
                + (
                    f"got a population of {event.members}, counted from 0."
                    if event.members
                    else "this training has no population. Pass Trainer(population=...)."
                )
            )


HOOKS = frozenset(name for name in dir(Callback) if name.startswith("on_"))


METHODS = frozenset(name for name in dir(Callback) if callable(getattr(Callback, name)))


def _misshapen(callback: Any) -> list[str]:
    """What of a callback would never be called, without a word."""
    if not isinstance(callback, Callback):
        return [
            f"callbacks must be Callback objects; got {callback!r}. Pass an instance of a class "
            "that inherits from etude.Callback."
        ]
    kind = type(callback)
    found = {name for name in dir(kind) if name.startswith("on_")} - HOOKS
    values = [
        f"{kind.__name__}.{name} is a method of a callback; got {getattr(callback, name)!r}. Write "
        f"def {name}(self, ...), which returns it."
        for name in sorted(METHODS)
        if not callable(getattr(callback, name))
    ]
    return values + [
        f"{kind.__name__}.{name} is no hook and would never be called. {suggest(name, HOOKS)} "
        "A method of your own needs a name that does not begin with 'on_'."
        for name in sorted(found)
        if callable(getattr(kind, name))
    ]
