"""Every field of a configuration changes something: a check that fails for a field it lacks.

A test lists, for each field, two values, what must differ between them, and what else must be set:

    CHANGES = {"beta1": Change(0.5, 0.8, weights, beside={"optimizer_type": "adamw"}), ...}

    @pytest.mark.parametrize("field", fields_of(OptimizerConfig, CHANGES))
    def test_every_field_changes_something(field):
        check_field(OptimizerConfig, field, CHANGES)
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from etude.config import Config


@dataclass(frozen=True)
class Change:
    """Two values of a field, and what a user sees of a configuration that must differ.

    `seen(config)` returns what `==` compares: numbers, texts, lists and dicts of these.
    """

    first: Any
    second: Any
    seen: Callable[[Any], Any]
    beside: Mapping[str, Any] = field(default_factory=dict)


def fields_of(kind: type[Config], changes: Mapping[str, Change]) -> list[str]:
    """The fields of a configuration, and what a test lists beside them by mistake."""
    return sorted({*kind.model_fields, *changes})


def check_field(kind: type[Config], name: str, changes: Mapping[str, Change]) -> None:
    """Fails if a field is not listed, does not exist, or changes nothing that is seen."""
    assert name in kind.model_fields, f"{kind.__name__} has no field {name}"
    assert name in changes, f"what does {kind.__name__}.{name} change? List two values of it"
    change = changes[name]

    def seen(value: Any) -> Any:
        return change.seen(kind(**{**change.beside, name: value}))

    first = seen(change.first)
    assert first == seen(change.first), f"what is seen of {name} differs by itself"
    assert first != seen(change.second), f"{kind.__name__}.{name} changes nothing"
