"""A package that offers entry points, as pip would leave it: its metadata in a folder."""

import sys
from collections.abc import Mapping
from pathlib import Path


def installed(folder: Path, groups: Mapping[str, Mapping[str, str]], name: str = "guest") -> None:
    """Puts a package with entry points `{group: {name: "module:attribute"}}` on the path."""
    metadata = folder / f"{name}-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    lines = []
    for group, points in groups.items():
        lines += [f"[{group}]", *(f"{point} = {place}" for point, place in points.items()), ""]
    (metadata / "entry_points.txt").write_text("\n".join(lines))
    sys.path.insert(0, str(folder))


def with_recipes(folder: Path, **recipes: str) -> None:
    """Puts a package with these recipes on the path."""
    installed(folder, {"etude.recipes": recipes})
