"""Notes on errors of the user's own functions: where they arose, and on what batch."""

from collections.abc import Generator
from contextlib import contextmanager

import equinox as eqx
from jaxtyping import PyTree

from etude.errors import EtudeError, suggest
from etude.kinds import is_mapping


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
        error.add_note(f"In {where}, on the batch {shown}{given}.{_missing(error, hyper)}")
        raise


def _missing(error: Exception, hyper: PyTree) -> str:
    """What to do about a number that is not there: a key alone does not say what it is a key of."""
    key = error.args[0] if isinstance(error, KeyError) and error.args else None
    if not isinstance(key, str) or not is_mapping(hyper) or not hyper or key in hyper:
        return ""
    return (
        f" If {key!r} is meant to be a number of context.hyper: {suggest(key, hyper)} Give it in "
        f"Phase(hyper={{{key!r}: ...}}), or in Population(vary={{{key!r}: [...]}})."
    )
