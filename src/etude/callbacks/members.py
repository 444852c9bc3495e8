"""How the metrics of a population are named: `valid/loss.3` is `valid/loss` of member 3.

>>> column("valid/loss", 3), base("valid/loss.3")
('valid/loss.3', 'valid/loss')
>>> of_member({"valid/loss.3": 0.5, "valid/loss.13": 0.1}, 3)
{'valid/loss': 0.5}
"""

from collections.abc import Mapping
from typing import TypeVar

T = TypeVar("T")


def column(name: str, member: int) -> str:
    """The name of a metric of one member."""
    return f"{name}.{member}"


def base(name: str) -> str:
    """The name of the metric, whosever it is."""
    return name.rpartition(".")[0]


def of_member(metrics: Mapping[str, T], member: int) -> dict[str, T]:
    """The metrics of one member, by their own names."""
    end = column("", member)
    return {name.removesuffix(end): one for name, one in metrics.items() if name.endswith(end)}
