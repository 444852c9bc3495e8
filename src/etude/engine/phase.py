"""A phase: who learns, on which data, for how long, judged how, and what happens at the end."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from jaxtyping import Array, Key, PyTree

from etude.engine.criteria import Best, Fallen, Goal
from etude.engine.hyper import unusable
from etude.engine.learner import Learner
from etude.engine.numbers import is_count, is_real
from etude.engine.source import NO_DATA, Hosted, Resident, Source
from etude.errors import ConfigurationError
from etude.kinds import is_a

#: Measures a model on a batch: means over the batch, or metric objects that merge.
Measure = Callable[[Any, PyTree, Any], Mapping[str, Any] | tuple[Any, ...]]


@dataclass(frozen=True)
class Steps:
    """A length or an interval in steps.

    >>> Steps(10).count
    10
    """

    count: int

    def __post_init__(self):
        if not is_count(self.count):
            raise ConfigurationError(f"Steps are a whole number from 1; got {self.count!r}.")
        object.__setattr__(self, "count", int(self.count))


@dataclass(frozen=True)
class Epochs:
    """A length or an interval in passes over the data.

    >>> Epochs(20).count
    20
    """

    count: int

    def __post_init__(self):
        if not is_count(self.count):
            raise ConfigurationError(f"Epochs are a whole number from 1; got {self.count!r}.")
        object.__setattr__(self, "count", int(self.count))


@dataclass(frozen=True)
class Seconds:
    """An interval of wall-clock time.

    >>> Seconds(60).count
    60
    """

    count: float

    def __post_init__(self):
        if not is_real(self.count) or self.count <= 0:
            raise ConfigurationError(f"Seconds are a positive number; got {self.count!r}.")


@dataclass(frozen=True)
class Validation:
    """Measures the model, in inference mode, on data it does not learn from.

    Attributes:
        data: the samples, each counted exactly once.
        measure: `measure(model, batch, context) -> {name: value}`, or a loss. A scalar is a
            mean over the batch and is averaged over all samples; an object with `merge` and
            `compute` is merged over the batches. None: the loss of the first learner and its
            metrics.
        every: how often, counted from the start of the phase. Also measured at its end.
        name: prefix of the metrics, `valid/accuracy`. Several validations may share it if they
            report different metrics: costly ones less often.
        ema: whether learners with an average are measured with it.
    """

    data: Source
    measure: Measure | None = None
    every: Steps | Epochs = field(default_factory=lambda: Epochs(1))
    name: str = "valid"
    ema: bool = False


#: Validations that a rescue is decided by, at most: a checkpoint holds them.
MEMORY = 1000


@dataclass(frozen=True)
class Rescue:
    """Another phase that comes to the rescue when validation goes wrong.

    After each validation, `when(validations)` gets the metrics of the validations of the run so
    far, oldest first, at most the last 1000; if it returns True, `phase` is trained on the model
    as it is, and then the interrupted phase goes on with what came out.

    Attributes:
        phase: the phase that mends the model.
        when: the condition, a pure function of the validations. `Fallen` is the usual one.
    """

    phase: "Phase"
    when: Callable[[Sequence[Mapping[str, float]]], bool]


@dataclass(frozen=True)
class Phase:
    """A stage of training.

    Attributes:
        name: unique within a run; part of the randomness of the phase.
        learners: one, or several that take turns in this order at every step.
        data: where batches come from. None: rules and losses get None as their batch
            (evolution strategies, reinforcement learning); the length is then in steps.
        length: how long at most.
        validation: one, several, or None.
        augment: `augment(batch, key) -> batch`, inside the compiled step, training only.
        goal: ends the phase once it is reached, `AtLeast("valid/accuracy", 0.95)`; of several,
            `AtMost` and `AtLeast`, all must hold in the same validation.
        limit: wall-clock time after which the phase ends.
        keep: what the next phase starts from: the "last" weights, their "ema" where learners
            keep one, or those of the `Best` validation.
        rescue: another phase, called when validation goes wrong.
        hyper: numbers that rules and losses read as `context.hyper` and optimizers are functions
            of, `{"rate": 1e-3, "beta": 4.0}`; any pytree of numbers. Other values need no other
            compilation.

    Raises `ConfigurationError` if fields contradict each other, all problems in one message.
    """

    name: str
    learners: Learner | Sequence[Learner]
    data: Source | None
    length: Steps | Epochs
    validation: Validation | Sequence[Validation] | None = ()
    augment: Callable[[PyTree, Key[Array, ""]], PyTree] | None = None
    goal: Goal | Sequence[Goal] = ()
    limit: Seconds | None = None
    keep: Literal["last", "ema"] | Best = "last"
    rescue: Rescue | None = None
    hyper: PyTree = field(default_factory=dict[str, Any])

    def __post_init__(self):
        problems = [*_wrong_types(self)]
        if not problems:
            problems = [*_contradictions(self)]
        if problems:
            raise ConfigurationError(f"Phase {self.name!r}: " + " ".join(problems))

    @property
    def turns(self) -> tuple[Learner, ...]:
        """The learners, in the order of their turns."""
        return (self.learners,) if isinstance(self.learners, Learner) else tuple(self.learners)

    @property
    def validations(self) -> tuple[Validation, ...]:
        """The validations, one or several."""
        if self.validation is None:
            return ()
        if isinstance(self.validation, Sequence):
            return tuple(self.validation)
        # What is neither is a validation that was not made; `_wrong_types` says so.
        return (self.validation,)

    @property
    def source(self) -> Source:
        """Where batches come from, also without data."""
        return NO_DATA if self.data is None else self.data

    @property
    def steps_per_epoch(self) -> int | None:
        """The length of an epoch in steps, if there are epochs and it is known."""
        return None if self.data is None else self.data.steps_per_epoch

    @property
    def goals(self) -> tuple[Goal, ...]:
        """What must be reached, all of it, to end the phase; nothing if empty."""
        return (self.goal,) if isinstance(self.goal, Goal) else tuple(self.goal)

    def reached(self, metrics: Mapping[str, Any]) -> bool:
        """Whether there is a goal, and the metrics of a validation reach all of it."""
        return bool(self.goals) and all(goal.met(metrics) for goal in self.goals)

    @property
    def watched(self) -> tuple[str, ...]:
        """The metrics that the phase itself goes by."""
        found = [goal.metric for goal in self.goals]
        if isinstance(self.keep, Best):
            found.append(self.keep.metric)
        if self.rescue is not None and isinstance(self.rescue.when, Fallen):
            found.append(self.rescue.when.metric)
        return tuple(dict.fromkeys(found))

    @property
    def total_steps(self) -> int | None:
        """The length in steps, if it is known."""
        if isinstance(self.length, Steps):
            return self.length.count
        per_epoch = self.steps_per_epoch
        return None if per_epoch is None else per_epoch * self.length.count

    def in_steps(self, interval: Steps | Epochs) -> int:
        """An interval in steps; one of epochs needs data whose epochs have a known length."""
        if isinstance(interval, Steps):
            return interval.count
        per_epoch = self.steps_per_epoch
        assert per_epoch is not None  # refused in _contradictions
        return per_epoch * interval.count


def _wrong_types(phase: Phase) -> Iterator[str]:
    for learner in phase.turns:
        if not is_a(learner, Learner):
            yield (
                f"learners must be Learner objects; got {type(learner).__name__}. Wrap a rule: "
                "Learner(rule, optimizer)."
            )
    if not is_a(phase.source, Resident | Hosted):
        yield (
            f"data must be a source; got {type(phase.data).__name__}. Wrap arrays in "
            "ArrayData(arrays, batch_size=...), other data in AccessData or StreamData; pass None "
            "to train without data."
        )
    if not is_a(phase.length, Steps | Epochs):
        yield f"length must be Steps(n) or Epochs(n); got {phase.length!r}."
    for validation in phase.validations:
        if not is_a(validation, Validation):
            yield (f"validation must be Validation(data, ...); got {type(validation).__name__}.")
        elif not is_a(validation.data, Resident | Hosted):
            yield (
                f"the data of a validation must be a source; got {type(validation.data).__name__}. "
                "Wrap arrays: Validation(ArrayData(arrays, batch_size=...))."
            )
        elif validation.name == "train":
            yield "a validation is not named 'train', as the metrics of steps are; say 'valid'."
        elif not is_a(validation.every, Steps | Epochs):
            yield f"every must be Steps(n) or Epochs(n); got {validation.every!r}."
    yield from unusable(phase.hyper)
    if isinstance(phase.goal, Mapping):
        yield (
            f"goal must say in which direction a metric is reached; got {dict(phase.goal)}. Pass "
            "AtLeast('valid/accuracy', 0.95) or AtMost('valid/rmse', 0.05), or a list of these."
        )
    elif not is_a(phase.goal, Goal | Sequence) or not all(is_a(goal, Goal) for goal in phase.goals):
        yield f"goal must be AtLeast(metric, value) or AtMost(metric, value); got {phase.goal!r}."


def _contradictions(phase: Phase) -> Iterator[str]:
    if not re.fullmatch(r"\w[\w.=+-]*", phase.name) or len(phase.name.encode()) > 200:
        yield (
            "its name stands in the names of files: use letters, digits and _ . = + -, up to 200 "
            "bytes, as in 'fine-tune'."
        )
    if not phase.turns:
        yield "it needs at least one learner."
    names = [learner.name for learner in phase.turns]
    if len(names) > 1 and (len(set(names)) < len(names) or "" in names):
        yield f"several learners need different names; got {names}. Pass Learner(..., name=...)."
    intervals = [phase.length, *(v.every for v in phase.validations)]
    if phase.steps_per_epoch is None and any(isinstance(i, Epochs) for i in intervals):
        yield (
            "without data there are no epochs. Give lengths and intervals as Steps(n)."
            if phase.data is None
            else "its data do not know the length of an epoch. Give lengths and intervals as "
            "Steps(n), or pass steps_per_epoch to the source."
        )
    prefixes = [v.name for v in phase.validations]
    for metric in phase.watched:
        if metric.split("/")[0] not in prefixes:
            yield (
                f"{metric!r} is watched, but no validation measures it. Add "
                f"validation=Validation(data, name={metric.split('/')[0]!r}), or correct the name"
                + (f" (prefixes here: {prefixes})." if prefixes else ".")
            )
    if phase.keep not in ("last", "ema") and not is_a(phase.keep, Best):
        yield f"keep is 'last', 'ema' or Best(metric, mode); got {phase.keep!r}."
    averaging = any(learner.ema is not None for learner in phase.turns)
    if not averaging and (phase.keep == "ema" or any(v.ema for v in phase.validations)):
        yield "no learner keeps an average to use; pass Learner(..., ema=0.999)."
    if phase.rescue is not None and not phase.validations:
        yield "a rescue is decided after a validation; add one."
