"""Measures models in validations, and what a training leaves in the end."""

from collections.abc import Callable
from typing import Any

from jaxtyping import PyTree

from etude.engine import randomness
from etude.training.phase_visit import Visit
from etude.training.settings import Settings


class Judge:
    """The validations of all phases; `poll` is called between batches."""

    def __init__(self, settings: Settings, poll: Callable[[], None]):
        self.settings, self.poll = settings, poll

    def due(self, visit: Visit, *, last: bool) -> list[int]:
        """The places of the validations that are due now, all of them at the `last`."""
        phase = visit.phase
        new = visit.step != visit.processed  # else what was due here is made already
        return [
            place
            for place, validation in enumerate(phase.validations)
            if (
                new
                if visit.step % phase.in_steps(validation.every) == 0
                else last and visit.step > 0
            )
        ]

    def measure(self, visit: Visit, place: int, arrays: PyTree, step: int) -> dict[str, Any]:
        """The metrics of one validation on the arrays of a model, named `valid/loss`."""
        phase = visit.phase
        validation = phase.validations[place]
        key = randomness.validation_key(visit.state.keys.step, step)
        metrics = self.settings.bound[phase.name].evaluators[place](
            arrays,
            validation.data,
            key,
            step=step,
            progress=step / (phase.total_steps or 1),
            hyper=visit.state.hyper,
            poll=self.poll,
        )
        named = {f"{validation.name}/{name}": value for name, value in metrics.items()}
        self.settings.reports.saw_validation(phase, place, named)
        return named

    def complete(self, visit: Visit) -> bool:
        """Makes the validations that were not made on just what the visit leaves, if any."""
        step, every = visit.kept_step, range(len(visit.phase.validations))
        known = visit.verdict if visit.verdict_step == step else {}
        missing = [place for place in every if place not in known]
        if missing:
            arrays = visit.outcome()
            known = known | {place: self.measure(visit, place, arrays, step) for place in missing}
        visit.verdict_step, visit.verdict = step, {place: known[place] for place in every}
        return bool(missing)
