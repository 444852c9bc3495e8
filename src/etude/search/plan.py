"""All that a search is, checked; and its record in the folder, by which it goes on."""

import os
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from etude.engine.direction import Mode
from etude.errors import ConfigurationError, RunError
from etude.search.backend import locked, open_storage, optuna_or_refuse, shown
from etude.search.constraints import Constraint, Expression, allowed
from etude.search.ledger import Ledger
from etude.search.proposing import Method, Setting, Tried
from etude.search.space import Space
from etude.search.targets import Target, Training
from etude.yaml_reader import YamlError, read_yaml

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

#: The record of a search, which makes a folder one.
RECORD, BEST = "search.yaml", "best.yaml"

#: Pruners by name, as Optuna calls them; "none" never prunes.
PRUNERS = {
    "median": "MedianPruner",
    "halving": "SuccessiveHalvingPruner",
    "none": "NopPruner",
}


def is_search(folder: Path) -> bool:
    """Whether a folder is that of a search.

    >>> is_search(Path("/"))
    False
    """
    return (folder / RECORD).is_file()


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
        kind = "recipe" if isinstance(target, Training) else "function"
        if isinstance(target, Training):
            base = {"configuration": target.base.model_dump(mode="json")}
        else:
            base = {}
        return {
            kind: target.name,
            "metric": target.metric,
            "mode": self.mode,
            "method": {
                k: getattr(method, k) for k in ("name", "seed", "start") if hasattr(method, k)
            },
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
        """The trials, for one worker. Raises `ConfigurationError` if they cannot be reached."""
        optuna = optuna_or_refuse()
        storage = open_storage(self.storage, self.folder)
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
        return self.method.propose(self.space, trials, tried, self.allows, self.mode)

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


def recorded(folder: Path) -> dict[str, Any]:
    """The record of the search in a folder.

    Raises `RunError` if there is none, or if it is damaged.
    """
    try:
        found = read_yaml((folder / RECORD).read_text(encoding="utf-8"))
        return dict(found)
    except OSError:
        raise RunError(f"{folder} is not a search: it has no {RECORD}.") from None
    except (YamlError, UnicodeDecodeError, TypeError, ValueError) as error:
        raise RunError(f"{folder / RECORD} is damaged: {error}. Put back what was there.") from None


def entered(folder: Path, record: Mapping[str, Any]) -> str:
    """Makes the folder of a search, or goes on with the one that is there; the study's name.

    Raises `RunError` if the folder holds something else, or a search with another record.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        names = {path.name for path in folder.iterdir()}
        if not is_search(folder) and names - {"workers"}:
            raise RunError(
                f"{folder} is not empty and not a search (it has {', '.join(sorted(names)[:3])}): "
                "nothing there is touched; give the search another folder (--run)."
            )
        (folder / "workers").mkdir(exist_ok=True)
        with locked(folder / "workers" / "lock"):
            if is_search(folder):
                found = recorded(folder)
                _refuse_other(folder, found, record)
                return str(found["study"])
            study = f"{folder.absolute().name}-{secrets.token_hex(4)}"
            write_whole(folder / RECORD, _yaml({**record, "study": study}))
            return study
    except OSError as error:
        raise RunError(
            f"The search {folder} cannot be made: {error.strerror}. Choose a folder that you may "
            "write."
        ) from error


def write_whole(path: Path, text: str) -> None:
    """Puts a file in its place: whole, or as it was before."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    temporary.write_text(text, encoding="utf-8")
    temporary.rename(path)


def _yaml(content: Mapping[str, Any]) -> str:
    try:
        return yaml.safe_dump(dict(content), sort_keys=False, allow_unicode=True)
    except yaml.YAMLError as error:
        raise ConfigurationError(f"The search cannot be written as YAML: {error}.") from None


def _refuse_other(folder: Path, found: Mapping[str, Any], record: Mapping[str, Any]) -> None:
    now = read_yaml(_yaml(record))
    differ = [
        f"{name}: got {now.get(name)!r}, recorded {found.get(name)!r}"
        for name in dict.fromkeys([*now, *found])
        if name != "study" and now.get(name) != found.get(name)
    ]
    if differ:
        raise RunError(
            f"{folder} holds a search with other settings. {'; '.join(differ)}. Go on with the "
            "recorded ones, or give the new search another folder (--run)."
        )
