"""`search.yaml`: what a search is, by which the same one goes on, and which a report reads."""

import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from etude.errors import ConfigurationError, RunError
from etude.search.backend import JOURNAL, locked
from etude.yaml_reader import YamlError, read_yaml

#: The record of a search, which makes a folder one.
RECORD, BEST = "search.yaml", "best.yaml"


def is_search(folder: Path) -> bool:
    """Whether a folder is that of a search.

    >>> is_search(Path("/"))
    False
    """
    return (folder / RECORD).is_file()


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
        if not is_search(folder) and names - {"workers", JOURNAL}:
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


def forget(folder: Path) -> None:
    """Removes the record of a search that has no trials."""
    for name in (RECORD, JOURNAL):
        (folder / name).unlink(missing_ok=True)


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
