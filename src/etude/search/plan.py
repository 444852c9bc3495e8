"""All that a search is, checked: what several processes work on."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from etude.engine.direction import Mode
from etude.errors import RunError
from etude.search.backend import open_storage, optuna_or_refuse, shown
from etude.search.constraints import Constraint, Expression, allowed
from etude.search.estimators import CrossValidation
from etude.search.ledger import Ledger
from etude.search.proposing import Asked, Method, Setting, Tried
from etude.search.record import RECORD
from etude.search.space import Space
from etude.search.targets import Target, Training

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

#: Pruners by name, as Optuna calls them.
PRUNERS = {
    "median": "MedianPruner",
    "halving": "SuccessiveHalvingPruner",
    "never": "NopPruner",
}


@dataclass(frozen=True)
class Plan:
    """A search, ready to be worked on by several processes.

    Attributes:
        target: what is evaluated.
        space: the settings.
        method: how they are chosen.
        mode: whether small or large values are better.
        constraints: what a setting has to satisfy.
        prune: the name of a pruner.
        folder: where its trials and its record are; None: nothing is written.
        storage: URL of a database; None: a journal in the folder.
        study: its name in the storage.
    """

    target: Target
    space: Space
    method: Method
    mode: Mode
    constraints: tuple[Constraint, ...]
    prune: str
    folder: Path | None
    storage: str | None
    study: str = "search"

    @cached_property
    def record(self) -> dict[str, Any]:
        """What a search that goes on must agree in."""
        target, method = self.target, self.method
        kind, base = "function", dict[str, Any]()
        if isinstance(target, Training):
            kind, base = "recipe", {"configuration": target.base.model_dump(mode="json")}
        elif isinstance(target.function, CrossValidation):
            base = {"samples": target.function.samples}
        return {
            kind: target.name,
            "metric": target.metric,
            "mode": self.mode,
            "method": asdict(method),
            "seeds": target.seeds,
            "prune": self.prune,
            "constraints": [_text(one) for one in self.constraints],
            "storage": None if self.storage is None else shown(self.storage),
            **base,
            "space": self.space.record(),
        }

    def studied(self, study: str) -> "Plan":
        """The same, with the name of its study."""
        return replace(self, study=study)

    def ledger(self) -> Ledger:
        """The trials, for one worker. Raises `ConfigurationError` if they cannot be reached.

        And `RunError` if the journal is damaged, or is not that of the record.
        """
        optuna = optuna_or_refuse()
        storage = open_storage(self.storage, self.folder)
        studies = [one.study_name for one in storage.get_all_studies()]
        if self.storage is None and studies and self.study not in studies:
            raise RunError(
                f"The journal in {self.folder} holds the study {studies[0]!r}, the record "
                f"{RECORD} names {self.study!r}: put the name back, or give another folder (--run)."
            )
        optuna.create_study(
            study_name=self.study,
            storage=storage,
            direction="minimize" if self.mode == "min" else "maximize",
            load_if_exists=True,
        )
        pruner = getattr(optuna.pruners, PRUNERS[self.prune])()
        return Ledger(storage, self.study, self.space, self.folder, pruner)

    def propose(self, trials: "Sequence[FrozenTrial]", tried: Tried) -> Setting | None:
        """The next setting."""
        return self.method.propose(Asked(self.space, self.mode, self.allows, trials, tried))

    def allows(self, setting: Setting) -> bool:
        """Whether the constraints allow a setting."""
        return allowed(self.constraints, self.target.context(self.full(setting)))

    def full(self, setting: Setting) -> Setting:
        """A setting with the constants of the space."""
        return {**self.space.constants, **setting}

    def place(self, number: int) -> Path | None:
        """The folder of a trial."""
        return None if self.folder is None else self.folder / "trials" / f"{number:04d}"


def _text(constraint: Constraint) -> str:
    if isinstance(constraint, str | Expression):
        return constraint if isinstance(constraint, str) else constraint.text
    return f"{constraint.__module__}:{getattr(constraint, '__qualname__', type(constraint))}"
