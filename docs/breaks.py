"""Where a name in code may go on below: between its words, and on narrow screens inside them."""

import re

#: code in a line or a cell; blocks have other elements in them
INLINE = re.compile(r"(?<!<pre>)<code>([^<]*)</code>")
BETWEEN = re.compile(
    r"(?<= )|(?<=,)(?=\w)"
    r"|(?<=\w[./(|])(?=[a-zA-Z])(?!(?:py|json|jsonl|yaml|md|html|npz)\b)"
    r"|(?<=:)(?=\w+(?:\.\w+)*$)(?<!etude:)"  # behind a module that has a dot
)
INSIDE = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=\w_)(?=\w)|(?<=\w[:=])(?=\w)")
#: for narrow screens alone: `stylesheets/pages.css`
NARROW = '<wbr class="inside">'
#: names up to this length are in one piece on wide screens
SHORT = 24
#: a mean and its spread, in one piece on wide screens as well
VALUE = re.compile(r"(?<=[> ])([-\d.]+ ± [\d.]+)(?=[<, ])")


def on_post_page(output: str, **_: object) -> str:
    """The page of mkdocs with a `<wbr>` at each place."""
    output = VALUE.sub(r'<span class="value">\1</span>', output)
    return INLINE.sub(lambda code: f"<code>{broken(code[1])}</code>", output)


def broken(name: str) -> str:
    """A name with its places; an empty match beside another one is no second place."""
    parts = (INSIDE.sub(NARROW, part) for part in BETWEEN.split(name))
    whole = len(name) <= SHORT and " " not in name
    return (NARROW if whole else "<wbr>").join(parts)
