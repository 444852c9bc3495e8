"""The forward pass of a torch module as a list of operations, run on arrays of JAX.

`torch.export` writes it: what the module changes in its buffers is among the results, and each
operation is one of `aten`. Those that we have are kept, all others are taken apart into them.
"""

import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key, PyTree

from etude.adapters.aten import NEW, OPERATIONS, RANDOM
from etude.errors import ModelError, RuleError

#: Operations on sizes, which are numbers of Python.
SIZES = {getattr(operator, name) for name in ("getitem", "add", "sub", "mul", "floordiv", "mod")}
#: Statements about sizes and types, true when the graph was written, and about values, which a
#: compiled program cannot stop for.
IGNORED = {
    "aten._assert_async.msg",
    "aten._assert_scalar.default",
    "aten._assert_tensor_metadata.default",
}
#: What says where an array lies: JAX decides.
PLACEMENT = {"device", "layout", "pin_memory", "memory_format", "non_blocking", "requires_grad"}


@dataclass(frozen=True)
class Result:
    """Stands for the result of an earlier operation among the arguments of another."""

    name: str


@dataclass(frozen=True)
class Operation:
    """One line of a program."""

    result: str
    #: what it does, and in which part of the module
    said: str
    function: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    random: bool


@dataclass(frozen=True)
class Input:
    """What an input must be: its axes are numbers, or names of sizes that may differ."""

    name: str
    shape: tuple[int | str, ...]
    dtype: np.dtype


@final
@dataclass(frozen=True, eq=False)
class Program:
    """`program(held, inputs, key) -> (outputs, moved)`.

    Attributes:
        operations: in their order.
        inputs: of the module.
        held: the parameters and buffers that are read, by their names here: theirs in the module.
        constants: arrays that are no part of the module's state.
        moved: the buffers that get new values, and the results that these are.
        outputs: the structure of what the module returns, with the names of results.
        bounds: the least and the largest that sizes may be, of those that have bounds.
    """

    operations: tuple[Operation, ...]
    inputs: tuple[Input, ...]
    held: dict[str, str]
    constants: dict[str, np.ndarray]
    moved: dict[str, str]
    outputs: PyTree
    bounds: dict[str, tuple[float, float]]

    def __call__(
        self, held: Mapping[str, Any], inputs: Sequence[Any], key: Key[Array, ""] | None
    ) -> tuple[PyTree, dict[str, Array]]:
        """What the module returns, and the new values of its buffers.

        Raises `RuleError` for inputs of other axes or kinds than those of the example, and for
        random numbers without a key.
        """
        results: dict[str, Any] = {name: held[theirs] for name, theirs in self.held.items()}
        results |= {name: jnp.asarray(value) for name, value in self.constants.items()}
        results |= self._checked(inputs)
        drawn = 0
        for one in self.operations:
            args, kwargs = _filled(one.args, results), _filled(one.kwargs, results)
            if one.random:
                args = (None if key is None else jax.random.fold_in(key, drawn), *args)
                drawn += 1
            try:
                results[one.result] = one.function(*args, **kwargs)
            except RuleError:
                raise
            except Exception as error:
                raise ModelError(f"{one.said} failed: {error}") from error
        outputs = jax.tree.map(results.__getitem__, self.outputs)
        return outputs, {buffer: results[name] for buffer, name in self.moved.items()}

    def _checked(self, inputs: Sequence[Any]) -> dict[str, Array]:
        if len(inputs) != len(self.inputs):
            raise RuleError(
                f"The module got {len(inputs)} inputs; its examples were {len(self.inputs)}."
            )
        arrays, sizes = [jnp.asarray(one) for one in inputs], {}
        for array, wanted in zip(arrays, self.inputs, strict=True):
            fits = len(array.shape) == len(wanted.shape) and all(
                got == sizes.setdefault(size, got) if isinstance(size, str) else got == size
                for got, size in zip(array.shape, wanted.shape, strict=True)
            )
            if not fits:
                raise RuleError(
                    f"Input {wanted.name!r} of the module has shape {array.shape}; expected "
                    f"({', '.join(map(str, wanted.shape))}), as in the example. The first axis may "
                    "differ if the example had two samples or more and the module does not fix "
                    "it; for other sizes, make a model with another example."
                )
            if _kind(array.dtype) is not _kind(wanted.dtype):
                raise RuleError(
                    f"Input {wanted.name!r} of the module is {array.dtype}; in the example it was "
                    f"{wanted.dtype}. Convert it: x.astype({str(wanted.dtype)!r})."
                )
        for size, (least, most) in self.bounds.items():
            if not least <= sizes.get(size, least) <= most:
                raise RuleError(
                    f"The module got {sizes[size]} samples; it takes {least} to {most}, as "
                    "torch.export found. For others, make a model with another example."
                )
        return {wanted.name: one for wanted, one in zip(self.inputs, arrays, strict=True)}


def _kind(dtype: Any) -> Any:
    kinds = (jnp.bool_, jnp.integer, jnp.floating, jnp.complexfloating)
    return next(kind for kind in kinds if jnp.issubdtype(dtype, kind))


def _filled(value: Any, results: Mapping[str, Any]) -> Any:
    if isinstance(value, Result):
        return results[value.name]
    if isinstance(value, np.dtype):
        return jax.dtypes.canonicalize_dtype(value)
    if isinstance(value, list | tuple):
        return type(value)(_filled(one, results) for one in value)
    if isinstance(value, dict):
        return {name: _filled(one, results) for name, one in value.items()}
    return value


