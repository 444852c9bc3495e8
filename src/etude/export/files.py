"""Files that are whole or absent."""

from contextlib import suppress
from pathlib import Path
from typing import TypeGuard

from etude.errors import ConfigurationError


def write_whole(path: Path, content: bytes) -> None:
    """Put a file in its place at once. OSError, about that place, leaves what was there.

    Raises `ConfigurationError` if the folder of the file is not there.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> write_whole(folder / "a", b"b")
    >>> [path.name for path in folder.iterdir()]
    ['a']
    """
    refuse_missing_folder(path)
    temporary = path.with_name(f"{path.name}.tmp")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    except OSError as error:
        raise type(error)(error.errno, error.strerror, str(path)) from None
    finally:
        with suppress(OSError):
            temporary.unlink()


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
