"""`search.yaml`: what a search is, by which the same one goes on, and which a report reads."""

import contextlib
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

import yaml

from etude.engine.direction import Mode
from etude.errors import ConfigurationError, RunError
from etude.kinds import is_mapping
from etude.run.whole_file import write_whole
from etude.search.backend import JOURNAL, locked
from etude.search.space import read_space
from etude.yaml_reader import YamlError, read_yaml

#: The record of a search, which makes a folder one.
RECORD, BEST = "search.yaml", "best.yaml"
#: What every record has, the study last: it is missing where a record was cut off.
NEEDED = ("metric", "mode", "method", "seeds", "prune", "storage", "space", "study")


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
    found: Any = None
    try:
        found = read_yaml((folder / RECORD).read_text(encoding="utf-8"))
        wrong = _wrong_in(found)
    except OSError:
        raise RunError(f"{folder} is not a search: it has no {RECORD}.") from None
    except (YamlError, ValueError) as error:
        wrong = str(error).rstrip(".")
    if wrong:
        raise RunError(
            f"{folder / RECORD} is damaged: {wrong}. Put back what was there, from a copy, or give "
            "the search another folder (--run)."
        )
    return dict(found)


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
            write_whole(folder / RECORD, _yaml({**record, "study": study}).encode())
            return study
    except OSError as error:
        raise RunError(
            f"The search {folder} cannot be made: {error.strerror}. Choose a folder that you may "
            "write."
        ) from error


def forget(folder: Path) -> None:
    """Removes what a search without trials has made, and its folder if nothing else is there."""
    for name in (RECORD, JOURNAL, "workers/lock"):
        (folder / name).unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # something is there, or another worker
        (folder / "workers").rmdir()
        folder.rmdir()


def _yaml(content: Mapping[str, Any]) -> str:
    try:
        return yaml.safe_dump(dict(content), sort_keys=False, allow_unicode=True)
    except yaml.YAMLError as error:
        raise ConfigurationError(f"The search cannot be written as YAML: {error}.") from None


def _refuse_other(folder: Path, found: Mapping[str, Any], record: Mapping[str, Any]) -> None:
    now = read_yaml(_yaml({**record, "study": found["study"]}))
    differ = list(_differing(now, found))
    if differ:
        raise RunError(
            f"{folder} holds a search with other settings. {'; '.join(differ)}. Go on with the "
            "recorded ones, or give the new search another folder (--run)."
        )


def _differing(now: Any, found: Any, name: str = "") -> Iterator[str]:
    """What is not the same, and of the same type: 1 draws other numbers than 1.0."""
    if is_mapping(now) and is_mapping(found):
        for part in dict.fromkeys([*now, *found]):
            inner = f"{name}.{part}" if name else str(part)
            if part not in found:
                yield f"{inner}: got {now[part]!r}, recorded nothing"
            elif part not in now:
                yield f"{inner}: got nothing, recorded {found[part]!r}"
            else:
                yield from _differing(now[part], found[part], inner)
    elif repr(now) != repr(found):
        yield f"{name}: got {now!r}, recorded {found!r}"


def _wrong_in(found: Any) -> str:
    """What is wrong with a record, as part of a sentence; empty if nothing is."""
    if not is_mapping(found):
        return "it holds no names and values"
    missing = [name for name in NEEDED if name not in found]
    if missing:
        return f"it has no {', '.join(missing)}"
    if not all(isinstance(found[name], str) for name in ("study", "metric")):
        return "study and metric are texts"
    if found["mode"] not in get_args(Mode):
        return f"mode is {found['mode']!r}"
    if not isinstance(found["storage"], str | None):
        return f"storage is {found['storage']!r}"
    return "; ".join(read_space(found["space"])[1]).rstrip(".")
