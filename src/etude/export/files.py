"""Files that are whole or absent."""

from contextlib import suppress
from pathlib import Path

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
