"""A stream for what is only shown: that it cannot be written must not end a training.

>>> import io
>>> closed = io.StringIO()
>>> closed.close()
>>> stream = Unfailing(closed)
>>> stream.write("nobody reads this")
17
>>> stream.broken
True
"""

from typing import Any


class Unfailing:
    """A text stream that goes silent when `stream` fails, be it closed, full, or read by nobody.

    Args:
        stream: a text file, or None, as `sys.stderr` is where a process has none.
    """

    def __init__(self, stream: Any):
        self._stream = stream
        #: whether something could not be written, after which nothing more is tried
        self.broken = stream is None

    @property
    def encoding(self) -> str:
        """That of the stream, which is asked what characters it can show."""
        return getattr(self._stream, "encoding", None) or "utf-8"

    def write(self, text: str) -> int:
        """Writes the text, with escapes for characters that the encoding lacks."""
        shown = text.encode(self.encoding, "backslashreplace").decode(self.encoding)
        self._attempt(lambda: self._stream.write(shown))
        return len(text)

    def flush(self) -> None:
        """Flushes the stream."""
        self._attempt(lambda: self._stream.flush())

    def line(self, text: str) -> None:
        """Writes a line at once."""
        self.write(f"{text}\n")
        self.flush()

    def isatty(self) -> bool:
        """Whether it is a terminal that can be written to."""
        return bool(self._attempt(lambda: self._stream.isatty()))

    def fileno(self) -> int:
        """Its descriptor; raises OSError or ValueError if there is none."""
        if self._stream is None:
            raise OSError("there is no stream")
        return self._stream.fileno()

    def _attempt(self, act: Any) -> Any:
        if self.broken:
            return None
        try:
            return act()
        except (OSError, ValueError):  # ValueError: the file object was closed
            self.broken = True
            return None
