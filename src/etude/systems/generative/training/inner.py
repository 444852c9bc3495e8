"""The engine's own step, on the seed's state."""

from typing import Any, final

import equinox as eqx
import jax.numpy as jnp
import optax
from jaxtyping import Array, PyTree

import etude as et
from etude.systems.generative.training.objective import Loss
from etude.systems.generative.training.state import Evolving, Rest, TrainingState


@final
class Inner:
    """A plan of the engine for one model, whose state is taken apart and put together.

    Args:
        model: what learns.
        loss: what is minimised.
        optimizer: of all that learns.
        total: steps of the whole training, where they are known; progress is measured by them.
        seed: of the training.

    Attributes:
        begun: the state before the first step.
    """

    def __init__(
        self,
        model: PyTree,
        loss: Loss,
        optimizer: optax.GradientTransformation,
        total: int | None,
        seed: int,
    ):
        learner = et.Learner(et.Gradient(loss), optimizer)
        phase = et.Phase("train", learner, None, et.Steps(total or 1))
        self._plan = et.Plan.of(phase, model)
        state = et.init_state(self._plan, model, seed=seed)
        params, others = self._plan.parts[0].split(state.model)
        opt_state = et.Carry(state.learners[0].optimizer)
        self.begun = Evolving(state.clock, params, opt_state, Rest(others, state.keys.step))
        # Its small arrays serve every step; the large ones are not kept twice.
        large = (lambda s: (s.model, s.learners[0].optimizer), state, (None, None))
        self._template = eqx.tree_at(*large)

    def step(self, state: TrainingState, batch: Any) -> tuple[TrainingState, dict[str, Array]]:
        """One step, traced."""
        assert state.rest is not None
        moved = (
            jnp.asarray(state.step, jnp.int32),
            eqx.combine(state.params, state.rest.others),
            state.opt_state,
            state.rest.root,
        )
        before = eqx.tree_at(
            lambda s: (s.clock, s.model, s.learners[0].optimizer, s.keys.step),
            self._template,
            moved,
            is_leaf=lambda leaf: leaf is None,
        )
        after, metrics = et.train_step(self._plan, before, batch)
        params, others = self._plan.parts[0].split(after.model)
        rest, opt_state = Rest(others, state.rest.root), after.learners[0].optimizer
        # Where a step is at fault its clock stands still, and its loss says why.
        step = state.step + 1
        return TrainingState(step, params, opt_state, state.rng, state.best_loss, rest), metrics

    def model(self, evolving: Evolving) -> Any:
        """The model in a state."""
        arrays = eqx.combine(evolving.params, evolving.rest.others)
        return eqx.combine(arrays, self._plan.static)
