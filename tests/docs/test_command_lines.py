"""Every command line of the pages is one that `etude` takes: command, recipe, options, values."""

import re
import shlex
from functools import cache
from pathlib import Path

import pytest

from etude.catalogue import find_recipe
from etude.cli.configuring import check
from etude.cli.fields import arity, leaves
from etude.cli.options import parse
from etude.cli.reading import Opening
from etude.cli.table import find_command
from etude.entry_points import RECIPES, offered

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
#: a line of a block, or code in a paragraph, which may go on in its next line
LINE = re.compile(r"^(?: {4})?(?:\$ )?(etude [a-z]+ .*)$|`(etude\s[a-z]+\s[^`]+)`", re.M)
#: what stands for something else: an example with it is checked by the names of its options alone
PLACEHOLDER = re.compile(r"^(?:[A-Z]+|\.\.\.|\[.*)$")
VERBS = ("predict", "sample")
#: the line whose mistakes a page shows
MISTAKES = "--widht"


def command_lines(text):
    """The words of all of them, without comments; lines that end in a backslash are joined."""
    text = re.sub(r"\\\n\s*", " ", text)
    for block, inline in LINE.findall(text):
        line = " ".join((block or inline).split())
        for part in re.split(r"\s&&\s|\s\|\s|;\s", line):
            words = shlex.split(part, comments=True)
            if words[:1] == ["etude"] and len(words) > 1:
                yield words[1:]


@cache
def options_of(recipe, name):
    """The fields that a recipe adds to a command; none if it does not offer the verb."""
    found = find_recipe(recipe)
    if name in VERBS:
        verb = found.predict if name == "predict" else found.sample
        return {} if verb is None else leaves(verb.options)
    return leaves(found.configuration)


def problems_of(name, arguments):
    """All that is wrong with one."""
    command = find_command(name)  # raises, with near matches, for one that there is not
    known = leaves(command.options)
    known_recipes = offered(RECIPES)
    recipes = [word for word in arguments[:1] if word in known_recipes]
    if isinstance(command, Opening):
        for recipe in recipes or known_recipes:
            known = {**options_of(recipe, name), **known}
    line = parse(arguments, arity(known))
    found = [f"--{o} is no option" for o in line.options if o not in known and o != "help"]
    if name in ("train", "search") and arguments and not recipes:
        first = arguments[0]
        if "/" in first and not first.startswith("filters/"):  # of `guide/your_own_system.md`
            found.append(f"{first} is no recipe")
    if name == "train" and recipes and not any(map(PLACEHOLDER.match, arguments)):
        mine = {o: v for o, v in line.options.items() if o in options_of(recipes[0], name)}
        found += check(find_recipe(recipes[0]).configuration, {}, mine)[1]
    return [*found, *line.problems]


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_options_exist(page):
    found = []
    for name, *arguments in command_lines(page.read_text(encoding="utf-8")):
        if MISTAKES in arguments:
            continue
        found += [f"etude {name} {' '.join(arguments)}: {p}" for p in problems_of(name, arguments)]
    assert not found, "\n".join(found)
