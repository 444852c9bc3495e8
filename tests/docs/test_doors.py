"""Systems use what a user may use: every name that they import from outside is in the reference."""

import ast
import importlib
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
SYSTEMS = ROOT / "src/etude/systems"


def documented():
    """The names that the pages of the reference show, `module.name`."""
    names = set()
    for page in (ROOT / "docs/reference").glob("*.md"):
        text = page.read_text()
        for entry, chosen in re.findall(
            r"^::: ([\w.]+)(?:\n    options:\n      members: \[(.*)\])?", text, re.M
        ):
            names.add(entry)
            if entry[entry.rfind(".") + 1].islower():
                try:
                    module = importlib.import_module(entry)
                except ModuleNotFoundError:  # a function
                    continue
                shown = chosen.split(", ") if chosen else vars(module)
                names |= {f"{entry}.{name}" for name in shown if not name.startswith("_")}
        if page.stem == "data":
            names |= {f"etude.data.{name}" for name in re.findall(r"`([A-Z_]+)`", text)}
    return names


def imported(path):
    """The names that a module of a system imports from etude outside the systems."""
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.ImportFrom) or not node.module:
            continue
        if node.module.split(".")[0] == "etude" and not node.module.startswith("etude.systems"):
            for alias in node.names:
                yield f"{node.module}.{alias.name}"


def test_systems_import_public_names_only():
    doors = documented()
    closed = {
        (str(path.relative_to(SYSTEMS)), name)
        for path in SYSTEMS.rglob("*.py")
        for name in imported(path)
        if name not in doors
    }
    assert not closed, "neither documented in docs/reference nor to be used by a system"
