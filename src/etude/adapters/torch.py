"""Modules of torch: trained on the compiled engine, and written back.

The forward pass is exported once and runs on arrays of JAX; while it trains, nothing of torch does.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key

from etude.adapters.torch_export import programs
from etude.adapters.torch_program import Program, dtype_of
from etude.engine.leaf_roles import Carry, Fixed
from etude.engine.rule import Context
from etude.errors import ModelError, RuleError


@dataclass(frozen=True)
class Entry:
    """A parameter or buffer of a module, by one of its names."""

    name: str
    #: the first of its names
    kept_as: str
    shape: tuple[int, ...]
    #: `torch.float32`
    dtype: Any
    #: whether `module.state_dict()` has it
    saved: bool


@final
class TorchModule(eqx.Module):
    """A module of torch as a model; made by `et.torch_module`.

    Attributes:
        params: what learns, by names as in `module.named_parameters()`; tied ones once.
        buffers: what moves where `moved` is returned: batch statistics, counters.
        fixed: parameters that need no gradient, and buffers that are in no `state_dict`.
    """

    params: dict[str, Array]
    buffers: Carry
    fixed: Fixed
    evaluation: Program = eqx.field(static=True, repr=False)
    training: Program | None = eqx.field(static=True, repr=False)
    entries: tuple[Entry, ...] = eqx.field(static=True, repr=False)

    def __call__(self, *inputs: Any, key: Key[Array, ""] | None = None) -> Any:
        """Outputs as after `module.eval()`; nothing moves.

        `key` is needed by modules that draw random numbers in evaluation as well. Raises
        `RuleError` for inputs of other axes or kinds than the examples.
        """
        return self.evaluation(self._held, inputs, key)[0]

    def moved(self, context: Context, *inputs: Any) -> tuple[Any, "TorchModule"]:
        """Outputs in training, and the model with its buffers as they are then.

        Every part is in the mode that it was in when the module was passed. Random numbers come
        from `context.key`. Buffers move where the loss returns this model as its third value; of a
        loss that returns its value alone they stay, and nothing says so. Raises `RuleError` as a
        call does, and for a module that was passed in evaluation.
        """
        if self.training is None:
            raise RuleError(
                "The module was in evaluation when it was passed to et.torch_module, so that it "
                "cannot train: call module.train() before, and .eval() of parts whose statistics "
                "shall stay."
            )
        outputs, moved = self.training(self._held, inputs, context.key)
        kept_as = {one.name: one.kept_as for one in self.entries}
        buffers = dict(self.buffers.value)
        for name, new in moved.items():
            buffers[kept_as[name]] = new.astype(buffers[kept_as[name]].dtype)
        return outputs, TorchModule(
            self.params,
            Carry(buffers),
            self.fixed,
            self.evaluation,
            self.training,
            self.entries,
        )

    def state_dict(self) -> dict[str, Any]:
        """Tensors on the CPU, for `module.load_state_dict`.

        Raises `ModelError` for arrays of other shapes, as those of several members.
        """
        import torch

        found: dict[str, Any] = {}
        arrays = jax.device_get(self._held)
        for entry in self.entries:
            if not entry.saved:
                continue
            array = np.asarray(arrays[entry.name])
            if array.shape != entry.shape:
                raise ModelError(
                    f"{entry.name} has shape {array.shape}; the module has {entry.shape}. A "
                    "population has many models: take one of its members."
                )
            if entry.kept_as in found:
                found[entry.name] = found[entry.kept_as]
                continue
            if array.dtype == jnp.bfloat16:
                array = array.astype(np.float32)  # NumPy of torch has none
            found[entry.name] = torch.tensor(array, dtype=entry.dtype)
        return found

    @property
    def _held(self) -> dict[str, Any]:
        arrays = {**self.params, **self.fixed.value, **self.buffers.value}
        return arrays | {one.name: arrays[one.kept_as] for one in self.entries}


def torch_module(module: Any, *examples: Any) -> TorchModule:
    """A module of torch as a model: its parameters learn, its buffers move.

    In a loss, `outputs, model = model.moved(context, x)`, and the new model is returned as the
    third value; in a measure, `model(x)`. A loss that calls `model(x)`, or does not return the
    model, trains without error, but batch statistics stay as they were. The trained weights go
    back by `module.load_state_dict(result.model.state_dict())`.

    Args:
        module: a `torch.nn.Module`, in training mode, with parts in evaluation whose statistics
            shall stay. It stays as it is. Parameters that need no gradient do not learn, and tied
            ones stay tied.
        examples: the inputs of a call, tensors or arrays, of two samples or more. The first axis
            of each may have another size later, other axes not.

    Raises:
        ModelError: torch is not installed; something that is no module, that fails on the
            examples, or whose training would not be torch's: operations that we have none of,
            backward passes of its own, state that no `state_dict` holds, floats of 64 bits without
            `jax_enable_x64`. The message names it.

    >>> import torch  # doctest: +SKIP
    >>> net = torch.nn.Linear(3, 2)  # doctest: +SKIP
    >>> torch_module(net, torch.zeros(4, 3))(jnp.zeros((5, 3))).shape  # doctest: +SKIP
    (5, 2)
    """
    try:
        import torch
    except ImportError as error:
        raise ModelError(
            "torch_module needs torch, which is not installed: pip install 'etude[torch]'."
        ) from error
    if not isinstance(module, torch.nn.Module):
        raise ModelError(
            f"torch_module: got a {type(module).__name__}; expected a torch.nn.Module."
        )
    tensors = tuple(_example(number, one) for number, one in enumerate(examples))
    if not tensors:
        raise ModelError("torch_module: no example. Pass the inputs of a call: (module, x).")
    entries = _entries(module)
    arrays = _arrays(module, entries)
    evaluation, training = programs(module, tensors, _array)
    lost = [one for one in entries if training and one.name in training.moved and not one.saved]
    if lost:
        raise ModelError(
            f"The buffer {lost[0].name} moves, but no state_dict has it (persistent=False), so "
            "that it could not be written back. Register it as persistent."
        )
    params, buffers, fixed = {}, {}, {}
    learning = {name for name, one in module.named_parameters() if one.requires_grad}
    moving = {name for name, _ in module.named_buffers()}
    for one in entries:
        if one.name == one.kept_as:
            kind = buffers if one.name in moving and one.saved else fixed
            (params if one.name in learning else kind)[one.name] = arrays[one.name]
    model = TorchModule(params, Carry(buffers), Fixed(fixed), evaluation, training, entries)
    _try(model, tensors)
    return model


def _example(number: int, value: Any) -> Any:
    import torch

    if isinstance(value, torch.Tensor):
        return value.detach().clone()
    if not isinstance(value, np.ndarray | jax.Array):
        raise ModelError(
            f"torch_module: example {number} is a {type(value).__name__}; expected a tensor or an "
            "array, as in et.torch_module(module, x, mask)."
        )
    return torch.tensor(np.asarray(value))


def _entries(module: Any) -> tuple[Entry, ...]:
    """All parameters and buffers. Raises `ModelError` for state that is neither."""
    from torch.nn.parameter import is_lazy

    named = dict(module.named_parameters(remove_duplicate=False))
    named |= dict(module.named_buffers(remove_duplicate=False))
    for name, one in named.items():
        if is_lazy(one) or one.is_meta:
            raise ModelError(
                f"{name} has no values yet. Call the module once, module(x), or load its weights."
            )
    saved = set(module.state_dict())
    if strange := sorted(saved - set(named)):
        raise ModelError(
            f"The state_dict holds {strange[0]}, which is neither a parameter nor a buffer, so "
            "that it could not be written back. Register it as one."
        )
    if lost := [name for name, _ in module.named_parameters() if name not in saved]:
        raise ModelError(
            f"The parameter {lost[0]} is not in the state_dict under its name, so that it could "
            "not be written back. Remove the hook that renames or removes it."
        )
    _refuse_shared_memory(named)
    first: dict[int, str] = {}
    return tuple(
        Entry(
            name,
            first.setdefault(id(one), name),
            tuple(one.shape),
            one.dtype,
            name in saved,
        )
        for name, one in named.items()
    )


def _arrays(module: Any, entries: tuple[Entry, ...]) -> dict[str, Array]:
    """The values of parameters and buffers, tied ones once."""
    tensors = dict(module.named_parameters()) | dict(module.named_buffers())
    names = [one.name for one in entries if one.name == one.kept_as]
    return {name: jnp.asarray(_array(name, tensors[name])) for name in names}


def _refuse_shared_memory(named: Mapping[str, Any]) -> None:
    """Tied parameters are one tensor; two tensors over one memory would come apart here."""
    distinct = {id(one): (one.data_ptr(), name, one) for name, one in named.items() if one.numel()}
    for (start, name, one), (after, other, _) in pairwise(sorted(distinct.values(), key=_first)):
        if after < start + one.numel() * one.element_size():
            raise ModelError(
                f"{name} and {other} are views of one memory, which would come apart. Tie them by "
                "assigning the same parameter: a.weight = b.weight."
            )


def _first(item: tuple[int, str, Any]) -> int:
    return item[0]


def _array(name: str, tensor: Any) -> np.ndarray:
    """A tensor as an array of the type it has on the device."""
    import torch

    tensor = tensor.detach().cpu()
    half = tensor.dtype == torch.bfloat16  # of which NumPy of torch knows nothing
    try:
        array = (tensor.float() if half else tensor).numpy().copy()
    except (TypeError, RuntimeError, ValueError) as error:
        raise ModelError(f"{name} cannot be read as an array: {error}") from error
    array = array.astype(jnp.bfloat16) if half else array
    dtype = jax.dtypes.canonicalize_dtype(array.dtype)
    whole = np.issubdtype(array.dtype, np.integer)
    bounds = np.iinfo(dtype) if whole else None
    fits = bounds and (not array.size or (bounds.min <= array.min() and array.max() <= bounds.max))
    if dtype != array.dtype and not fits:
        raise ModelError(
            f"{name} is {array.dtype}, which does not fit {dtype}. Set jax_enable_x64"
            + ("." if whole else ", or convert the module: module.float().")
        )
    return array.astype(dtype, copy=False)


def _try(model: TorchModule, examples: tuple[Any, ...]) -> None:
    """Both programs, without computing: whatever they refuse, they refuse now."""
    key = jax.eval_shape(lambda: jax.random.key(0))
    inputs = [jax.ShapeDtypeStruct(tuple(one.shape), dtype_of(one.dtype)) for one in examples]

    def both(model: TorchModule, key: Key[Array, ""], *inputs: Array) -> Any:
        training = model.training and model.moved(Context.at(key), *inputs)
        return model(*inputs, key=key), training

    try:
        jax.eval_shape(both, model, key, *inputs)
    except TypeError as error:
        raise ModelError(f"The module returns what is not supported: {error}") from error
