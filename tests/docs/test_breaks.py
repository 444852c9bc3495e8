"""Names on narrow screens go on below between their words, and stay the same names."""

import runpy
from pathlib import Path

import pytest

BREAKS = runpy.run_path(str(Path(__file__).parents[2] / "docs/breaks.py"))


@pytest.mark.parametrize(
    ("name", "wide"),
    [
        ("etude.systems.attractor:Name", "etude. systems. attractor: Name"),
        ("etude:Best", "etude:Best"),
        ("engine/leaf_roles.py", "engine/leaf_roles.py"),
        ("training/together/leaf_roles.py", "training/ together/ leaf_roles.py"),
        ("{low: 0, step: 0.1}", "{low:  0,  step:  0.1}"),
        ("etude list --sort when", "etude  list  --sort  when"),
    ],
)
def test_places_on_wide_screens(name, wide):
    broken = BREAKS["broken"](name)
    assert broken.replace(BREAKS["NARROW"], "").replace("<wbr>", " ") == wide
    assert broken.replace(BREAKS["NARROW"], "").replace("<wbr>", "") == name


def test_words_break_inside_on_narrow_screens():
    assert BREAKS["broken"]("GridSearch") == f"Grid{BREAKS['NARROW']}Search"


def test_blocks_are_left_alone():
    block = "<pre><code>a.b c</code></pre>"
    assert BREAKS["on_post_page"](output=block) == block
    assert "<wbr>" in BREAKS["on_post_page"](output="<code>a.b c</code>")


def test_a_mean_and_its_spread_stay_together():
    page = BREAKS["on_post_page"](output="<td>.979 ± .002</td>")
    assert page == '<td><span class="value">.979 ± .002</span></td>'
