"""Compiled programs are kept with a learner, and used again for what lowers to the same text.

Tracing and lowering are done anew, so that no program is ever stale: whatever a loss, a model or a
setting says now is in the program's own text. Only the compilation, which takes longest, is saved.

>>> import jax.numpy as jnp
>>> kept = Compiled()
>>> double = kept.program(lambda x: 2 * x, jnp.ones(3))
>>> again = kept.program(lambda y: 2 * y, jnp.zeros(3))
>>> again is double, again(jnp.ones(3))
(True, Array([2., 2., 2.], dtype=float32))
"""

import re
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any

import jax
from jaxtyping import PyTree

from etude.engine.processes import agree_on_program
from etude.engine.surroundings import Surroundings

#: Stands in the text of a program that calls a function of Python, and does not say which.
HOST_CALL = re.compile(r"_python_\w+_callback")

#: Programs that are kept for one learner; the least recently used goes first.
LIMIT = 32


class Compiled:
    """Programs by their text. A copy of it is empty: programs cannot be copied."""

    def __init__(self) -> None:
        self._kept: OrderedDict[Hashable, Any] = OrderedDict()

    def program(
        self,
        function: Callable[..., Any],
        *arguments: PyTree,
        donate: tuple[int, ...] = (),
        out_shardings: PyTree = None,
    ) -> Callable[..., Any]:
        """`function`, compiled for arguments like these."""
        jitted = jax.jit(function, donate_argnums=donate, out_shardings=out_shardings)
        return self.compiled(jitted.trace(*arguments), arguments)

    def compiled(self, traced: Any, arguments: tuple[PyTree, ...]) -> Callable[..., Any]:
        """The same of what was traced already, with these arguments."""
        lowered = traced.lower()
        text = lowered.as_text()
        if HOST_CALL.search(text):
            return lowered.compile()
        agree_on_program(text)
        trees = jax.tree.structure(arguments), traced.out_tree
        # Equal structures may be of different constants (1 and True): their text tells them apart.
        # The text does not have the arguments that nothing reads, which the program checks.
        taken = tuple(traced.jaxpr.in_avals)
        key = text, taken, trees, str(trees), places(arguments), Surroundings.here()
        try:
            found = self._kept.pop(key, None)
        except (TypeError, ValueError):  # something static in the model that cannot be compared
            return lowered.compile()
        found = lowered.compile() if found is None else found
        self._kept[key] = found
        if len(self._kept) > LIMIT:
            self._kept.popitem(last=False)
        return found

    def __reduce__(self) -> tuple[type["Compiled"], tuple[()]]:
        return Compiled, ()


class ByKind:
    """A function of arguments of several kinds, compiled at the first of each.

    >>> import jax.numpy as jnp
    >>> double = ByKind(lambda x: 2 * x, Compiled())
    >>> double("scalar", jnp.ones(())), double("pair", jnp.ones(2))
    (Array(2., dtype=float32), Array([2., 2.], dtype=float32))
    """

    def __init__(
        self, function: Callable[..., Any], kept: Compiled, *, donate: tuple[int, ...] = ()
    ):
        self._jitted, self._kept = jax.jit(function, donate_argnums=donate), kept
        self._programs: dict[Hashable, Callable[..., Any]] = {}

    @property
    def jitted(self) -> Any:
        """The function as JAX alone compiles it."""
        return self._jitted

    def __call__(self, kind: Hashable, *arguments: PyTree) -> Any:
        """Its value; arguments of one kind have equal structures, types and places.

        JAX alone compiles where the kind is None: on several devices, whose layouts differ in
        ways that a kind does not say, and where nothing is compiled, for debugging.
        """
        if kind is None:
            return self._jitted(*arguments)
        program = self._programs.get(kind)
        if program is None:
            program = self._kept.compiled(self._jitted.trace(*arguments), arguments)
            self._programs[kind] = program
        return program(*arguments)


def kind_of(tree: PyTree) -> Hashable:
    """What a program for arrays like these depends on: their structure and types."""
    leaves, structure = jax.tree.flatten(tree)
    return structure, *map(jax.typeof, leaves)


def places(arguments: PyTree) -> Hashable:
    """Where the arrays are, which the text of a program does not say, and which types are weak."""
    return tuple(
        (leaf.sharding if leaf.committed else None, getattr(leaf, "weak_type", False))
        for leaf in jax.tree.leaves(arguments)
        if isinstance(leaf, jax.Array)
    )
