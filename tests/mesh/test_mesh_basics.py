"""The same training on one device and on several (fake) ones."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import eight

#: Those that take little, on eight devices alone.
QUICK = (
    "supervised",
    "the_same_samples_in_every_micro_batch",
    "sharded_and_rules",
    "bad_input",
    "data_by_rows",
    "one_reduction_a_step",
)


@pytest.mark.parametrize("name", QUICK)
def test_on_8_devices(name):
    assert eight.outcomes("basics.py", "8", QUICK).get(name) is None


@pytest.mark.slow
@pytest.mark.parametrize("name", eight.names_in("basics.py"))
def test_on_1_2_4_and_8_devices(name):
    assert eight.outcomes("basics.py", "1,2,4,8").get(name) is None
