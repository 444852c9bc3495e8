"""A program is kept with all of its arguments, also those that nothing reads."""

import jax.numpy as jnp

from etude.engine.compiled import Compiled


def test_arguments_that_nothing_reads_are_of_the_program():
    kept = Compiled()
    for size in (8, 4):
        program = kept.program(lambda batch, scale: 2 * scale, jnp.ones(size), jnp.ones(()))
        assert float(program(jnp.ones(size), jnp.ones(()))) == 2.0
