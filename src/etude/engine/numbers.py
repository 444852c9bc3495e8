"""What a setting must be to count something, or to measure it.

Counts of NumPy are counts too; who keeps one makes it Python's, which JSON takes: `int(count)`.

>>> is_count(3), is_count(2.5), is_count(True), is_count(0)
(True, False, False, False)
>>> is_real(2.5), is_real(float("nan")), is_real("2")
(True, False, False)
"""

from numbers import Integral, Real
from typing import Any

from etude.kinds import is_a


def is_count(value: Any, least: int = 1) -> bool:
    """Whether a value is a whole number of at least `least`; truth values are none."""
    return is_a(value, Integral) and not isinstance(value, bool) and int(value) >= least


def is_real(value: Any) -> bool:
    """Whether a value is a real number and not NaN; truth values are none."""
    # NaN is the one number that does not equal itself.
    return is_a(value, Real) and not isinstance(value, bool) and value == value
