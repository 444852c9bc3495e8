"""Every operation against torch: values, types, and gradients, at kinks and ties as well."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import etude as et
from etude.adapters.aten.elements import ELEMENTS
from etude.adapters.aten.layers import LAYERS
from etude.adapters.aten.making import LIKE, MADE
from etude.adapters.aten.places import PLACES
from etude.adapters.aten.reductions import REDUCTIONS
from etude.adapters.aten.shapes import SHAPES
from etude.adapters.aten.types import named

torch = pytest.importorskip("torch")
nn, F, aten = torch.nn, torch.nn.functional, torch.ops.aten

#: Batch normalisation in training, and sizes of the first axis.
ELSEWHERE = {"aten._native_batch_norm_legit_functional.default", "aten.sym_size.int"}
T = torch.float64
RNG = np.random.default_rng(0)
#: with zeros, ties, and the bounds of hardtanh; at those of clamp, versions of torch differ
X = torch.tensor(RNG.normal(size=(3, 4)), dtype=T)
X[0, :3], X[1, 1:3], X[2, 0] = torch.tensor([0.0, -1.0, 1.0]), 0.7, 0.0
Y = torch.tensor(RNG.normal(size=(3, 4)), dtype=T)
Y[1, 1], Y[2, 2] = X[1, 1], X[2, 2]
P = torch.tensor(RNG.uniform(0.1, 0.9, (3, 4)), dtype=T)
WHOLE = torch.tensor(RNG.integers(-5, 6, (3, 4)))
FLAGS = WHOLE > 0
ROWS = torch.tensor([[2, 0], [1, 2]])
SOUND = torch.tensor(RNG.normal(size=(2, 4, 9)), dtype=T)
PICTURE = torch.tensor(RNG.normal(size=(2, 4, 7, 6)), dtype=T)
BODY = torch.tensor(RNG.normal(size=(2, 2, 4, 5, 4)), dtype=T)


def set_to(x, index, value):
    x = x.clone()
    x[index] = value
    return x


REALS = {
    **{
        name: (lambda x, p, y, n, b, name=name: getattr(torch, name)(p))
        for name in (
            *("acos", "asin", "asinh", "atan", "atanh", "cos", "cosh", "exp", "exp2", "expm1"),
            *("log", "log10", "log1p", "log2", "reciprocal", "rsqrt", "sin", "sinh", "sqrt"),
            *("tan", "tanh", "lgamma", "digamma", "erf", "erfc", "erfinv", "sigmoid"),
        )
    },
    **{
        name: (lambda x, p, y, n, b, name=name: getattr(torch, name)(x))
        for name in ("abs", "ceil", "floor", "neg", "relu", "sign", "trunc", "isnan", "isinf")
    },
    "acosh": lambda x, p, y, n, b: torch.acosh(1 + p),
    "round": lambda x, p, y, n, b: torch.round(x * 2.5),
    "clamp": lambda x, p, y, n, b: x.clamp(-0.9, 0.9),
    "clamp tensor": lambda x, p, y, n, b: x.clamp(-p, p),
    "clamp max": lambda x, p, y, n, b: torch.clamp_max(x, 0.6),
    "clamp min": lambda x, p, y, n, b: torch.clamp_min(x, 0.1),
    "elu": lambda x, p, y, n, b: F.elu(x, 0.5),
    "gelu": lambda x, p, y, n, b: F.gelu(x),
    "gelu tanh": lambda x, p, y, n, b: F.gelu(x, approximate="tanh"),
    "glu": lambda x, p, y, n, b: F.glu(x),
    "hardtanh": lambda x, p, y, n, b: F.hardtanh(x),
    "relu6": lambda x, p, y, n, b: F.relu6(x * 6),
    "hardswish": lambda x, p, y, n, b: F.hardswish(x),
    "hardsigmoid": lambda x, p, y, n, b: F.hardsigmoid(x),
    "leaky_relu": lambda x, p, y, n, b: F.leaky_relu(x, 0.2),
    "log_sigmoid": lambda x, p, y, n, b: F.logsigmoid(x * 1000),
    "mish": lambda x, p, y, n, b: F.mish(x * 1000),
    "selu": lambda x, p, y, n, b: F.selu(x),
    "silu": lambda x, p, y, n, b: F.silu(x),
    "softplus": lambda x, p, y, n, b: F.softplus(x * 1000, 2.0, 3.0),
    "softplus near": lambda x, p, y, n, b: F.softplus(x, 2.0, 3.0),
    "pow 3": lambda x, p, y, n, b: x**3,
    "pow 0.5": lambda x, p, y, n, b: p**0.5,
    "pow -2": lambda x, p, y, n, b: p**-2,
    "pow of 2": lambda x, p, y, n, b: 2**x,
    "pow of arrays": lambda x, p, y, n, b: p**x,
    "pow of 0": lambda x, p, y, n, b: x.relu() ** x.relu().detach(),
    "set where": lambda x, p, y, n, b: set_to(x, b, 2.0),
    "set rows where": lambda x, p, y, n, b: set_to(x, b[:, 0], y[0]),
    "set columns where": lambda x, p, y, n, b: set_to(x, (slice(None), b[0]), 0.5),
    "add where": lambda x, p, y, n, b: x.index_put((b,), y[0, 0], accumulate=True),
    "where": lambda x, p, y, n, b: torch.where(x > 0.5, x, p),
}

PAIRS = {
    "add": lambda x, p, y, n, b: torch.add(x, y, alpha=0.5),
    "add number": lambda x, p, y, n, b: x + 2,
    "sub": lambda x, p, y, n, b: torch.sub(x, n, alpha=2),
    "rsub": lambda x, p, y, n, b: 1 - x,
    "mul": lambda x, p, y, n, b: x * n,
    "mul number": lambda x, p, y, n, b: n * 0.5,
    "div": lambda x, p, y, n, b: x / (2 + y.abs()),
    "div whole": lambda x, p, y, n, b: n / 3,
    "div floor": lambda x, p, y, n, b: torch.div(n, 3, rounding_mode="floor"),
    "div floor real": lambda x, p, y, n, b: torch.div(x, 0.3, rounding_mode="floor"),
    "div trunc": lambda x, p, y, n, b: torch.div(n, 3, rounding_mode="trunc"),
    "div trunc real": lambda x, p, y, n, b: torch.div(x, 0.3, rounding_mode="trunc"),
    "single number": lambda x, p, y, n, b: x.float() * y.sum(),
    "fmod": lambda x, p, y, n, b: torch.fmod(x, 0.4),
    "remainder": lambda x, p, y, n, b: torch.remainder(n, 3) + torch.remainder(x, 0.4),
    "atan2": lambda x, p, y, n, b: torch.atan2(x, 3 + y),
    "maximum": lambda x, p, y, n, b: torch.maximum(x, y),
    "minimum": lambda x, p, y, n, b: torch.minimum(x, y),
    **{
        name: (lambda x, p, y, n, b, name=name: getattr(torch, name)(x, y))
        for name in ("eq", "ne", "lt", "le", "gt", "ge")
    },
    **{
        f"{name} number": (lambda x, p, y, n, b, name=name: getattr(torch, name)(n, 1))
        for name in ("eq", "ne", "lt", "le", "gt", "ge", "bitwise_and", "bitwise_or", "bitwise_xor")
    },
    **{
        name: (lambda x, p, y, n, b, name=name: getattr(torch, name)(n, b))
        for name in ("logical_and", "logical_or", "logical_xor", "bitwise_and", "bitwise_or")
    },
    "not": lambda x, p, y, n, b: torch.logical_not(n),
    "invert": lambda x, p, y, n, b: ~b,
    "xor": lambda x, p, y, n, b: b ^ (n > 2),
    "numbers": lambda x, p, y, n, b: (
        aten.add.Scalar(x, 2),
        aten.sub.Scalar(n, 2, 3),
        aten.mul.Scalar(n, 2),
        aten.div.Scalar(n, 2),
        aten.div.Scalar_mode(n, 3, rounding_mode="floor"),
    ),
    "fmod arrays": lambda x, p, y, n, b: torch.fmod(x, p) + torch.remainder(x, p),
    "clamp max array": lambda x, p, y, n, b: aten.clamp_max.Tensor(x, p),
    "cast": lambda x, p, y, n, b: n.to(torch.float64) + b,
    "logical_not": lambda x, p, y, n, b: torch.logical_not(x),
    "cosine": lambda x, p, y, n, b: F.cosine_similarity(x, y),
    "lerp": lambda x, p, y, n, b: torch.lerp(x, y, 0.3),
}

OVER_AXES = {
    "all": lambda x, n, b: (b.all(), b.all(1), b.any(), b.any(0, keepdim=True), b.all((0, 1))),
    "any": lambda x, n, b: b.any((0, 1)),
    "amax": lambda x, n, b: x.amax(1) + x.amin((0, 1)),
    "arg": lambda x, n, b: (x.argmax(), x.argmax(1), x.argmin(0, keepdim=True), n.argmin()),
    "cumsum": lambda x, n, b: x.cumsum(1),
    "cumprod": lambda x, n, b: x.cumprod(0),
    "norm": lambda x, n, b: torch.linalg.vector_norm(x[:2], 2, 1),
    "norm of nothing": lambda x, n, b: torch.linalg.vector_norm(x * 0, 2),
    "norm 1": lambda x, n, b: torch.linalg.vector_norm(x, 1, 0, keepdim=True),
    "norm max": lambda x, n, b: torch.linalg.vector_norm(x, float("inf")),
    "normalize": lambda x, n, b: F.normalize(x),
    "logsumexp": lambda x, n, b: x.logsumexp(1),
    "max": lambda x, n, b: (x.max(), x.min(), *x.max(1), *x.min(0, keepdim=True)),
    "mean": lambda x, n, b: (x.mean(), x.mean(1), x.mean((0, 1), keepdim=True)),
    "prod": lambda x, n, b: ((1 + x.abs()).prod(), x.prod(1), n.prod(0)),
    "sum": lambda x, n, b: (x.sum(), n.sum(), b.sum(0), x.sum((0, 1)), n.sum(0, dtype=x.dtype)),
    "sort": lambda x, n, b: (x[0].sort().values, x[1:].flatten()[:3].sort(descending=True).indices),
    "topk": lambda x, n, b: x[2].topk(2),
    "smallest": lambda x, n, b: x[2].topk(2, largest=False),
    "var": lambda x, n, b: (x.var(), x.std(1), x.var(0, correction=0, keepdim=True)),
    "var_mean": lambda x, n, b: torch.var_mean(x, 1),
}

SHAPED = {
    "cat": lambda x, n, i: torch.cat([x, n]),
    "stack": lambda x, n, i: torch.stack([x, x + 1], 1),
    "pad": lambda x, n, i: F.pad(x, (1, -1, 0, 2), value=3.0),
    "reflect 1": lambda x, n, i: F.pad(x[None], (1, 2), mode="reflect"),
    "reflect 2": lambda x, n, i: F.pad(x[None], (1, 2, 1, 0), mode="reflect"),
    "replicate": lambda x, n, i: F.pad(x[None, None], (1, 2, 1, 0), mode="replicate"),
    "diagonal": lambda x, n, i: x.diagonal(1),
    "expand": lambda x, n, i: x[:, None].expand(2, -1, 5, 4),
    "flip": lambda x, n, i: x.flip(0, 1),
    "permute": lambda x, n, i: x[None].permute(2, 0, 1),
    "repeat": lambda x, n, i: x.repeat(2, 1, 2),
    "roll": lambda x, n, i: (x.roll(1, 0), x.roll((1, 2), (0, 1)), x.roll(3)),
    "select": lambda x, n, i: (x.select(1, -1), x[:, 1:3], x[:, ::2], x[-2:]),
    "set": lambda x, n, i: (set_to(x, (0,), 2.0), set_to(x, (slice(None), slice(1, 3)), 0.5)),
    "select_scatter": lambda x, n, i: torch.select_scatter(x, x[0] * 2, 0, 1),
    "slice_scatter": lambda x, n, i: torch.slice_scatter(x, x[:2] * 2, 0, 1, 3),
    "split": lambda x, n, i: (*x.split(3, 1), *x.split([1, 3], 1), *x.chunk(2, 1), *x.unbind(1)),
    "squeeze": lambda x, n, i: (x[None, :, None].squeeze(), x[None].squeeze(0), x[None].squeeze(1)),
    "squeeze several": lambda x, n, i: torch.squeeze(x[None, :, None], (0, 1, 2)),
    "triangles": lambda x, n, i: (x.tril(), x.triu(1)),
    "view": lambda x, n, i: (x.reshape(2, 6), x.flatten(), x.T.reshape(-1)),
    "contiguous": lambda x, n, i: x.T.contiguous().view(3, 4),
    "copy": lambda x, n, i: torch.zeros_like(x).copy_(x[0]) + torch.ones_like(x, dtype=T),
    "new": lambda x, n, i: torch.full((2, 2), 0.5) + torch.full_like(x[:2, :2], 3),
    "range": lambda x, n, i: (torch.arange(1, 7, 2), torch.arange(0.0, 1.0, 0.25)),
    "empty": lambda x, n, i: F.pad(x[None], (1, 1), mode="circular"),
    "eye": lambda x, n, i: x[:, :3] @ torch.eye(3, dtype=T),
    "embedding": lambda x, n, i: F.embedding(i, x, padding_idx=1),
    "gather": lambda x, n, i: x.gather(1, i),
    "index": lambda x, n, i: (x[i], x[:, i], x[i, i], x[torch.tensor([-1, 0])]),
    "index_select": lambda x, n, i: x.index_select(1, i[0]),
    "index_put": lambda x, n, i: x.index_put((i[0],), x[:2] * 3),
    "index_add": lambda x, n, i: x.index_put((i[:, 0],), x[:2] * 3, accumulate=True),
    "scatter": lambda x, n, i: (x.scatter(1, i, x[:2, :2] * 2), x.scatter(1, i, 0.5)),
    "scatter_add": lambda x, n, i: x.scatter_add(0, i, x[:2, :2] * 2),
    "masked": lambda x, n, i: x.masked_fill(x > 0.5, 0),
    "detach": lambda x, n, i: x + (x.round() - x).detach(),
    "from decompositions": lambda x, n, i: (aten.alias(x), aten._unsafe_index(x, [i])),
    "one hot": lambda x, n, i: F.one_hot(i, 3),
}

OF_LAYERS = {
    "products": lambda s, p, b: (s[0] @ s[1].T, s @ s.mT, torch.einsum("ij,kj->ik", s[0], s[1])),
    "linear": lambda s, p, b: F.linear(s, s[0], s[0, :, 0]),
    "addmm": lambda s, p, b: torch.addmm(s[0, :, :4], s[0], s[1].T, beta=0.5, alpha=2),
    "softmax": lambda s, p, b: (s.softmax(1), s.log_softmax(2)),
    "conv1d": lambda s, p, b: F.conv1d(s, s[:, :, :3], s[0, :2, 0], stride=2, padding=2),
    "conv dilated": lambda s, p, b: F.conv2d(p, p[:, :2, :3, :2], groups=2, dilation=2),
    "conv same": lambda s, p, b: F.conv1d(s, s[:, :, :5], padding="same"),
    "conv3d": lambda s, p, b: F.conv3d(b, b[:, :, :2, :2, :2]),
    "transposed": lambda s, p, b: F.conv_transpose1d(s, s.transpose(0, 1)[:, :, :3], stride=2),
    "transposed groups": lambda s, p, b: F.conv_transpose2d(
        p, p.transpose(0, 1)[:, :, :3, :2], s[0, :, 0], 2, 1, 1, groups=2, dilation=(2, 1)
    ),
    "max": lambda s, p, b: (F.max_pool1d(s, 2), F.max_pool2d(p, 3, 2, 1), F.max_pool3d(b, 2)),
    "max ceil": lambda s, p, b: F.max_pool2d(p, 2, 3, 1, ceil_mode=True),
    "average 1": lambda s, p, b: F.avg_pool1d(s, 3, 2, 1),
    "average 2": lambda s, p, b: F.avg_pool2d(p, 2, 3, 1, ceil_mode=True),
    "average inside": lambda s, p, b: F.avg_pool2d(p, 3, 2, 1, True, False),
    "average divisor": lambda s, p, b: F.avg_pool2d(p, 3, 2, divisor_override=2),
    "average 3": lambda s, p, b: F.avg_pool3d(b, 2),
    "adaptive 1": lambda s, p, b: F.adaptive_avg_pool1d(s, 4),
    "adaptive 2": lambda s, p, b: (F.adaptive_avg_pool2d(p, (3, 4)), F.adaptive_avg_pool2d(p, 1)),
    "nearest": lambda s, p, b: F.interpolate(p, scale_factor=2.0),
    "nearest to": lambda s, p, b: F.interpolate(p, size=(5, 9)),
    "nearest 1": lambda s, p, b: F.interpolate(s, size=4),
    "linearly": lambda s, p, b: F.interpolate(s, size=5, mode="linear"),
    "bilinear": lambda s, p, b: F.interpolate(p, scale_factor=2.0, mode="bilinear"),
    "corners": lambda s, p, b: F.interpolate(p, (9, 3), mode="bilinear", align_corners=True),
    "shuffled": lambda s, p, b: F.pixel_shuffle(p, 2),
    "layer norm": lambda s, p, b: F.layer_norm(s, (4, 9), s[0], s[1]),
    "group norm": lambda s, p, b: F.group_norm(p, 2, s[0, :, 0], s[0, :, 1]),
    "instance norm": lambda s, p, b: F.instance_norm(p),
    "batch norm": lambda s, p, b: F.batch_norm(
        p, s[0, :, 0].detach(), s[0, :, 1].detach().abs(), s[0, :, 2]
    ),
    "attention": lambda s, p, b: F.scaled_dot_product_attention(p, p * 2, p, is_causal=True),
}

GROUPS = {
    "elements": (REALS | PAIRS, (X, P, Y, WHOLE, FLAGS), ELEMENTS),
    "reductions": (OVER_AXES, (X, WHOLE, FLAGS), REDUCTIONS),
    "shapes": (SHAPED, (X, WHOLE, ROWS % 3), SHAPES | PLACES | MADE | LIKE),
    "layers": (OF_LAYERS, (SOUND, PICTURE, BODY), LAYERS),
}


class Group(nn.Module):
    def __init__(self, functions):
        super().__init__()
        self.functions = functions

    def forward(self, *inputs):
        found = {}
        for name, function in self.functions.items():
            result = function(*inputs)
            results = [result] if isinstance(result, torch.Tensor) else result
            found |= {f"{name} {place}": one for place, one in enumerate(results)}
        return found


@pytest.mark.parametrize("group", GROUPS)
def test_values_types_and_gradients_are_those_of_torch(group):
    functions, inputs, table = GROUPS[group]
    module = Group(functions).eval()
    tensors = [one.clone().requires_grad_(one.is_floating_point()) for one in inputs]
    theirs = module(*tensors)
    real = [name for name, one in theirs.items() if one.requires_grad]
    # Every element of every result counts by a number of its own.
    weights = {name: 1 + torch.rand(theirs[name].shape, dtype=T) for name in real}
    sum((theirs[name] * weights[name]).sum() for name in real).backward()
    with jax.enable_x64(True):
        model = et.torch_module(module, *inputs)
        used = {one.said for one in model.evaluation.operations}
        assert sorted(named(table).keys() - used - ELSEWHERE) == []
        arrays = [jnp.asarray(one.numpy()) for one in inputs]
        learned = [place for place, one in enumerate(tensors) if one.requires_grad]

        @jax.jit
        @partial(jax.value_and_grad, has_aux=True)
        def both(reals):
            chosen = dict(zip(learned, reals, strict=True))
            ours = model(*[chosen.get(place, one) for place, one in enumerate(arrays)])
            products = [ours[name].astype(float) * weights[name].numpy() for name in real]
            return sum(one.sum() for one in products), ours

        (_, ours), grads = both([arrays[place] for place in learned])
    assert ours.keys() == theirs.keys()
    for name, their in theirs.items():
        assert str(ours[name].dtype) == str(their.dtype).removeprefix("torch."), name
        close = 1e-12 if their.dtype == T else 1e-6
        np.testing.assert_allclose(ours[name], their.detach(), close, close, err_msg=name)
    for place, grad in zip(learned, grads, strict=True):
        # hardsigmoid of torch has a constant in single precision
        np.testing.assert_allclose(grad, tensors[place].grad, 1e-7, 1e-6)
