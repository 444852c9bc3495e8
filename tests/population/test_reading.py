"""What counts as reading a number, also where all numbers are handed on whole."""

import jax
import jax.numpy as jnp
import pytest

from etude.population.reading import reads

HYPER = {"rate": 1.0, "decay": 1.0}


@jax.custom_vjp
def scaled(x, hyper):
    return x * hyper["rate"]


scaled.defvjp(
    lambda x, hyper: (x * hyper["rate"], hyper),
    lambda hyper, g: (g * hyper["rate"], jax.tree.map(jnp.zeros_like, hyper)),
)

WAYS = {
    "directly": lambda x, h: x * h["rate"],
    "in a jitted function": jax.jit(lambda x, h: x * h["rate"]),
    "in one within": jax.jit(lambda x, h: jax.jit(lambda h: h["rate"] + 1)(h) * x),
    "handed through": lambda x, h: x * jax.jit(lambda h: h)(h)["rate"],
    "in a branch": lambda x, h: jax.lax.cond(x > 0, lambda h: h["rate"] + 1, lambda h: x, h),
    "as the choice": lambda x, h: jax.lax.cond(h["rate"] > 0, lambda h: x, lambda h: 2 * x, h),
    "in a loop": lambda x, h: jax.lax.fori_loop(0, 3, lambda i, y: y * h["rate"], x),
    "by a gradient": jax.grad(lambda x, h: jax.jit(scaled)(x, h)),
    "made anew": jax.checkpoint(lambda x, h: x * h["rate"]),
    "in a scan": lambda x, h: jax.lax.scan(lambda y, i: (y * h["rate"], i), x, jnp.ones(3)),
    "returned": lambda x, h: {"rate": h["rate"], "x": x},
}


@pytest.mark.parametrize("way", WAYS)
def test_one_of_two_numbers_is_read(way):
    found = {name: reads(WAYS[way], f"[1][{name!r}]", 2.0, HYPER) for name in HYPER}
    assert found == {"rate": True, "decay": False}


def test_what_a_loop_carries_is_taken_to_be_read():
    def swapping(x, hyper):
        def body(carry, _):
            a, b = carry
            return (b, a), a * 2

        return jax.lax.scan(body, (hyper["rate"], x), length=2)

    assert reads(swapping, "[1]['rate']", 2.0, HYPER)
    assert not reads(swapping, "[1]['decay']", 2.0, HYPER)
