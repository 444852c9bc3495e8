"""Every example of the documentation runs, and every name that its tables promise exists."""

import importlib
import re
from os.path import relpath
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PAGES = {
    relpath(path, DOCS): BLOCK.findall(path.read_text(encoding="utf-8"))
    for path in [DOCS.parent / "README.md", *sorted(DOCS.rglob("*.md"))]
}

#: Pages that train for five seconds or more; their names are tested below and by the systems.
SLOW = {
    "coming_from/seed_000.md",
    "coming_from/seed_004.md",
    "guide/large_models.md",
    "systems/attractor.md",
    "systems/born_machine.md",
    "systems/generative_autoencoders.md",
    "systems/generative_autoregressive.md",
    "systems/generative_diffusion.md",
    "systems/generative_gan.md",
    "systems/gravitational_waves.md",
}
assert PAGES.keys() >= SLOW


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(name, marks=pytest.mark.slow if name in SLOW else [])
        for name, blocks in PAGES.items()
        if blocks
    ],
)
def test_examples_run(page, tmp_path, monkeypatch):
    """All ```python blocks of a page, in order, in one namespace."""
    monkeypatch.chdir(tmp_path)
    text = (DOCS / page).read_text(encoding="utf-8")
    if re.search("^import torch$", text, re.MULTILINE):
        pytest.importorskip("torch")  # the one extra that the lock does not have
    namespace = {"__name__": "__main__"}
    for block in PAGES[page]:
        # Blank lines in front, so that a traceback names the line of the page.
        line = text[: text.index(block)].count("\n")
        exec(compile("\n" * line + block, str(DOCS / page), "exec"), namespace)


NAME = re.compile(r"\b(etude(?:\.\w+)*):(\w+(?:\.\w+)*)")


def rows(page):
    """`(theirs, ours, what differs)` of every row of the tables of a page."""
    lines = (DOCS / page).read_text(encoding="utf-8").splitlines()
    cells = [[c.strip() for c in line.split("|")[1:4]] for line in lines if line[:1] == "|"]
    return [c for c in cells if c[0] != "theirs" and set(c[0]) != {"-"}]


SEEDS = [f"coming_from/seed_{seed}.md" for seed in ("000", "001", "002", "004")]


@pytest.mark.parametrize("page", SEEDS)
def test_every_name_of_a_seed_has_an_answer(page):
    """A name of ours, or a reason why there is none."""
    for theirs, ours, why in rows(page):
        reason = ours == "none" and why
        assert reason or NAME.search(ours), theirs


@pytest.mark.parametrize("page", SEEDS)
def test_names_exist(page):
    """All of ours that a page mentions."""
    found = sorted(set(NAME.findall((DOCS / page).read_text(encoding="utf-8"))))
    assert found
    for module, path in found:
        thing = importlib.import_module(module)
        *outer, last = path.split(".")
        for name in outer:
            thing = getattr(thing, name)
        # A field without a default is no attribute of its class.
        fields = getattr(thing, "__annotations__", {}) if outer else {}
        assert last in fields or hasattr(thing, last), f"{module}:{path}"
