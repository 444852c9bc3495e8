"""What installed packages offer to Étude, by name; reading it imports nothing of theirs.

>>> "detect" in offered(COMMANDS)
True
"""

from importlib.metadata import EntryPoint, entry_points

from etude.errors import ConfigurationError

#: The groups of entry points.
RECIPES, COMMANDS = "etude.recipes", "etude.commands"


def offered(group: str) -> dict[str, EntryPoint]:
    """The entry points of a group by name, sorted.

    Raises `ConfigurationError` if two packages offer different things by one name.
    """
    found: dict[str, EntryPoint] = {}
    for point in entry_points(group=group):
        other = found.setdefault(point.name, point)
        if other.value != point.value:
            raise ConfigurationError(
                f"Two packages offer {point.name!r} to {group}: {package(other)} "
                f"({other.value}) and {package(point)} ({point.value}). Uninstall one of them."
            )
    return dict(sorted(found.items()))


def package(point: EntryPoint) -> str:
    """The package that an entry point belongs to."""
    return "an unknown package" if point.dist is None else point.dist.name
