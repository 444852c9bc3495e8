"""What phases report, and whether what a callback goes by is among it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from etude.errors import suggest


@dataclass(frozen=True)
class Reported:
    """The names of the metrics of a phase; `valid/auc/*` where names are not known yet."""

    #: of the steps, without `train/`; `*` alone if none is known
    steps: frozenset[str]
    #: of the validations, those whose values are numbers
    validations: frozenset[str]
    #: the numbers of the phase, `Phase(hyper=...)`
    hyper: frozenset[str] = frozenset()


def reports(names: Iterable[str], name: str) -> bool:
    """Whether a name is among others, or may be, below a star.

    >>> reports({"valid/auc/*"}, "valid/auc/macro"), reports({"*"}, "loss")
    (True, True)
    """
    known, parts = frozenset(names), name.split("/")
    above = ["/".join([*parts[:depth], "*"]) for depth in range(len(parts))]
    return not known.isdisjoint([name, *above])


def suggestion(name: str, names: Iterable[str]) -> str:
    """A sentence that names the nearest of the known names, or all of them."""
    return suggest(name, {known for known in names if not known.endswith("*")})


def unknown_phase(component: str, phase: str | None, phases: Mapping[str, Reported]) -> list[str]:
    """A sentence if there is no phase of that name; nothing otherwise.

    >>> unknown_phase("Profiler", "ftt", {"fit": Reported(frozenset(), frozenset())})
    ["Profiler is for phase 'ftt', and there is none of that name. Did you mean 'fit'?"]
    """
    if phase is None or phase in phases:
        return []
    cure = suggest(str(phase), phases)
    return [f"{component} is for phase {phase!r}, and there is none of that name. {cure}"]


def unknown_metric(
    component: str, monitor: str, phases: Mapping[str, Reported], phase: str | None = None
) -> list[str]:
    """A sentence if no validation, or none of one phase, reports a metric; nothing otherwise."""
    where = "no phase has" if phase is None else f"phase {phase!r} does not have"
    among = phases.values() if phase is None else [phases[phase]]
    names = frozenset[str]().union(*(found.validations for found in among))
    if reports(names, monitor):
        return []
    if not names:
        return [f"{component} watches {monitor!r}, but {where} a validation. Add one."]
    return [
        f"{component} watches {monitor!r}, which no validation"
        f"{'' if phase is None else f' of phase {phase!r}'} reports as a number. "
        f"{suggestion(monitor, names)}"
    ]
