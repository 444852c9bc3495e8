"""The marker of leaves that no optimizer may move."""

from typing import Any

import equinox as eqx


class Fixed(eqx.Module):
    """A value that is part of the model but never learns: thresholds, strengths, frozen weights."""

    value: Any
