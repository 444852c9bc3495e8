"""A callback of its own for each member of a population."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from etude.callbacks.base import (
    Callback,
    Event,
    Exchange,
    Reason,
    Request,
    Save,
    Show,
    StepMetrics,
    Stop,
    overrides,
)
from etude.callbacks.members import of_member
from etude.callbacks.watching import Reported
from etude.errors import ConfigurationError
from etude.training.hooks import nearest

#: Hooks that are not called for single members.
REFUSED = ("on_batch_begin", "on_batch_end", "on_epoch_begin", "on_epoch_end", "on_picture",
           "on_time")  # fmt: skip


class EachMember(Callback):
    """Copies of a callback, of which each sees one member.

    Raises `ConfigurationError` for a callback with a hook that is not called for single members.
    """

    def __init__(self, original: Callback, copies: Sequence[Callback]):
        if refused := [hook for hook in REFUSED if overrides(original, hook)]:
            raise ConfigurationError(
                f"{type(original).__name__} has {', '.join(refused)}, which a copy for each member "
                "of a population is not told. Use on_steps_end and on_validation_end, or let "
                "with_members return 'all'."
            )
        self.original, self.copies = original, list(copies)
        #: members that have not ended the phase, and those at fault, which take part in no other
        self._going = set(range(len(self.copies)))
        self._fallen = set[int]()

    def with_members(self) -> Any:
        return "all"

    def on_train_begin(self, event: Event) -> Request:
        return self._each("on_train_begin", event)

    def on_train_end(self, event: Event) -> Request:
        return self._each("on_train_end", event)

    def on_phase_begin(self, event: Event) -> Request:
        if event.step == 0:
            self._going = set(range(len(self.copies))) - self._fallen
        return self._gather(
            (number, copy.on_phase_begin(_own(event, number)))
            for number, copy in enumerate(self.copies)
            if number not in self._fallen
        )

    def on_steps_end(self, event: Event, metrics: StepMetrics) -> Request:
        return self._gather(
            (number, copy.on_steps_end(_own(event, number), _columns(metrics, number)))
            for number, copy in self._those_going()
        )

    def on_validation_end(self, event: Event, metrics: Mapping[str, Any]) -> Request:
        found = [(number, copy, of_member(metrics, number)) for number, copy in self._those_going()]
        return self._gather(
            (number, copy.on_validation_end(_own(event, number), own))
            for number, copy, own in found
            if own
        )

    def on_checkpoint(self, event: Event, name: str) -> Request:
        return self._each("on_checkpoint", event, name)

    def on_member_end(self, event: Event, member: int, reason: Reason, detail: str) -> Request:
        self._going.discard(member)
        if reason is Reason.FAULT:
            self._fallen.add(member)
        asked = self.copies[member].on_phase_end(_own(event, member), reason)
        return self._gather([(member, asked)])

    def on_exception(self, event: Event, error: BaseException) -> Request:
        return self._each("on_exception", event, error)

    def probe(self, updates: Any, trainable: Any) -> Mapping[str, Any]:
        return self.original.probe(updates, trainable)

    def problems(self, phases: Mapping[str, Reported]) -> list[str]:
        return self.original.problems(phases)

    def next_step(self, event: Event) -> int | None:
        going = list(self._those_going())
        return nearest([copy for _, copy in going], [_own(event, number) for number, _ in going])

    def state(self) -> dict[str, Any]:
        states = [copy.state() for copy in self.copies]
        return {"going": sorted(self._going), "fallen": sorted(self._fallen), "copies": states}

    def restore(self, state: dict[str, Any]) -> None:
        self._going, self._fallen = set(state["going"]), set(state.get("fallen", []))
        for copy, saved in zip(self.copies, state["copies"], strict=True):
            copy.restore(saved)

    def fingerprint(self) -> Mapping[str, Any]:
        return {"callback": type(self.original).__name__, **self.original.fingerprint()}

    def _those_going(self) -> list[tuple[int, Callback]]:
        return [(number, self.copies[number]) for number in sorted(self._going)]

    def _each(self, hook: str, event: Event, *arguments: Any) -> Request:
        return self._gather(
            (number, getattr(copy, hook)(_own(event, number), *arguments))
            for number, copy in enumerate(self.copies)
        )

    def _gather(self, asked: Any) -> Request:
        """What the copies ask for, a stop of one as that of its member."""
        found: list[Stop | Save | Show | Exchange] = []
        for number, request in asked:
            for one in request if isinstance(request, tuple) else (request,):
                if isinstance(one, Stop):
                    found.append(replace(one, member=number))
                elif one is not None:
                    found.append(one)
        return tuple(found)


def _own(event: Event, member: int) -> Event:
    """Where the training of one member stands, as if it were alone."""
    build = event.model
    return replace(event, model=lambda *, ema=False: build(ema=ema)[member], members=0)


def _columns(metrics: StepMetrics, member: int) -> StepMetrics:
    places = of_member({name: place for place, name in enumerate(metrics.names)}, member)
    rows = metrics.rows[:, np.array(list(places.values()), np.int64)]
    return StepMetrics(tuple(places), metrics.first, rows)
