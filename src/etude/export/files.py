"""What is asked of a file before it is written."""

from pathlib import Path
from typing import TypeGuard

from etude.errors import ConfigurationError


def refuse_missing_folder(path: Path) -> None:
    """Raises `ConfigurationError` if the folder of a file is not there."""
    if not path.parent.is_dir():
        raise ConfigurationError(
            f"{path}: its folder {path.parent} is not there. Make it first, or name another."
        )


def is_text(value: object) -> TypeGuard[str]:
    """Whether a file can have it as text: UTF-8 has no lone surrogates.

    >>> is_text("a"), is_text(3), is_text("\\udc80")
    (True, False, False)
    """
    if not isinstance(value, str):
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
