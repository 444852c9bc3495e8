"""Whether a command can write where it is told to, asked before any work."""

from pathlib import Path
from tempfile import TemporaryFile

from etude.errors import UsageError


def refuse_unwritable(folder: Path, option: str = "out") -> None:
    """Raises `UsageError`, about an option, if no file can be made in a folder.

    A folder that is not there is not made: the work may be refused for another reason.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp()) / "new"
    >>> refuse_unwritable(folder)
    >>> folder.exists()
    False
    """
    try:
        there = next(place for place in (folder, *folder.absolute().parents) if place.exists())
        TemporaryFile(dir=there).close()
    except OSError as error:
        told = f"--{option}: nothing can be written in {folder}: {error.strerror}."
        raise UsageError([f"{told} Give another place."]) from None
