"""Parts of a page that holds all of itself, and opens anywhere."""

import base64
import html
import json
from collections.abc import Iterable, Sequence
from typing import Any

from etude.kinds import is_mapping

CSS = """
:root{color-scheme:light dark;--ink:#1d2433;
--soft:#667085;--line:#dfe3ea;--page:#fff;--card:#f6f7f9}
@media(prefers-color-scheme:dark){:root{--ink:#e4e7ec;--soft:#98a2b3;--line:#344054;--page:#14181f;
--card:#1d232d}img,.mark{filter:invert(.9) hue-rotate(180deg)}}
body{font:16px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--page);max-width:60rem;
margin:0 auto;padding:2rem 1rem}
h1{margin:0}h2{margin:2.5rem 0 .6rem;font-size:1.15rem}.soft{color:var(--soft)}
table{border-collapse:collapse;width:100%;font-size:.9rem}
th,td{text-align:left;padding:.35rem .8rem .35rem 0;border-bottom:1px solid var(--line);
vertical-align:top;overflow-wrap:anywhere}th{font-weight:600}
pre{background:var(--card);padding:1rem;border-radius:6px;overflow:auto;font-size:.85rem}
td:first-child{white-space:nowrap}
img{max-width:min(100%,50rem);display:block;margin:1rem 0}
.wide{overflow-x:auto}.mark{display:inline-block;width:.8rem;height:.8rem;margin-right:.4rem}
"""


def page(title: str, body: str) -> bytes:
    """A whole page, in UTF-8; the body is HTML.

    >>> b"<h1>a &lt; b</h1>" in page("a < b", "")
    True
    """
    named = html.escape(title)
    text = f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{named}</title><style>{CSS}</style></head><body>
<h1>{named}</h1>{body}</body></html>
"""
    return text.encode(errors="backslashreplace")  # a folder may have any bytes as its name


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of texts, without a head if all of it is empty.

    >>> table(("", ""), [("a", "<b>")])
    '<table><tr><td>a</td><td>&lt;b&gt;</td></tr></table>'
    """

    def cells(row: Sequence[str], tag: str) -> str:
        return "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in row)

    header = f"<tr>{cells(head, 'th')}</tr>" if any(head) else ""
    body = "".join(f"<tr>{cells(row, 'td')}</tr>" for row in rows)
    return f"<table>{header}{body}</table>"


def image(name: str, content: bytes) -> str:
    """A PNG."""
    encoded = base64.b64encode(content).decode()
    return f'<img alt="{html.escape(name)}" src="data:image/png;base64,{encoded}">'


def text_of(value: Any) -> str:
    """A value of a configuration, in a line.

    >>> text_of({"lr": 0.1, "name": "sgd"})
    'lr 0.1, name sgd'
    """
    if is_mapping(value):
        return ", ".join(f"{key} {text_of(inner)}" for key, inner in value.items())
    # YAML has dates, which JSON lacks.
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
