"""Evaluation by itself."""

import jax.numpy as jnp
import jaxtyping
import pytest

import etude as et


@pytest.fixture
def unchecked():
    """As users have it: annotations are not checked at run time."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.mark.usefixtures("unchecked")
def test_what_is_no_source_is_refused_with_the_cure():
    with pytest.raises(et.ConfigurationError, match=r"got tuple. Wrap arrays in ArrayData"):
        et.evaluate(jnp.ones(()), (jnp.ones(3),), lambda m, b, c: {})  # pyright: ignore[reportArgumentType]
