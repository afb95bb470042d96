"""Contact sheets: the thumbnails of all cases with their levels, worst first."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import imread

from spinemamba.common.atomic_files import all_or_none
from spinemamba.protocol.cohort import CASES, CaseRecord
from spinemamba.report.run_picture import BACKGROUND

_COLUMNS, _ROWS = 8, 5
_CELL_IN = (1.9, 2.75)
"""Width and height of a case."""

_DPI = 100
_TEXT, _FAINT, _ALERT = "#e8eaed", "#9aa0a6", "#ffd180"
_LONGEST_NAME = 24
_DOUBT = 0.2
"""Doubt from which a case is marked."""


def write_contact_sheets(out: Path, records: Sequence[CaseRecord]) -> list[Path]:
    """Write contact_sheet_1.png and further ones; return their paths.

    Args:
        out: Output folder.
        records: Cases; those that failed have no picture and are left out.

    Raises:
        UserError: If a file cannot be written.
    """
    done = [record for record in records if record.summary is not None]
    done.sort(key=lambda record: (-record.summary.doubt, record.case))
    size = _COLUMNS * _ROWS
    pages = [done[k : k + size] for k in range(0, len(done), size)]
    paths = [out / f"contact_sheet_{k}.png" for k in range(1, len(pages) + 1)]
    with all_or_none(paths) as partial:
        for path, page in zip(paths, pages, strict=True):
            _figure(out, page).savefig(partial[path], dpi=_DPI, facecolor=BACKGROUND, format="png")
    for path in out.glob("contact_sheet_*.png"):
        if path not in paths:
            path.unlink(missing_ok=True)
    return paths


def _figure(out: Path, records: Sequence[CaseRecord]) -> Figure:
    columns = min(_COLUMNS, len(records))
    rows = -(-len(records) // columns)
    width, height = columns * _CELL_IN[0], rows * _CELL_IN[1]
    figure = Figure(figsize=(width, height), facecolor=BACKGROUND)
    FigureCanvasAgg(figure)
    for k, record in enumerate(records):
        left = (k % columns) / columns
        bottom = 1 - (k // columns + 1) / rows
        _draw(figure, out / CASES / record.case, record, (left, bottom, 1 / columns, 1 / rows))
    return figure


def _draw(
    figure: Figure, folder: Path, record: CaseRecord, cell: tuple[float, float, float, float]
) -> None:
    """Draw a case: both views side by side, its name, levels and doubt below."""
    left, bottom, width, height = cell
    for k, role in enumerate(("side", "front")):
        x, y = left + width * (0.03 + 0.47 * k), bottom + 0.2 * height
        axes = figure.add_axes((x, y, 0.46 * width, 0.78 * height))
        axes.set_axis_off()
        axes.imshow(imread(folder / record.files[role].name))
    names = [vertebra.name for vertebra in record.summary.vertebrae]
    flags = sum(len(vertebra.flags) for vertebra in record.summary.vertebrae)
    shade = _ALERT if record.summary.doubt >= _DOUBT else _FAINT
    lines = (
        (_shortened(record.case), _TEXT),
        (f"{names[0]} to {names[-1]}, {len(names)} levels" if names else "no level", _FAINT),
        (f"doubt {100 * record.summary.doubt:.0f} %, {flags} flag{'s' * (flags != 1)}", shade),
    )
    for k, (text, color) in enumerate(lines):
        y = bottom + height * (0.145 - 0.055 * k)
        figure.text(left + 0.04 * width, y, text, color=color, fontsize=7.5, va="center")


def _shortened(name: str) -> str:
    """Return a name whose middle is left out if it is long: the ends of names differ."""
    if len(name) <= _LONGEST_NAME:
        return name
    half = _LONGEST_NAME // 2 - 1
    return f"{name[:half]}...{name[-half:]}"
