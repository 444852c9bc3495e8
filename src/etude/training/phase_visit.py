"""One visit to a phase: where it stands, and its part of a checkpoint."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jaxtyping import PyTree

from etude.callbacks.base import Reason, Stop
from etude.engine.criteria import Best
from etude.engine.named_arrays import expected, from_named, named
from etude.engine.phase import Phase
from etude.engine.place import gathered
from etude.engine.state import State
from etude.engine.step import Plan
from etude.run.checkpoints import HostArray, Shared


@dataclass
class Visit:
    """A phase under way. Everything but the plan and the clock is in a checkpoint."""

    phase: Phase
    plan: Plan
    #: how many visits to this phase there were before, and roll-backs in this one
    number: int
    attempt: int
    #: steps of the run before this visit
    origin: int
    state: Any
    #: steps done, and the last of them whose boundary (validation, stop, rescue) is dealt with
    step: int = 0
    processed: int = 0
    #: epochs whose beginning the callbacks were told
    epochs_begun: int = 0
    begun: bool = False
    closed: bool = False
    reason: Reason | None = None
    detail: str = ""
    #: seconds spent in earlier sittings
    seconds: float = 0.0
    #: the best validation so far and its weights, on the host: checkpoints refer to them
    best_value: float | None = None
    best: Shared | None = None
    #: the step of the best, and whether its validation measured averaged weights
    best_step: int = 0
    best_ema: bool = False
    #: metrics measured on just the weights that the visit would leave, by place of the validation,
    #: and the step at which they were
    verdict: dict[int, dict[str, Any]] = field(default_factory=dict)
    verdict_step: int = -1
    #: the rescue under way
    child: "Visit | None" = None
    #: those of the members of a population; `state` then is a tuple of the states of its teams, and
    #: that of a member is None
    members: "tuple[Visit, ...]" = ()
    entered: float = field(default_factory=time.monotonic)

    @property
    def innermost(self) -> "Visit":
        """The visit whose steps are being made."""
        return self if self.child is None else self.child.innermost

    @property
    def chain(self) -> "list[Visit]":
        """The visit and those within it, as a checkpoint lists them."""
        return [self, *self.members, *([] if self.child is None else self.child.chain)]

    @property
    def elapsed(self) -> float:
        """Seconds spent in this visit, all sittings together."""
        return self.seconds + time.monotonic() - self.entered

    @property
    def global_step(self) -> int:
        """Steps of the run so far."""
        return self.origin + self.step

    @property
    def finished(self) -> bool:
        """Whether the length of the phase is reached, or passed: a resume may shorten it."""
        total = self.phase.total_steps
        return total is not None and self.step >= total

    @property
    def stands_still(self) -> bool:
        """Whether every member of a population has ended here."""
        return bool(self.members) and all(one.reason is not None for one in self.members)

    @property
    def late(self) -> bool:
        """Whether the time limit of the phase is over."""
        limit = self.phase.limit
        return limit is not None and self.elapsed >= limit.count

    def ending(self, *, late: bool) -> Stop | None:
        """What ends the visit by itself, if anything does."""
        if self.finished:
            return Stop(Reason.LENGTH)
        return Stop(Reason.TIME) if late else None

    @property
    def keeps_best(self) -> bool:
        """Whether the weights of a validation will be restored."""
        return isinstance(self.phase.keep, Best) and self.best is not None

    @property
    def kept_step(self) -> int:
        """The step whose weights the visit would leave now."""
        return self.best_step if self.keeps_best else self.step

    def note_verdict(self, made: dict[int, dict[str, Any]]) -> None:
        """Keeps those metrics of this step that are of the weights that the visit would leave."""
        if self.kept_step != self.step:
            return
        if self.verdict_step != self.step:
            self.verdict_step, self.verdict = self.step, {}
        ema = self.best_ema if self.keeps_best else self.phase.keep == "ema"
        same = {place: m for place, m in made.items() if self.phase.validations[place].ema == ema}
        self.verdict = self.verdict | same

    def forget_verdict(self) -> None:
        """The weights have changed, or what is measured on them has."""
        self.verdict_step, self.verdict = -1, {}

    def forget_best(self) -> None:
        """The best is chosen anew, by another measure."""
        self.best_value, self.best = None, None
        self.forget_verdict()

    def note_best(self, metrics: dict[str, Any], arrays: PyTree, *, ema: bool) -> None:
        """Keeps the weights if these metrics are the best so far."""
        keep = self.phase.keep
        if isinstance(keep, Best) and keep.metric in metrics:
            value = float(metrics[keep.metric])
            if keep.better(value, self.best_value):
                whole = {name: HostArray.of(gathered(one)) for name, one in named(arrays).items()}
                self.best_value, self.best = value, Shared(whole)
                self.best_step, self.best_ema = self.step, ema
                self.forget_verdict()

    def without_best(self) -> str:
        """A sentence if validations leave no weights to restore; nothing otherwise."""
        if not isinstance(self.phase.keep, Best) or self.best_value is not None or not self.step:
            return ""
        if self.members:  # each says so itself
            return ""
        return (
            f"{self.phase.keep.metric} was not a number in any validation (NaN), so there are no "
            "best weights, and the last ones stay."
        )

    def outcome(self) -> PyTree:
        """The arrays that the next phase starts from."""
        arrays = self.state.model
        if self.best is not None and self.keeps_best:
            return from_named(arrays, self.best.placed(expected(arrays)))
        if self.phase.keep == "ema":
            return self.plan.arrays(self.state, ema=True)
        return arrays

    def hand_over(self) -> PyTree:
        """The `outcome` of a visit that is over: room is made for best weights before they come."""
        if self.keeps_best:
            self.state = eqx.tree_at(lambda s: s.learners, self.state, ())
        return self.outcome()

    @property
    def kept(self) -> list[str]:
        """Prefixes of what of a checkpoint is the `outcome`; later ones override earlier ones."""
        if self.keeps_best:
            return ["best"]
        averages = [f"state.learners[{index}].ema" for index in range(len(self.plan.learners))]
        return ["state.model", *(averages if self.phase.keep == "ema" else [])]

    def position(self) -> dict[str, Any]:
        """Where the visit stands, as JSON."""
        return {
            "phase": self.phase.name,
            "number": self.number,
            "attempt": self.attempt,
            "origin": self.origin,
            "step": self.step,
            "processed": self.processed,
            "epochs_begun": self.epochs_begun,
            "begun": self.begun,
            "closed": self.closed,
            "reason": None if self.reason is None else self.reason.name,
            "detail": self.detail,
            "seconds": self.elapsed,
            "best_value": self.best_value,
            "best_step": self.best_step,
            "best_ema": self.best_ema,
            "verdict": [[place, metrics] for place, metrics in self.verdict.items()],
            "verdict_step": self.verdict_step,
            "kept": self.kept,
        }

    def arrays(self, prefix: str) -> dict[str, Any]:
        """The arrays of the visit, for a checkpoint; the best weights are in `shared`."""
        return {f"{prefix}state{name}": leaf for name, leaf in named(self.state).items()}

    def shared(self, prefix: str) -> dict[str, Shared]:
        """The arrays that do not change from one checkpoint to the next."""
        return {} if self.best is None else {f"{prefix}best": self.best}

    def take_back(
        self,
        position: dict[str, Any],
        arrays: Mapping[str, np.ndarray | jax.Array],
        best: Shared | None,
    ) -> None:
        """Takes back what `position`, `arrays` and `shared` gave, the arrays by their own names."""
        for name in (
            "step",
            "processed",
            "epochs_begun",
            "begun",
            "closed",
            "detail",
            "seconds",
            "best_value",
            "best_step",
            "best_ema",
            "verdict_step",
        ):
            setattr(self, name, position[name])
        self.verdict = dict(position["verdict"])
        self.reason = None if position["reason"] is None else Reason[position["reason"]]
        self.state, self.best = from_named(self.state, arrays), best


def without_model(state: State) -> State:
    """The state of a phase while its rescue has the model."""
    return eqx.tree_at(lambda s: s.model, state, None, is_leaf=lambda x: x is None)


def with_model(state: State, arrays: PyTree) -> State:
    """The state of a phase that gets its model back."""
    return eqx.tree_at(lambda s: s.model, state, arrays, is_leaf=lambda x: x is None)
