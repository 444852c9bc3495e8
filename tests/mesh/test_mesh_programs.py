"""Memory and communication, read from the compiled programs."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import eight


@pytest.mark.slow
@pytest.mark.parametrize("name", eight.names_in("programs_seen.py"))
def test_compiled_programs(name):
    assert eight.outcomes("programs_seen.py", "8").get(name) is None
