"""Notes on errors of the user's own functions: where they arose, and on what batch."""

from collections.abc import Generator
from contextlib import contextmanager

import equinox as eqx
from jaxtyping import PyTree

from etude.errors import EtudeError


@contextmanager
def explained(where: str, batch: PyTree, hyper: PyTree = None) -> Generator[None, None, None]:
    """Adds `where`, the shapes of the batch and what `hyper` there is to an error that a loss,
    rule or measure raises.

    >>> import numpy as np
    >>> try:
    ...     with explained("phase 'fit', learner 'a'", np.ones((4, 3))):
    ...         np.ones(2) @ np.ones(3)
    ... except ValueError as error:
    ...     error.__notes__
    ["In phase 'fit', learner 'a', on the batch f64[4,3](numpy)."]
    """
    try:
        yield
    except EtudeError:
        raise  # says itself what is wrong
    except Exception as error:
        given = f", with hyper {eqx.tree_pformat(hyper, width=10**6)}" if hyper else ""
        shown = eqx.tree_pformat(batch, width=10**6)
        error.add_note(f"In {where}, on the batch {shown}{given}.")
        raise
