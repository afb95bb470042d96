"""Parts of HTML pages that both reports use."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

MARKED = ("misnamed", "missed", "extra")
"""Words of a cell that are highlighted."""


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return an HTML table; cells are escaped, and columns of numbers are right-aligned."""
    columns = list(zip(*rows, strict=True)) or [()] * len(heads)
    kinds = [
        ' class="number"' if any(column) and all(map(_is_number, column)) else ""
        for column in columns
    ]
    head = "".join(
        f"<th{kind}>{escape(text)}</th>" for text, kind in zip(heads, kinds, strict=True)
    )
    body = "\n".join("<tr>" + "".join(map(_cell, row)) + "</tr>" for row in rows)
    return (
        f'<div class="wide"><table>\n<thead><tr>{head}</tr></thead>\n'
        f"<tbody>\n{body}\n</tbody>\n</table></div>"
    )


def _is_number(text: str) -> bool:
    digits = text.removeprefix("-").replace(".", "").replace(" of ", "")
    return text in ("", "-") or digits.isdigit()


def _cell(text: str) -> str:
    kind = "number" if text and _is_number(text) else text if text in MARKED else ""
    return f'<td class="{kind}">{escape(text)}</td>' if kind else f"<td>{escape(text)}</td>"
