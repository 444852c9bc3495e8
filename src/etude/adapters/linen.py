"""Flax Linen modules: what is trained, what moves, and where their randomness comes from."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, final, runtime_checkable

import equinox as eqx
import jax
from jaxtyping import PyTree

from etude.engine.leaf_roles import Carry
from etude.engine.rule import Context
from etude.errors import ModelError, RuleError


@runtime_checkable
class Applied(Protocol):
    """What is asked of a Linen module."""

    def apply(self, variables: Any, *args: Any, **kwargs: Any) -> Any:
        """Outputs, and the collections that were changed where `mutable` names some."""
        ...


@final
class Linen(eqx.Module):
    """A Linen module with its variables, as a model.

    Attributes:
        params: the collection "params": what learns.
        others: all other collections, as batch statistics; they move where `moved` is returned.
        module: the module.
        streams: names of its random streams.
    """

    params: PyTree
    others: Carry
    module: Applied = eqx.field(static=True)
    streams: tuple[str, ...] = eqx.field(static=True)

    @property
    def variables(self) -> dict[str, Any]:
        """As `module.apply` takes them."""
        return {"params": self.params, **self.others.value}

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Outputs; nothing moves, and there is no randomness."""
        return self.module.apply(self.variables, *args, **kwargs)

    def moved(self, context: Context, *args: Any, **kwargs: Any) -> tuple[Any, "Linen"]:
        """Outputs, and the model with its other collections as they are now.

        Random streams get keys of their own from `context.key`.

        Raises `RuleError` for a module that changes its parameters.
        """
        keys = jax.random.split(context.key, max(1, len(self.streams)))
        rngs = dict(zip(self.streams, keys, strict=False))
        names = list(self.others.value)
        if not names:
            return self.module.apply(self.variables, *args, rngs=rngs, **kwargs), self
        outputs, changed = self.module.apply(
            self.variables, *args, rngs=rngs, mutable=names, **kwargs
        )
        strangers = set(changed) - set(names)
        if strangers:
            raise RuleError(
                f"The module made new collections in its step: {', '.join(sorted(strangers))}. "
                "Initialise them: module.init returns all that it uses."
            )
        others = Carry({**self.others.value, **changed})
        return outputs, Linen(self.params, others, self.module, self.streams)


def linen(module: Any, variables: Any, streams: Sequence[str] = ("dropout",)) -> Linen:
    """A Flax Linen module as a model: its parameters learn, its other collections move.

    In a loss, `outputs, model = model.moved(context, x, train=True)`, and the new model is returned
    as the third value; in a measure, `model(x, train=False)`.

    Args:
        module: the module.
        variables: what `module.init` returned.
        streams: names of its random streams, which get keys from the context.

    Raises:
        ModelError: something without `apply`, variables without "params", streams of one name.

    >>> class Doubled:  # a module of Linen has the same method
    ...     def apply(self, variables, x, **kwargs):
    ...         return 2 * variables["params"]["w"] * x
    >>> float(linen(Doubled(), {"params": {"w": 3.0}})(1.0))
    6.0
    """
    if not isinstance(module, Applied):
        raise ModelError(
            f"linen: a {type(module).__name__} has no apply. Pass the module itself, not a bound "
            "one, and the variables that module.init returned."
        )
    if not isinstance(variables, Mapping) or "params" not in variables:
        got = sorted(variables) if isinstance(variables, Mapping) else type(variables).__name__
        raise ModelError(
            f"linen: variables need 'params'; got {got}. Pass what module.init(key, x) returned."
        )
    if isinstance(streams, str) or len(set(streams)) != len(streams):
        raise ModelError(
            f"linen: streams are different names, as ('dropout',); got {streams!r}. Write a tuple."
        )
    others = {name: value for name, value in variables.items() if name != "params"}
    return Linen(variables["params"], Carry(others), module, tuple(streams))
