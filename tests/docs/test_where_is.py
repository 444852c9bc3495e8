"""The page "Where is ...?" names files that are there, and names that stand in them."""

import re
from pathlib import Path

import pytest

import etude

ROOT = Path(etude.__file__).parent
PAGE = Path(__file__).parents[2] / "docs/where_is.md"
ROWS = re.findall(r"^\| (.+?) \| `(.+?)` \| `(.+?)` \|$", PAGE.read_text(encoding="utf-8"), re.M)


def test_thirty_things_are_found_and_each_is_asked_once():
    questions = [what for what, _, _ in ROWS]
    assert len(questions) >= 30
    assert len(set(questions)) == len(questions)


@pytest.mark.parametrize(("file", "name"), [row[1:] for row in ROWS])
def test_the_name_is_defined_or_listed_in_the_file(file, name):
    text = (ROOT / file).read_text(encoding="utf-8")
    made = rf"^\s*(?:class|def) {name}\b|^{name}\b.*=|\bas {name}\b"
    assert re.search(made, text, re.MULTILINE), f"{file} has no {name}"
