"""The same training on one device and on several (fake) ones."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import eight


@pytest.mark.parametrize("name", eight.names_in("basics.py"))
def test_basics(name):
    assert eight.outcomes("basics.py").get(name) is None


@pytest.mark.slow
@pytest.mark.parametrize("name", eight.names_in("basics.py"))
def test_basics_on_1_2_4_and_8(name):
    assert eight.outcomes("basics.py", "1,2,4,8").get(name) is None
