"""What a training has come to: an immutable mapping, in the words of the seed."""

from collections.abc import Iterator, Mapping
from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

import etude as et
from etude.errors import suggest

#: The names that a mapping of the state has, in order.
NAMES = ("step", "params", "opt_state", "rng", "best_loss")


class Rest(eqx.Module):
    """What else belongs to a training.

    Attributes:
        others: the arrays of the model that no optimizer moves.
        root: the key that those of all steps come from.
    """

    others: PyTree
    root: Array


@final
class TrainingState(eqx.Module):
    """Where a training stands; `state.params`, `state["params"]` and `state.get("params")` agree.

    It is a pytree, and immutable: `_train_step` of a trainer takes one and returns another, or a
    dictionary with the same names.

    Attributes:
        step: steps done.
        params: the arrays of the model that learn; None where the model has others.
        opt_state: state of the optimizer.
        rng: the key of the next step, a pure function of the seed and `step`.
        best_loss: the smallest loss of a validation, or of `evaluate`, that a checkpoint was saved
            with.
        rest: what else the trainer needs; None in a state made by hand.

    >>> state = TrainingState.create({"w": jnp.ones(2)}, (), jax.random.key(0))
    >>> state["step"], state.get("best_loss"), list(state)
    (0, inf, ['step', 'params', 'opt_state', 'rng', 'best_loss'])
    """

    step: int | Array
    params: PyTree
    opt_state: PyTree
    rng: Array
    best_loss: float | Array = float("inf")
    rest: Rest | None = None

    @classmethod
    def create(
        cls,
        params: PyTree,
        opt_state: PyTree,
        rng: Array,
        step: int = 0,
        best_loss: float = float("inf"),
    ) -> "TrainingState":
        """A state, by default of the beginning."""
        return cls(step, params, opt_state, rng, best_loss)

    def __getitem__(self, name: str) -> Any:
        if name not in NAMES:
            raise KeyError(f"{name!r}. {suggest(name, NAMES)}")
        return getattr(self, name)

    def get(self, name: str, default: Any = None) -> Any:
        """As of a dictionary."""
        return getattr(self, name) if name in NAMES else default

    def keys(self) -> tuple[str, ...]:
        """The names, so that `dict(state)` and `{**state}` work."""
        return NAMES

    def __iter__(self) -> Iterator[str]:
        return iter(NAMES)

    def __len__(self) -> int:
        return len(NAMES)

    def __contains__(self, name: object) -> bool:
        return name in NAMES


class Evolving(eqx.Module):
    """All that moves in a training: the model, as the engine sees it, that a `Trainer` trains.

    The optimizer's state is carried, for it may hold infinite numbers.
    """

    step: Array
    params: PyTree
    opt_state: et.Carry
    rest: Rest

    def seen(self, best_loss: float = float("inf")) -> TrainingState:
        """The state as the seed shows it."""
        rng = jax.random.fold_in(self.rest.root, self.step)
        return TrainingState(
            self.step, self.params, self.opt_state.value, rng, best_loss, self.rest
        )

    def after(self, returned: Any) -> "Evolving":
        """What a `_train_step` that returned this state has moved.

        `best_loss` is the trainer's own, and the key of a step follows from the seed and `step`.

        Raises `RuleError` for another type, and for names that are missing or unknown.
        """
        if isinstance(returned, TrainingState):
            given, rest = dict(returned), returned.rest or self.rest
        elif isinstance(returned, Mapping):
            given, rest = returned, self.rest
        else:
            raise et.RuleError(
                "_train_step returns (state, metrics); its state is a "
                f"{type(returned).__name__}. Return a TrainingState, or a dictionary with "
                f"{', '.join(NAMES[:4])}."
            )
        problems = [
            f"unknown {name!r}; {suggest(name, NAMES)}" for name in given if name not in NAMES
        ]
        problems += [f"missing {name!r}" for name in NAMES[:3] if name not in given]
        if problems:
            raise et.RuleError("The state that _train_step returned: " + "; ".join(problems))
        step = jnp.asarray(given["step"], self.step.dtype)
        return Evolving(step, given["params"], et.Carry(given["opt_state"]), rest)
