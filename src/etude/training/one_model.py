"""The training of one model."""

from collections.abc import Callable, Mapping
from typing import Any

import equinox as eqx
import jax
from jaxtyping import PyTree

from etude.engine import randomness
from etude.engine.beginning import copied
from etude.engine.leaf_roles import is_array
from etude.engine.phase import Phase
from etude.engine.step import state_of
from etude.errors import ConfigurationError
from etude.run import Run
from etude.training.boundary import Boundary
from etude.training.fingerprint import fingerprint
from etude.training.phase_visit import Visit, with_model
from etude.training.programs import Programs
from etude.training.resuming import Restoration, Resume, restoration
from etude.training.session import Session
from etude.training.settings import Settings
from etude.training.subject import Place
from etude.training.telling import Telling


class OneModel:
    """One model as what a training trains; `etude.training.subject.Subject` says how."""

    count = 0
    groups: tuple[tuple[int, ...], ...] = ()

    def __init__(self, settings: Settings):
        self.settings, self.programs = settings, Programs(settings)

    def fingerprint(self) -> dict[str, Any]:
        return fingerprint(self.settings)

    def first(self) -> PyTree:
        return eqx.filter(self.settings.model, is_array)

    def visit(self, phase: Phase, arrays: PyTree, place: Place, *, donate: bool) -> Visit:
        plan = self.settings.bound[phase.name].plan
        number, attempt, origin = place
        keys = randomness.visit_keys(self.settings.seed, phase.name, number, attempt)
        state = state_of(plan, arrays, keys, donate=donate)
        return Visit(phase, plan, number, attempt, origin, state)

    def hand_over(self, visit: Visit) -> PyTree:
        return visit.hand_over()

    def model(self, visit: Visit) -> Any:
        return eqx.combine(visit.hand_over(), visit.plan.static)

    def model_of(self, visit: Visit) -> Callable[..., Any]:
        def build(*, ema: bool = False) -> Any:
            # During a rescue, the rescue has it.
            state = with_model(visit.state, visit.innermost.state.model)
            arrays = jax.tree.map(_copied_here, visit.plan.arrays(state, ema=ema))
            return eqx.combine(arrays, visit.plan.static)

        return build

    def teams(self, visit: Visit) -> str:
        return ""

    def details(self, visit: Visit) -> dict[str, Any]:
        return {}

    def as_json(self) -> dict[str, Any]:
        return {}

    def restore(self, run: Run, fingerprint: Mapping[str, Any], how: Resume) -> Restoration | None:
        return restoration(run, self.settings, fingerprint, how)

    def boundary(self, session: Session, telling: Telling, poll: Callable[[], None]) -> Boundary:
        return Boundary(session, telling, poll)


def _copied_here(leaf: jax.Array) -> jax.Array:
    """A copy for a callback, which runs in the first of several processes alone."""
    if leaf.is_fully_addressable:
        return copied(leaf)
    if not leaf.is_fully_replicated:
        raise ConfigurationError(
            "event.model() needs a model that is whole in the first process, where callbacks run; "
            "this one is spread over several processes. Measure it in a Validation, or keep "
            "sharding=None."
        )
    return copied(leaf.addressable_data(0))
