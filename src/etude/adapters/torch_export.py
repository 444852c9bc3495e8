"""A module of torch as programs; what a program cannot hold is refused by name."""

import copy
import logging
import warnings
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager, redirect_stderr
from functools import cache
from io import StringIO
from typing import Any

import numpy as np

from etude.adapters.aten import OPERATIONS, RANDOM
from etude.adapters.torch_program import Program, program_of
from etude.errors import ModelError


def programs(
    module: Any, examples: Sequence[Any], array: Callable[[str, Any], np.ndarray]
) -> tuple[Program, Program | None]:
    """The program of the module in evaluation, and of it as it is, if it is in training mode.

    Args:
        module: a `torch.nn.Module`, which stays as it is.
        examples: tensors that it is called with.
        array: an array of a named tensor.

    Raises:
        ModelError: it cannot be exported, or does what a program cannot hold: backward passes
            and hooks of its own, autocast, operations that we have none of.
    """
    import torch

    _refuse_hooks(module)
    with warnings.catch_warnings(), torch.enable_grad():
        warnings.simplefilter("ignore")  # torch warns of itself
        _refuse_own_gradients(_called(module, examples))
        training = _program(module, examples, array) if module.training else None
        with _evaluating(module):
            return _program(module, examples, array), training


def _program(module: Any, examples: Sequence[Any], array: Callable[..., Any]) -> Program:
    import torch
    from torch.export import Dim, ShapesCollection, default_decompositions, export

    axes: Any = ShapesCollection()
    for example in examples:
        if example.ndim:
            axes[example] = {0: Dim.AUTO}
    ours = OPERATIONS | RANDOM
    table = {op: how for op, how in default_decompositions().items() if str(op) not in ours}
    try:
        with _cumulative_averages(module), _recurrent_layers(), _quiet():
            exported = export(module, tuple(examples), dynamic_shapes=axes)
        _stop_gradients(exported.graph_module)
        exported = exported.run_decompositions(table)
    except ModelError:
        raise
    except Exception as error:
        depends = type(error).__name__ == "GuardOnDataDependentSymNode"
        cure = (
            "It decides by values of arrays, which a compiled program cannot: write torch.where."
            if depends
            else "Write the part that it cannot take in another way."
        )
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ModelError(
            f"torch.export cannot write {type(module).__name__} as a program. {cure} torch says: "
            f"{first}"
        ) from error
    constants = {
        name: array(f"constant {name}", value)
        for name, value in exported.constants.items()
        if isinstance(value, torch.Tensor)
    }
    return program_of(exported, constants)


def _stop_gradients(graph_module: Any) -> None:
    """Where gradients are off (`torch.no_grad`), results are detached: export forgets where."""
    import torch

    region = torch.ops.higher_order.wrap_with_set_grad_enabled
    for node in graph_module.graph.nodes:
        if not isinstance(node.target, torch._ops.HigherOrderOperator):
            continue
        if node.target is not region:
            raise ModelError(
                f"The module uses {node.target}, which there is none of here. For half precision, "
                "write Learner(precision=...); loops and branches have no place in a module."
            )
        enabled, inner = node.args[0], getattr(graph_module, node.args[1].target)
        _stop_gradients(inner)
        if enabled:
            continue
        (output,) = inner.graph.find_nodes(op="output")
        with inner.graph.inserting_before(output):
            stopped = [
                inner.graph.call_function(torch.ops.aten.detach.default, (one,))
                for one in output.args[0]
            ]
        for old, new in zip(output.args[0], stopped, strict=True):
            new.meta = copy.copy(old.meta)
        output.args = (tuple(stopped),)
        inner.recompile()


def _refuse_hooks(module: Any) -> None:
    for name, part in module.named_modules():
        if part._backward_hooks or part._backward_pre_hooks:
            raise ModelError(
                f"{name or 'The module'} has hooks on its backward pass, which is ours. Remove "
                "them; what they do belongs into the rule or the optimizer."
            )
    for name, tensor in module.named_parameters():
        if tensor._backward_hooks or tensor._post_accumulate_grad_hooks:
            raise ModelError(
                f"{name} has hooks on its gradient. Remove them; what they do belongs into the "
                "rule or the optimizer."
            )


def _refuse_own_gradients(outputs: Any) -> None:
    """Raises `ModelError` for a `torch.autograd.Function`, whose backward pass would be lost."""
    import torch
    from torch.utils._pytree import tree_leaves

    waiting = [one.grad_fn for one in tree_leaves(outputs) if isinstance(one, torch.Tensor)]
    seen = set()
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if isinstance(node, torch.autograd.function.BackwardCFunction):
            raise ModelError(
                f"The module has a gradient of its own ({type(node).__name__}), which torch.export "
                "leaves out. Write a torch.autograd.Function with operations that have its "
                "gradient, y + (x - y).detach(); pass a compiled module as it was before."
            )
        waiting.extend(before for before, _ in node.next_functions)


