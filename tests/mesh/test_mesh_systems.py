"""Every kind of training of the systems gives the same on one device and on several."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import eight


@pytest.mark.slow
@pytest.mark.parametrize("name", eight.names_in("systems.py"))
def test_systems_on_1_2_4_and_8(name):
    assert eight.outcomes("systems.py", "1,2,4,8").get(name) is None
