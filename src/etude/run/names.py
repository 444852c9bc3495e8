r"""Names of metrics, which may be any text, as names of files and as titles.

>>> files = NamesOfFiles()
>>> files.name("a/b"), files.name("a-b"), files.name("..")
('a-b', 'a-b-2', '_..')
>>> shown("a" + chr(10) + "b")
'a\\nb'
"""

#: Bytes of the name of a file, with room for an end; and characters of a title.
BYTES, CHARACTERS = 200, 80


class NamesOfFiles:
    """Names of files in one folder, another one for every name."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def name(self, name: str) -> str:
        """The name of a file, without an end, for something of that name."""
        plain = "".join(one if one.isprintable() else "_" for one in name.replace("/", "-"))
        plain = f"_{plain}" if plain.startswith(".") or not plain else plain
        plain = plain.encode()[:BYTES].decode(errors="ignore")
        # Folded, because some file systems do not tell a letter from its capital.
        found, number = plain, 1
        while found.casefold() in self._taken:
            number += 1
            found = f"{plain}-{number}"
        self._taken.add(found.casefold())
        return found


def shown(name: str) -> str:
    """A name as a title, in one line that fits a figure."""
    line = "".join(one if one.isprintable() else repr(one)[1:-1] for one in name)
    return line if len(line) <= CHARACTERS else f"{line[:CHARACTERS]}..."
