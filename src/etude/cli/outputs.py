"""Whether a command can write where it is told to, asked before any work."""

from pathlib import Path
from tempfile import TemporaryFile

from etude.errors import UsageError


def refuse_unwritable(folder: Path, option: str = "out") -> None:
    """Makes a folder, and raises `UsageError`, about an option, if no file can be made in it.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp()) / "new"
    >>> refuse_unwritable(folder)
    >>> folder.is_dir()
    True
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        TemporaryFile(dir=folder).close()
    except OSError as error:
        told = f"--{option}: nothing can be written in {folder}: {error.strerror}."
        raise UsageError([f"{told} Give another place."]) from None
