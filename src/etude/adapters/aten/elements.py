"""Operations on every element by itself."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.scipy import special
from jaxtyping import Array

from etude.adapters.aten.layers import UNUSED
from etude.adapters.aten.types import Function, absolute, common, kind, real, result_type


def _of_reals(function: Function) -> Function:
    return lambda x: function(real(x))


def _of_truths(function: Function) -> Function:
    return lambda *values: function(*(value.astype(bool) for value in values))


def _of_common(function: Function) -> Function:
    return lambda a, b: function(*common(a, b))


def _add(a: Any, b: Any, alpha: Any = 1, *, sign: int = 1) -> Array:
    a, b = common(a, b)
    return a + b * jnp.asarray(sign * alpha, b.dtype) if sign * alpha != 1 else a + b


def _divide(a: Any, b: Any, *, rounding_mode: str | None = None) -> Array:
    a, b = common(a, b)
    if rounding_mode == "floor":
        return jnp.floor_divide(a, b)
    if rounding_mode == "trunc":
        return lax.div(*jnp.broadcast_arrays(a, b)) if kind(a.dtype) < 2 else jnp.trunc(a / b)
    return real(a) / real(b)


def _power(a: Any, b: Any) -> Array:
    if isinstance(b, int | float) and float(b).is_integer() and abs(b) <= 64:
        return lax.integer_pow(a.astype(result_type(a, b)), int(b))
    a, b = common(a, b)
    # 0 to the power 0 is 1, with gradients of 0, where those of `jnp.power` are NaN.
    return jnp.power(jnp.where((a == 0) & (b == 0), 1, a), b)


def _clamp(x: Array, low: Any = None, high: Any = None) -> Array:
    bounds = [one for one in (low, high) if one is not None]
    dtype = result_type(x, *bounds)
    x = x.astype(dtype)
    # At a bound the gradient is that of x, as in torch 2.13; later versions give 0 or a half.
    if low is not None:
        x = jnp.where(x < low, jnp.asarray(low, dtype), x)
    return x if high is None else jnp.where(x > high, jnp.asarray(high, dtype), x)


def _hardtanh(x: Array, low: float = -1, high: float = 1) -> Array:
    return jnp.where((x > low) & (x < high), x, lax.stop_gradient(jnp.clip(x, low, high)))


def _elu(x: Array, alpha: float = 1, scale: float = 1, input_scale: float = 1) -> Array:
    below = alpha * jnp.expm1(jnp.where(x > 0, 0, x) * input_scale)
    return scale * jnp.where(x > 0, x, below)


def _softplus(x: Array, beta: float = 1, threshold: float = 20) -> Array:
    far = x * beta > threshold
    return jnp.where(far, x, jax.nn.softplus(jnp.where(far, 0, x) * beta) / beta)


_REALS = {
    name: _of_reals(getattr(jnp, name))
    for name in (
        *("acos", "acosh", "asin", "asinh", "atan", "atanh", "cos", "cosh", "exp", "exp2"),
        *("expm1", "log", "log10", "log1p", "log2", "reciprocal", "sin", "sinh", "sqrt"),
        *("tan", "tanh"),
    )
}

#: By their names, and behind them those of overloads, if not the default.
ELEMENTS = _REALS | {
    "abs": absolute,
    "add Tensor Scalar": _add,
    "atan2": _of_common(jnp.arctan2),
    "bitwise_and Tensor Scalar": _of_common(jnp.bitwise_and),
    "bitwise_not": jnp.bitwise_not,
    "bitwise_or Tensor Scalar": _of_common(jnp.bitwise_or),
    "bitwise_xor Tensor Scalar": _of_common(jnp.bitwise_xor),
    "ceil": jnp.ceil,
    "clamp default Tensor": _clamp,
    "clamp_max default Tensor": lambda x, high: _clamp(x, None, high),
    "clamp_min default Tensor": _clamp,
    "digamma": _of_reals(special.digamma),
    "div Tensor Scalar Tensor_mode Scalar_mode": _divide,
    "elu": _elu,
    "eq Tensor Scalar": _of_common(jnp.equal),
    "erf": _of_reals(special.erf),
    "erfc": _of_reals(special.erfc),
    "erfinv": _of_reals(special.erfinv),
    "floor": jnp.floor,
    "fmod Tensor Scalar": _of_common(jnp.fmod),
    "ge Tensor Scalar": _of_common(jnp.greater_equal),
    "gelu": lambda x, *, approximate="none": jax.nn.gelu(x, approximate == "tanh"),
    "gt Tensor Scalar": _of_common(jnp.greater),
    "hardtanh": _hardtanh,
    "isinf": jnp.isinf,
    "isnan": jnp.isnan,
    "le Tensor Scalar": _of_common(jnp.less_equal),
    "leaky_relu": lambda x, slope=0.01: jnp.where(x > 0, x, x * slope),
    "lgamma": _of_reals(special.gammaln),
    "log_sigmoid_forward": lambda x: (jax.nn.log_sigmoid(x), UNUSED),
    "logical_and": _of_truths(jnp.logical_and),
    "logical_not": _of_truths(jnp.logical_not),
    "logical_or": _of_truths(jnp.logical_or),
    "logical_xor": _of_truths(jnp.logical_xor),
    "lt Tensor Scalar": _of_common(jnp.less),
    "maximum": _of_common(jnp.maximum),
    "minimum": _of_common(jnp.minimum),
    "mish": lambda x: x * jnp.tanh(jax.nn.softplus(x)),
    "mul Tensor Scalar": _of_common(jnp.multiply),
    "ne Tensor Scalar": _of_common(jnp.not_equal),
    "neg": jnp.negative,
    "pow Tensor_Tensor Tensor_Scalar Scalar": _power,
    "relu": jax.nn.relu,
    "remainder Tensor Scalar": _of_common(jnp.remainder),
    "round": jnp.round,
    "rsqrt": _of_reals(lax.rsqrt),
    "sigmoid": _of_reals(jax.nn.sigmoid),
    "sign": jnp.sign,
    "silu": jax.nn.silu,
    "softplus": _softplus,
    "sub Tensor Scalar": partial(_add, sign=-1),
    "trunc": jnp.trunc,
    "where self": lambda where, a, b: jnp.where(where, *common(a, b)),
}
