"""Members of a population over several (fake) devices."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import eight


@pytest.mark.slow
@pytest.mark.parametrize("name", eight.names_in("members.py"))
def test_members_over_1_2_4_and_8_devices(name):
    assert eight.outcomes("members.py", "1,2,4,8", (name,)).get(name) is None
