"""Doctests in docstrings are shown as code, whatever section they stand behind."""

import re

import griffe

#: a paragraph that begins with a prompt, up to the next empty line
EXAMPLE = re.compile(r"^(>>> .*(?:\n(?!\s*$).*)*)", re.MULTILINE)


class Doctests(griffe.Extension):
    """Puts fences around every doctest."""

    def on_object(self, *, obj: griffe.Object, **_: object) -> None:
        """Rewrites the docstring of one object."""
        if obj.docstring is not None:
            obj.docstring.value = EXAMPLE.sub(
                r"```pycon\n\1\n```", obj.docstring.value
            )