def _called(module: Any, examples: Sequence[Any]) -> Any:
    """What torch makes of the examples; buffers and attributes stay as they are.

    Raises `ModelError` if it fails, or changes attributes that are no buffers.
    """
    import torch

    buffers = {name: one.clone() for name, one in module.named_buffers()}
    before = {name: (part, dict(vars(part))) for name, part in module.named_modules()}
    with torch.random.fork_rng(devices=[]):
        try:
            call = torch.func.functional_call
            outputs = call(module, buffers, tuple(one.clone() for one in examples))
        except Exception as error:
            raise ModelError(
                f"{type(module).__name__} fails on the examples: {type(error).__name__}: {error}"
            ) from error
    for place, (part, attributes) in before.items():
        now = dict(vars(part))
        vars(part).clear()
        vars(part).update(attributes)
        for name in now:
            if now[name] is not attributes.get(name):
                raise ModelError(
                    f"The module changes {f'{place}.{name}'.lstrip('.')}, which is no buffer and "
                    "would not move here. Register it as a buffer; if it is computed once, at the "
                    "first call, call the module before: module(x)."
                )
    return outputs


@contextmanager
def _quiet() -> Generator[None, None, None]:
    """Without what torch logs and prints of a graph that it cannot write: the error says it."""
    logger = logging.getLogger("torch.fx.experimental.symbolic_shapes")
    before = logger.disabled
    logger.disabled = True
    try:
        with redirect_stderr(StringIO()):
            yield
    finally:
        logger.disabled = before


@contextmanager
def _evaluating(module: Any) -> Generator[None, None, None]:
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, mode in modes:
            part.training = mode


@contextmanager
def _replaced(owner: Any, name: str, new: Any) -> Generator[None, None, None]:
    """An attribute that the owner has from its class, for a while."""
    setattr(owner, name, new)
    try:
        yield
    finally:
        delattr(owner, name)


@contextmanager
def _cumulative_averages(module: Any) -> Generator[None, None, None]:
    """Batch normalisation with `momentum=None` as torch.export can write it.

    torch makes a number of Python of the counter of batches.
    """
    from torch import nn

    kinds = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
    with ExitStack() as stack:
        for part in module.modules():
            if type(part) not in kinds or not part.training or part.momentum is not None:
                continue
            if part.track_running_stats and "forward" not in vars(part):
                forward = _averaging(part)
                stack.enter_context(_replaced(part, "forward", forward))
        yield


def _averaging(norm: Any) -> Callable[[Any], Any]:
    from torch.nn import functional

    def forward(x: Any) -> Any:
        norm._check_input_dim(x)
        axes = [axis for axis in range(x.ndim) if axis != 1]
        norm.num_batches_tracked.add_(1)
        values = x.detach().to(norm.running_mean.dtype)
        share = 1 / norm.num_batches_tracked.to(values.dtype)
        for running, new in (
            (norm.running_mean, values.mean(axes)),
            (norm.running_var, values.var(axes, correction=1)),
        ):
            running.add_((new - running) * share)
        return functional.batch_norm(x, None, None, norm.weight, norm.bias, True, 0.0, norm.eps)

    return forward


@contextmanager
def _recurrent_layers() -> Generator[None, None, None]:
    """Recurrent layers as one operation each; torch would write all their steps one by one."""
    import torch

    with ExitStack() as stack:
        for name, operation in _recurrent_operations().items():
            stack.enter_context(_replaced(torch._VF, name, operation))
        yield


@cache
def _recurrent_operations() -> dict[str, Any]:
    # torch keeps the names of operations for the whole process.
    import torch

    def shapes(x: Any, start: Any, weights: Any, biases: bool, layers: int, *options: Any) -> Any:
        *_, both_ways, _ = options
        starts = start if isinstance(start, list) else [start]
        width = starts[0].shape[-1] * (1 + both_ways)
        return x.new_empty((*x.shape[:-1], width)), *map(torch.empty_like, starts)

    found = {}
    for name, state in (("lstm", 2), ("gru", 1), ("rnn_tanh", 1), ("rnn_relu", 1)):
        torch.library.define(
            f"etude::{name}",
            f"(Tensor x, {'Tensor[]' if state == 2 else 'Tensor'} start, Tensor[] weights, "
            "bool biases, int layers, float dropout, bool training, bool both_ways, "
            f"bool batch_first) -> ({', '.join(['Tensor'] * (1 + state))})",
        )
        torch.library.register_fake(f"etude::{name}", shapes)
        found[name] = getattr(torch.ops.etude, name)
    return found
