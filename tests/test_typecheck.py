"""The checker that the tests run under checks, and keeps apart what shares a piece of source."""

from concurrent.futures import ThreadPoolExecutor

import jax.numpy as jnp
import pytest
from jaxtyping import Array, Float, TypeCheckError

import typecheck

checked = typecheck.jaxtyped(typechecker=typecheck.checked)


def adder(amount, inner=None):
    @checked
    def add(x: Float[Array, "n"], times: "int" = 1) -> Float[Array, "n"]:
        found = x if inner is None else inner(x)
        return found + amount * times

    return add


def test_functions_of_one_source_keep_what_they_close_over():
    one, two = adder(1.0), adder(10.0)
    x = jnp.zeros(2)
    assert [float(f(x)[0]) for f in (one, two, one)] == [1.0, 10.0, 1.0]
    assert float(adder(5.0, inner=two)(x, times=2)[0]) == 20.0
    with ThreadPoolExecutor(4) as pool:
        made = pool.map(lambda amount: adder(amount)(x)[0], [float(i) for i in range(40)])
    assert [float(value) for value in made] == list(range(40))


def test_each_is_checked_and_a_refused_call_leaves_nothing_behind():
    adder(1.0)(jnp.zeros(2))
    with pytest.raises(TypeCheckError, match=r"parameters of .*add"):
        adder(1.0)(jnp.zeros((2, 2)))
    with pytest.raises(TypeCheckError, match="times"):
        adder(1.0)(jnp.zeros(2), times="2")
    with pytest.raises(TypeCheckError, match="return value"):
        adder(jnp.zeros((3, 1)))(jnp.zeros(2))
    with pytest.raises(TypeError, match="nothing"):
        adder(1.0)(jnp.zeros(2), nothing=1)
    with pytest.raises(ZeroDivisionError):
        adder(1.0, inner=lambda x: x / (0 // 0))(jnp.zeros(2))
    assert float(adder(2.0)(jnp.zeros(2))[0]) == 2.0


def test_other_types_have_a_checker_of_their_own():
    def taking(kind, default):
        @checked
        def take(x: kind = default):
            return x

        return take

    assert taking(int, 1)() == 1
    assert taking(str, "a")() == "a"
    with pytest.raises(TypeCheckError):
        taking(str, "a")(1)
    with pytest.raises(TypeCheckError):
        taking(Float[Array, "2"], None)(jnp.zeros(3))
    assert taking(Float[Array, "3"], None)(jnp.zeros(3)).shape == (3,)