def program_of(exported: Any, constants: Mapping[str, np.ndarray]) -> Program:
    """The program of an exported module (`torch.export.ExportedProgram`), taken apart already.

    Raises `ModelError`, in one message, for all operations that there are none of here; for
    results of 64 bits that would lose digits; and for what it changes besides its buffers.
    """
    signature = exported.graph_signature
    strangers: dict[str, list[str]] = {}
    rounded: list[str] = []
    operations: list[Operation] = []
    inputs: list[Input] = []
    held = dict(signature.inputs_to_parameters) | dict(signature.inputs_to_buffers)
    theirs = dict(signature.inputs_to_lifted_tensor_constants)
    for node in exported.graph.nodes:
        if node.op == "placeholder" and node.name in signature.user_inputs:
            value = node.meta["val"]
            shape = tuple(size if isinstance(size, int) else str(size) for size in value.shape)
            inputs.append(Input(node.name, shape, dtype_of(value.dtype)))
        elif node.op == "call_function":
            name, place = str(node.target), _place(node)
            if name in IGNORED:
                continue
            function = _function(node.target, name)
            if function is None:
                strangers.setdefault(name, []).append(place)
                continue
            kwargs = {k: _plain(v) for k, v in node.kwargs.items() if k not in PLACEMENT}
            if name in NEW and kwargs.get("dtype") is None:
                kwargs["dtype"] = dtype_of(node.meta["val"].dtype)
            said = f"{name} in {place}" if place else name
            rounded += [f"{said} gives {wide}" for wide in _rounded(node.meta.get("val"))]
            args = tuple(_plain(one) for one in node.args)
            operations.append(Operation(node.name, said, function, args, kwargs, name in RANDOM))
    if strangers:
        listed = "; ".join(
            f"{name} in {', '.join(dict.fromkeys(places))}" if any(places) else name
            for name, places in strangers.items()
        )
        raise ModelError(
            f"The module uses operations of torch that there are none of here: {listed}. Write "
            "that part with others, or in JAX."
        )
    if rounded:
        more = f" and {len(rounded) - 3} more" if len(rounded) > 3 else ""
        raise ModelError(
            "The module computes in 64 bits, which would lose digits: "
            f"{'; '.join(rounded[:3])}{more}. Set jax_enable_x64, or write that part in "
            "torch.float32."
        )
    moved, outputs = _outputs(exported)
    return Program(
        tuple(operations),
        tuple(inputs),
        held,
        {name: constants[theirs[name]] for name in theirs},
        moved,
        outputs,
        _bounds(exported.range_constraints),
    )


def _bounds(ranges: Mapping[Any, Any]) -> dict[str, tuple[float, float]]:
    found = {}
    for symbol, one in ranges.items():
        # torch counts from 2 where it could be told from 1; one sample goes the same way here.
        least = 0 if one.lower <= 2 else int(one.lower)
        most = int(one.upper) if one.upper < 2**60 else float("inf")
        if least or most < float("inf"):
            found[str(symbol)] = least, most
    return found


def _rounded(results: Any) -> list[str]:
    """The types of an operation's results that JAX would round; integers overflow, or are exact."""
    found = []
    for one in results if isinstance(results, list | tuple) else [results]:
        if type(one).__module__.startswith("torch._subclasses"):  # a tensor, not a size
            wide = dtype_of(one.dtype)
            if jnp.issubdtype(wide, jnp.inexact) and jax.dtypes.canonicalize_dtype(wide) != wide:
                found.append(str(wide))
    return found


def dtype_of(dtype: Any) -> np.dtype:
    """A type of torch as one of JAX."""
    return jnp.dtype(str(dtype).removeprefix("torch."))


def _function(target: Any, name: str) -> Any:
    return target if target in SIZES else RANDOM.get(name) or OPERATIONS.get(name)


def _place(node: Any) -> str:
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    return repr(stack[-1][0]) if stack and stack[-1][0] else ""


def _plain(value: Any) -> Any:
    """An argument in a graph without what belongs to torch."""
    if isinstance(value, list | tuple):
        return (list if isinstance(value, list) else tuple)(_plain(one) for one in value)
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    if type(value).__module__.startswith("torch.fx"):
        return Result(value.name)
    if type(value).__module__.startswith("torch") and type(value).__name__ == "dtype":
        return dtype_of(value)
    return value


def _outputs(exported: Any) -> tuple[dict[str, str], PyTree]:
    names, moved = [], {}
    for spec in exported.graph_signature.output_specs:
        if spec.kind.name == "BUFFER_MUTATION":
            moved[spec.target] = spec.arg.name
        elif spec.kind.name != "USER_OUTPUT":
            what = spec.kind.name.lower().replace("_", " ")
            raise ModelError(
                f"The module changes what is no buffer ({what} of {spec.target!r}). Write "
                "`x = x + 1` instead of `x += 1`, and register what it keeps as a buffer."
            )
        elif type(spec.arg).__name__ != "TensorArgument":
            raise ModelError(f"The module returns {spec.arg}. Return tensors only.")
        else:
            names.append(spec.arg.name)
    outputs = exported.call_spec.out_spec.unflatten(names)
    for leaf in jax.tree.leaves(outputs):
        if not isinstance(leaf, str):
            raise ModelError(
                f"The module returns a {type(leaf).__name__}. Return tensors, or tuples, lists or "
                "dicts of them; for a model of transformers, pass return_dict=False."
            )
    return moved, outputs
