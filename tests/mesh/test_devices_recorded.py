"""The devices that a run names, as its configuration has them."""

import pytest

from etude.devices import recorded
from etude.errors import ConfigurationError


@pytest.mark.parametrize("devices", ["2", True, 0, 2.0])
def test_what_is_no_number_of_devices_is_refused(devices):
    with pytest.raises(ConfigurationError, match="expected a whole number from 1"):
        recorded({"devices": devices})
