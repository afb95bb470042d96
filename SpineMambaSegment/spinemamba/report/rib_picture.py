"""Rib view of the case report, with the names of the vertebrae and the ribs seen at each."""

from __future__ import annotations

from collections.abc import Mapping

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from spinemamba.anatomy.labels import BY_VALUE
from spinemamba.imaging.rib_view import RIB_WINDOW_HU, RibView
from spinemamba.protocol.rib_findings import RibFinding
from spinemamba.report.case_pictures import png_uri
from spinemamba.report.run_picture import ALERT, BACKGROUND, draw_scale, outlined_text, separate

_WIDTH_IN, _NAMES_IN, _HIGHEST_IN = 2.5, 1.05, 4.3
"""Width of the projection and of the names beside it, and the largest height."""

_SEEN = "#7fe0a0"
_FONT_SIZE = 9
_LINE_IN = 0.15


def rib_picture(ribs: RibView, findings: Mapping[str, RibFinding], sides: str | None = "RL") -> str:
    """Return the rib view as a PNG data URI.

    Args:
        ribs: The rib view; its labels are VerSe's values.
        findings: What was seen, by level; may be empty.
        sides: Letters of the left and the right side of the picture; None if they are unknown, and
            then no rib is marked on a side.
    """
    rows, columns = ribs.view.image.shape
    inches_per_pixel = min(_WIDTH_IN / columns, _HIGHEST_IN / rows)
    width_in, height_in = columns * inches_per_pixel, rows * inches_per_pixel
    figure = Figure(figsize=(width_in + _NAMES_IN, height_in), facecolor=BACKGROUND)
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, width_in / (width_in + _NAMES_IN), 1))
    low, high = RIB_WINDOW_HU
    axes.imshow(ribs.view.image, cmap="gray", vmin=low, vmax=high, origin="lower")
    axes.set_axis_off()
    if sides is not None:
        _mark_ribs(axes, ribs, findings)
    _write_names(axes, ribs, findings, _LINE_IN / inches_per_pixel)
    for x, text in zip((0.03, 0.97), sides or "??", strict=True):
        outlined_text(axes, (x, 0.97), text, ha="center", va="center", transform=axes.transAxes)
    draw_scale(axes, ribs.view)
    axes.set_xlim(-0.5, columns - 0.5)
    axes.set_ylim(-0.5, rows - 0.5)
    return png_uri(figure)


def _mark_ribs(axes: Axes, ribs: RibView, findings: Mapping[str, RibFinding]) -> None:
    """Draw a disc where a rib was seen, and a circle where it is unclear."""
    for value in ribs.view.bodies:
        finding = findings.get(BY_VALUE[value].name)
        if finding is None:
            continue
        sights = (finding.right, finding.left)
        for sight, (row, column) in zip(sights, ribs.joints(value), strict=True):
            if sight != "none":
                fill = _SEEN if sight == "seen" else "none"
                axes.plot(column, row, "o", color=_SEEN, markerfacecolor=fill, markersize=4)


def _write_names(
    axes: Axes, ribs: RibView, findings: Mapping[str, RibFinding], line: float
) -> None:
    """Write names and findings beside the picture at the heights of the bodies."""
    rows, columns = ribs.view.image.shape
    bodies = sorted(ribs.view.bodies.items(), key=lambda item: item[1][0])
    places = separate([row for _, (row, _) in bodies], line, rows - line / 2)
    for (value, _), row in zip(bodies, places, strict=True):
        name = BY_VALUE[value].name
        finding = findings.get(name)
        text = name if finding is None or not finding.mark else f"{name} {finding.mark}"
        wrong = finding is not None and finding.agrees is False
        outlined_text(
            axes, (columns + 0.06 * columns, row), text, ha="left", va="center", clip_on=False,
            fontsize=_FONT_SIZE, color=ALERT if wrong else "white",
        )  # fmt: skip
