"""Write HTML pages from the templates in ``templates/``, and the tables of both pages.

Every value is escaped (Jinja2 autoescape), except `markupsafe.Markup`, which only the plots are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from spinemamba.common.atomic_files import whole_or_nothing

_HIGHLIGHTED = ("misnamed", "missed", "extra")
"""Words that are also the CSS class of their cell."""


@dataclass(frozen=True)
class Cell:
    """A cell of a table.

    Attributes:
        text: Plain text.
        css_class: Class of the element; empty for none.
    """

    text: str
    css_class: str = ""


@dataclass(frozen=True)
class Table:
    """A table, shown by the macro in ``table.html``.

    Attributes:
        heads: Heads of the columns.
        rows: Cells of each row.
    """

    heads: tuple[Cell, ...]
    rows: tuple[tuple[Cell, ...], ...]

    @classmethod
    def of(cls, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
        """Return a table of plain texts; numbers, and the heads above them, are right-aligned."""
        columns = list(zip(*rows, strict=True)) or [()] * len(heads)
        numeric = [any(column) and all(map(_is_number, column)) for column in columns]
        return cls(
            tuple(
                Cell(text, "number" if number else "")
                for text, number in zip(heads, numeric, strict=True)
            ),
            tuple(tuple(map(_cell, row)) for row in rows),
        )


def _is_number(text: str) -> bool:
    digits = text.removeprefix("-").replace(".", "").replace(" of ", "")
    return text in ("", "-") or digits.isdigit()


def _cell(text: str) -> Cell:
    if text and _is_number(text):
        return Cell(text, "number")
    return Cell(text, text if text in _HIGHLIGHTED else "")


def render(template: str, **context: object) -> str:
    """Return a page.

    Args:
        template: File name in ``templates/``.
        context: Variables of the template; a missing one is an error.
    """
    environment = Environment(
        loader=PackageLoader("spinemamba.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template(template).render(context)


def write_html(path: Path, template: str, **context: object) -> None:
    """Write a page atomically. See `render` for the arguments.

    Raises:
        UserError: As `whole_or_nothing`.
    """
    page = render(template, **context)
    with whole_or_nothing(path) as partial:
        partial.write_text(page, encoding="utf-8", newline="\n")
