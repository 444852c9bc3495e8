"""The part of a model that a learner trains, and what of the rest may move with it."""

from collections.abc import Callable

import equinox as eqx
import jax
from jaxtyping import Array, PyTree

from etude.engine.leaf_roles import Role, is_array, roles, selected
from etude.engine.learner import Learner
from etude.errors import ModelError


class Part(eqx.Module):
    """Which array leaves of one model a learner trains, may move, and computes with."""

    #: owned parameters
    trained: PyTree = eqx.field(static=True)
    #: leaves that take the values that the rule returns in `Proposal.model`
    moved: PyTree = eqx.field(static=True)
    #: parameters, owned or not: what is cast to the precision of the computation
    parameters: PyTree = eqx.field(static=True)
    #: the role of every array
    roles: PyTree = eqx.field(static=True)
    #: what `where` selects: the number of each trained leaf among these, None for the others
    selection: PyTree = eqx.field(static=True)

    @classmethod
    def of(cls, learner: Learner, model: PyTree) -> "Part":
        """The part of `model` that `learner` trains. Raises `ModelError` if it is empty."""
        leaves, treedef = jax.tree.flatten(model)
        kinds, selection = roles(model), selected(model, learner.where)
        mine = set(jax.tree.leaves(selection))

        def mask(test: Callable[[Role, bool], object]) -> PyTree:
            flags = [
                test(kind, index in mine) if is_array(leaf) else None
                for index, (leaf, kind) in enumerate(zip(leaves, kinds, strict=True))
            ]
            return jax.tree.unflatten(treedef, flags)

        def moves(kind: Role, own: bool) -> bool:
            if kind is Role.PARAMETER:
                return own and learner.optimizer is None
            return kind is Role.CARRIED or (own and kind is Role.STATISTIC)

        trained = mask(lambda kind, own: own and kind is Role.PARAMETER)
        order = [i for i in sorted(mine) if is_array(leaves[i]) and kinds[i] is Role.PARAMETER]
        part = cls(
            trained=trained,
            moved=mask(moves),
            parameters=mask(lambda kind, own: kind is Role.PARAMETER),
            roles=mask(lambda kind, own: kind),
            selection=jax.tree.map({index: n for n, index in enumerate(order)}.get, selection),
        )
        carries = learner.optimizer is None and any(kinds[i] is Role.CARRIED for i in mine)
        if not (order or carries):
            raise ModelError(
                f"{learner.title} has nothing to train: `where` selects no "
                "floating-point array that is a parameter. Integers, arrays in `Fixed` or "
                "`Carry`, an Equinox State and NNX variables other than nnx.Param are never "
                "trained."
            )
        return part

    def split(self, arrays: PyTree) -> tuple[PyTree, PyTree]:
        """`(trainable, rest)` of the arrays of a model."""
        return eqx.partition(arrays, self.trained)

    def pick(self, trainable: PyTree) -> PyTree:
        """`trainable` as `where` selects it; what is not trained is None."""
        leaves = jax.tree.leaves(trainable)
        return jax.tree.map(lambda number: leaves[number], self.selection)

    def put(self, picked: list[Array], trainable: PyTree) -> PyTree:
        """`trainable` with the leaves of `pick(trainable)` replaced, in their order."""
        leaves, treedef = jax.tree.flatten(trainable)
        for number, leaf in zip(jax.tree.leaves(self.selection), picked, strict=True):
            leaves[number] = leaf
        return jax.tree.unflatten(treedef, leaves)
