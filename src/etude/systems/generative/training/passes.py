"""Passes over data: each a phase of one training of the engine, from where a trainer stands."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, final

from jaxtyping import Array

import etude as et
from etude.engine.source import Source
from etude.systems.generative.training.loading import from_batch
from etude.systems.generative.training.standing import Standing
from etude.systems.generative.training.state import Evolving


@final
@dataclass(frozen=True)
class Passes:
    """How a trainer passes over data.

    Attributes:
        standing: where it stands.
        learner: of the state.
        measure: of the state, in validations.
        end: steps after which the schedule has ended; None where it never does.
        options: of `etude.Trainer`, as `mesh`.
    """

    standing: Standing
    learner: et.Learner
    measure: Callable[[Evolving, Any, et.Context], Any]
    end: int | None
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def phases(
        self, source: Source, epochs: Any, valid: Source | None, every: et.Steps | None
    ) -> list[et.Phase]:
        """A phase for each pass, the first from the place in its epoch."""
        if isinstance(epochs, bool) or not isinstance(epochs, int) or epochs < 1:
            raise et.ConfigurationError(
                f"Trainer: num_epochs is a whole number from 1; got {epochs!r}."
            )
        steps, standing = source.steps_per_epoch, self.standing
        assert steps is not None
        standing.begin(steps)
        self.refuse_beyond(epochs * steps - standing.position)
        found = []
        for number in range(standing.epoch, standing.epoch + epochs):
            part = from_batch(source, number, 0 if found else standing.position)
            assert part.steps_per_epoch is not None
            judged = () if valid is None else self._validation(valid, every)
            # The name is a part of the seed of the order.
            name, length = f"epoch-{number}", et.Steps(part.steps_per_epoch)
            found.append(et.Phase(name, self.learner, part, length, judged))
        return found

    def run(
        self, phases: Sequence[et.Phase], callbacks: Sequence[et.Callback], *, progress: bool
    ) -> None:
        """Trains through the phases. Raises what the engine raises; the standing is then true."""
        standing = self.standing
        training = et.Trainer(
            standing.evolving,
            phases,
            callbacks=callbacks,
            seed=standing.seed,
            progress=progress,
            **self.options,
        )
        standing.last_loss, standing.start = None, standing.step
        ahead = standing.start + sum(phase.length.count for phase in phases)
        try:
            standing.moved(training.fit().model, ahead)
        finally:
            standing.moving = None

    def refuse_beyond(self, steps: int) -> None:
        """Raises `ConfigurationError` if so many steps go on where the schedule has ended."""
        until = self.standing.step + steps
        if self.end is not None and until > self.end:
            raise et.ConfigurationError(
                f"Trainer: the schedule ends with num_epochs, after {self.end} steps, and its "
                f"rate would stay at the last one up to step {until}. Give the scheduler a length "
                "of its own (total_steps, or cycle_length of a cosine), or more epochs."
            )

    def order_of(self, phase: et.Phase) -> Array:
        """The key of the order of a phase."""
        plan = et.Plan.of(phase, self.standing.evolving)
        return et.init_state(plan, self.standing.evolving, seed=self.standing.seed).keys.order

    def _validation(self, valid: Source, every: et.Steps | None) -> et.Validation:
        if every is None:
            return et.Validation(valid, self.measure)
        return et.Validation(valid, self.measure, every)
