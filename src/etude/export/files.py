"""Files that are whole or absent."""

from pathlib import Path


def write_whole(path: Path, content: bytes) -> None:
    """Put a file in its place at once; OSError leaves what was there.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> write_whole(folder / "a", b"b")
    >>> [path.name for path in folder.iterdir()]
    ['a']
    """
    temporary = path.with_name(f"{path.name}.tmp")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
