"""The modules of the system import one way, wherever in a module the import stands."""

import ast
import re
from graphlib import TopologicalSorter
from pathlib import Path

import etude.systems.born_machine as package

ROOT = Path(package.__path__[0])


def modules() -> dict[str, ast.Module]:
    found = {}
    for path in ROOT.rglob("*.py"):
        parts = (package.__name__, *path.relative_to(ROOT).with_suffix("").parts)
        found[".".join(parts).removesuffix(".__init__")] = ast.parse(path.read_text("utf-8"))
    return found


def test_imports_go_one_way():
    trees = modules()

    def imported(tree):
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module in trees:
                names = [f"{node.module}.{alias.name}" for alias in node.names]
                yield from (name if name in trees else node.module for name in names)

    order = TopologicalSorter({name: set(imported(tree)) for name, tree in trees.items()})
    order.prepare()  # raises CycleError, which names the circle
    assert order.is_active()


def test_the_system_uses_public_names():
    """A user's own system can be written like this one."""
    private = re.compile(r"etude\.(engine|training|trainer|callbacks\.)")
    for name, tree in modules().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module is not None:
                assert not private.match(node.module), f"{name}: {node.module}"
