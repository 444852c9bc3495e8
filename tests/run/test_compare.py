"""`compare_leaves` names exactly the leaves that differ."""

import numpy as np
from hypothesis import given, strategies as st

from etude.run.compare import compare_leaves

LEAVES = st.dictionaries(
    st.text("abc", min_size=1, max_size=3),
    st.sampled_from([np.zeros(2), np.zeros(3), np.zeros(2, np.int32)]),
    max_size=6,
)


@given(expected=LEAVES, found=LEAVES)
def test_each_differing_leaf_has_one_line(expected, found):
    differing = {
        path
        for path in expected.keys() | found.keys()
        if path not in expected
        or path not in found
        or expected[path].shape != found[path].shape
        or expected[path].dtype != found[path].dtype
    }
    text = compare_leaves(expected, found)
    lines = [] if text is None else text.splitlines()
    assert sorted(line.split("'")[1] for line in lines) == sorted(differing)


def test_near_matches_are_told_and_long_lists_cut():
    expected = {f"layer{i}.weight": np.zeros(i + 1) for i in range(50)}
    text = compare_leaves(expected, {"layer7.wieght": np.zeros(8)})
    assert text is not None
    assert "'layer7.wieght' float64[8]" not in text.splitlines()[0]
    assert "which has 'layer7.wieght'" in text
    assert text.splitlines()[-1] == "and 31 more"
