"""What the phases of one training that make the same steps compute once: names, programs.

>>> once = Once()
>>> once.of("names", lambda: ["loss"]) is once.of("names", lambda: ["loss"])
True
"""

from collections.abc import Callable, Hashable
from typing import Any, TypeVar

T = TypeVar("T")


class Once:
    """Values by their keys, each made when it is first asked for."""

    def __init__(self) -> None:
        self._made: dict[Hashable, Any] = {}

    def of(self, key: Hashable, make: Callable[[], T]) -> T:
        """The value of a key."""
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]
