"""What installed packages offer to Étude, by name; reading it imports nothing of theirs.

>>> "detect" in offered(COMMANDS)
True
"""

from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

from etude.errors import ConfigurationError

#: The groups of entry points.
RECIPES, COMMANDS = "etude.recipes", "etude.commands"


@dataclass(frozen=True)
class Offer:
    """What a package offers by a name: `place` is its `module:attribute`."""

    name: str
    place: str
    package: str

    def load(self) -> Any:
        """Imports it. Raises `ConfigurationError` if that fails, with what it raises."""
        module, _, attribute = self.place.partition(":")
        try:
            return getattr(import_module(module), attribute)
        except Exception as error:
            raise ConfigurationError(
                f"{self.name!r} of {self.package} cannot be loaded from {self.place}: "
                f"{type(error).__name__}: {error}"
            ) from error


def offered(group: str) -> dict[str, Offer]:
    """What installed packages offer in a group, by name, sorted.

    Raises `ConfigurationError` if two packages offer different things by one name.
    """
    found: dict[str, Offer] = {}
    for point in entry_points(group=group):
        package = "an unknown package" if point.dist is None else point.dist.name
        offer = Offer(point.name, point.value, package)
        other = found.setdefault(offer.name, offer)
        if other.place != offer.place:
            raise ConfigurationError(
                f"Two packages offer {offer.name!r} to {group}: {other.package} ({other.place}) "
                f"and {offer.package} ({offer.place}). Uninstall one of them."
            )
    return dict(sorted(found.items()))
