"""Picture of a run: side and front view of the spine, and a table of the vertebrae."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from scipy import ndimage

from spinemamba.anatomy.labels import BY_VALUE
from spinemamba.common.atomic_files import whole_or_nothing
from spinemamba.findings.level_flags import LIMITS
from spinemamba.imaging.curved_planar import View, side_and_front
from spinemamba.imaging.volume import Volume
from spinemamba.protocol.flags import sentences
from spinemamba.protocol.result import InstanceResult, Result

BACKGROUND, _TEXT, _FAINT, ALERT = "#101214", "#e8eaed", "#9aa0a6", "#ffd180"
_DISPLAY_WINDOW_HU = (-450, 1050)
_MR_WINDOW_PERCENT = (1, 99.5)
_DPI = 140
_EDGE_IN, _TITLE_IN, _TABLE_IN, _LINE_IN = 0.3, 0.75, 6.9, 0.25
_VIEW_IN = (9.2, 4.6)
"""Largest height and width of a view, if the table is not higher."""

_MOST_GROWTH = 1.4
"""Largest magnification of a view beside a higher table; beyond, it is only blurred."""

_FLAG_CHARACTERS = 53
_WARNING_CHARACTERS = 78


def write_run_picture(
    image: Volume, labels: Volume, result: Result, path: Path
) -> tuple[View, View]:
    """Write the picture of a run as PNG, atomically.

    Args:
        image: Segmented image, in any orientation.
        labels: Label image on the same grid.
        result: Result of the run.
        path: File to write.

    Returns:
        The side and the front view in the picture.

    Raises:
        UserError: If the file cannot be written.
    """
    views = side_and_front(image, labels)
    figure = _figure(views, result)
    with whole_or_nothing(path) as partial:
        figure.savefig(partial, dpi=_DPI, facecolor=BACKGROUND, format="png")
    return views


@dataclass(frozen=True)
class _Row:
    """A vertebra in the table, with its flags wrapped into lines."""

    item: InstanceResult
    flags: list[str]

    @property
    def lines(self) -> int:
        """Height in lines."""
        return max(1, len(self.flags))


def _figure(views: tuple[View, View], result: Result) -> Figure:
    rows = [
        _Row(item, textwrap.wrap(sentences(item.flags), _FLAG_CHARACTERS))
        for item in result.instances
    ]
    lines = sum(row.lines for row in rows) + len(_warning_lines(result))
    table_in = _LINE_IN * (lines + len(result.warnings) + 5)
    shapes_mm = [np.array(view.image.shape) * view.pixel_mm for view in views]
    most_mm = np.max(shapes_mm, axis=0)
    inches_per_mm = min(_VIEW_IN[0] / most_mm[0], _VIEW_IN[1] / most_mm[1])
    growth = table_in / (most_mm[0] * inches_per_mm)
    inches_per_mm *= min(max(1.0, growth), _MOST_GROWTH)
    view_in = most_mm[0] * inches_per_mm
    height_in = max(view_in, table_in) + _TITLE_IN + _EDGE_IN
    widths_in = [shape[1] * inches_per_mm for shape in shapes_mm]
    width_in = sum(widths_in) + _TABLE_IN + 4 * _EDGE_IN
    figure = Figure(figsize=(width_in, height_in), facecolor=BACKGROUND)
    FigureCanvasAgg(figure)
    top_in = height_in - _TITLE_IN

    def axes(left_in: float, box_width_in: float, box_height_in: float) -> Axes:
        box = (left_in, top_in - box_height_in, box_width_in, box_height_in)
        size = (width_in, height_in, width_in, height_in)
        return figure.add_axes([b / s for b, s in zip(box, size, strict=True)])

    left = _EDGE_IN
    for view, box_width, sides in zip(views, widths_in, ("AP", "RL"), strict=True):
        draw_view(axes(left, box_width, view_in), view, result.modality, sides)
        left += box_width + _EDGE_IN
    _draw_table(axes(left, _TABLE_IN, top_in - _EDGE_IN), rows, result, top_in - _EDGE_IN)
    _draw_title(figure, result, _EDGE_IN / width_in, 1 - _TITLE_IN / 2 / height_in)
    return figure


def _draw_title(figure: Figure, result: Result, left: float, middle: float) -> None:
    name = f"SpineMamba Segment {result.package_version}"
    model = f"model {result.model_name} {result.model_version}"
    style = {"va": "center", "color": _TEXT}
    figure.text(left, middle, f"{name}  ·  {model}", fontsize=13, **style)
    # On the other side of the title, so that a cropped picture shows one of them.
    box = {"facecolor": "#5c2b29", "edgecolor": "none", "boxstyle": "round,pad=0.4"}
    figure.text(
        1 - left, middle, "Not for clinical use", fontsize=12, ha="right", bbox=box, **style
    )


def display_window(view: View, modality: str) -> tuple[float, float]:
    """Return the values that are drawn black and white."""
    if modality == "ct":
        return _DISPLAY_WINDOW_HU
    low, high = np.percentile(view.image, _MR_WINDOW_PERCENT)
    return float(low), float(high)


def draw_view(axes: Axes, view: View, modality: str, sides: str) -> None:
    """Draw a view with labels, names and a scale bar.

    Args:
        axes: Axes to draw in.
        view: View to draw.
        modality: "ct" or "mr", for the window of intensities.
        sides: Letters of the left and the right side; with "AP", names are on the left.
    """
    low, high = display_window(view, modality)
    axes.imshow(view.image, cmap="gray", vmin=low, vmax=high, origin="lower")
    axes.set_axis_off()
    overlay = np.zeros((*view.labels.shape, 4))
    values = [int(value) for value in np.unique(view.labels) if value > 0]
    for value in values:
        mask = view.labels == value
        color = np.array(BY_VALUE[value].color) / 255
        overlay[mask] = (*color, 0.28)
        # Smoothing by less than a voxel removes steps without moving the outline.
        rounded = ndimage.gaussian_filter(mask.astype(np.float32), 0.6 / view.pixel_mm)
        axes.contour(rounded, levels=[0.5], colors=[color], linewidths=1.1)
    axes.imshow(overlay, origin="lower", interpolation="nearest")
    _write_names(axes, view, values, beside="left" if sides == "AP" else "right")
    for x, text, ha in ((0.02, sides[0], "left"), (0.98, sides[1], "right")):
        outlined_text(
            axes, (x, 0.5), text, ha=ha, va="center", transform=axes.transAxes, fontsize=11
        )
    draw_scale(axes, view)


def name_columns(view: View, beside: str) -> dict[int, float]:
    """Return the column at which the name of each vertebra begins, by label value.

    Args:
        view: View of the spine.
        beside: "left" or "right" of the visible part of the vertebra, at the height of its body.
    """
    columns = {}
    half_height, gap = 4 / view.pixel_mm, 3 / view.pixel_mm
    for value, (row, column) in view.bodies.items():
        band = slice(max(0, int(row - half_height)), int(row + half_height) + 1)
        visible = np.flatnonzero((view.labels[band] == value).any(axis=0))
        if beside == "left":
            columns[value] = min(column, visible.min(initial=int(column))) - gap
        else:
            columns[value] = max(column, visible.max(initial=int(column))) + gap
    return columns


def _write_names(axes: Axes, view: View, values: list[int], beside: str) -> None:
    bodies = {value: view.bodies[value] for value in values if value in view.bodies}
    columns = name_columns(view, beside)
    height = view.labels.shape[0]
    rows = separate([row for row, _ in bodies.values()], height / 46, 0.99 * height)
    ha = "right" if beside == "left" else "left"
    for value, row in zip(bodies, rows, strict=True):
        outlined_text(
            axes, (columns[value], row), BY_VALUE[value].name, ha=ha, va="center", fontsize=10
        )


def separate(positions: list[float], distance: float, highest: float) -> list[float]:
    """Return positions at least ``distance`` apart and at most ``highest``, near the given ones.

    The order of the positions does not change.
    """
    order = np.argsort(positions, kind="stable")
    out = np.array(positions, float)
    groups: list[list[int]] = []
    for k in order:
        groups.append([int(k)])
        # Overlapping labels are merged into one group and centred on it.
        while len(groups) > 1 and _overlap(positions, groups[-2], groups[-1], distance):
            groups[-2:] = [groups[-2] + groups[-1]]
    for group in groups:
        middle = np.mean([positions[k] for k in group])
        out[group] = middle + distance * (np.arange(len(group)) - (len(group) - 1) / 2)
    ceiling = highest - distance * np.arange(len(positions))[::-1]
    out[order] = np.minimum(out[order], ceiling)
    return out.tolist()


def _overlap(positions: list[float], lower: list[int], upper: list[int], distance: float) -> bool:
    middles = [np.mean([positions[k] for k in group]) for group in (lower, upper)]
    return bool(middles[1] - middles[0] < distance * (len(lower) + len(upper)) / 2)


def outlined_text(axes: Axes, place: tuple[float, float], text: str, **style: object) -> None:
    """Write white text with a dark outline at a column and row of a picture."""
    outline = [withStroke(linewidth=2.5, foreground="black")]
    style = {"color": "white", "clip_on": True, **style}
    axes.text(*place, text, path_effects=outline, **style)


def draw_scale(axes: Axes, view: View) -> None:
    """Draw a bar of 50 mm, if the view is wide enough."""
    length, (rows, columns) = 50 / view.pixel_mm, view.image.shape
    if length > 0.6 * columns:
        return
    x, y = 0.03 * columns, 0.02 * rows
    axes.plot([x, x + length], [y, y], color="white", linewidth=2, solid_capstyle="butt")
    outlined_text(
        axes, (x + length / 2, y + 0.008 * rows), "50 mm", ha="center", va="bottom", fontsize=8
    )


def _draw_table(axes: Axes, rows: list[_Row], result: Result, height_in: float) -> None:
    """Draw the warnings, the table of the vertebrae with their flags, and the footer."""
    axes.set_axis_off()
    axes.set_xlim(0, _TABLE_IN)
    axes.set_ylim(-height_in, 0)
    y = -_LINE_IN
    for line in _warning_lines(result):
        axes.text(0, y, line, color=ALERT, fontsize=10.5)
        y -= _LINE_IN
    y -= _LINE_IN / 2 if result.warnings else 0
    heads = ((0.25, "level", "left"), (1.55, "certain", "right"), (2.15, "mL", "right"))
    for x, head, ha in (*heads, (2.4, "in view", "left"), (3.1, "look at", "left")):
        axes.text(x, y, head, color=_FAINT, fontsize=9, ha=ha)
    axes.plot([0, _TABLE_IN], [y - 0.08] * 2, color="#3c4043", linewidth=0.8)
    y -= 0.07
    for row in rows:
        y -= _LINE_IN
        _draw_row(axes, row, y)
        y -= _LINE_IN * (row.lines - 1)
    spacing = " x ".join(f"{s:.2g}" for s in result.spacing_mm[::-1])
    kind = f"{result.modality.upper()}{f' ({result.sequence})' if result.sequence else ''}"
    foot = f"{kind}, voxels {spacing} mm.  Weights {result.model_hash}."
    axes.text(0, y - 2 * _LINE_IN, foot, color=_FAINT, fontsize=8)
    foot = "Views follow the spine: distances across it are correct, along a bend they are not."
    axes.text(0, y - 2.8 * _LINE_IN, foot, color=_FAINT, fontsize=8)


def _warning_lines(result: Result) -> list[str]:
    return [line for text in result.warnings for line in textwrap.wrap(text, _WARNING_CHARACTERS)]


def _draw_row(axes: Axes, row: _Row, y: float) -> None:
    item = row.item
    color = np.array(BY_VALUE[item.label].color) / 255
    axes.add_patch(Rectangle((0, y - 0.02), 0.14, 0.14, color=color))
    axes.text(0.25, y, item.name, color=_TEXT, fontsize=10.5)
    certain = _TEXT if item.posterior >= LIMITS.level_uncertain else ALERT
    axes.text(1.55, y, f"{100 * item.posterior:.0f} %", color=certain, fontsize=10.5, ha="right")
    axes.text(2.15, y, f"{item.volume_ml:.1f}", color=_TEXT, fontsize=10.5, ha="right")
    whole, shade = ("whole", _FAINT) if item.complete else ("cut", ALERT)
    axes.text(2.4, y, whole, color=shade, fontsize=10)
    for k, line in enumerate(row.flags):
        axes.text(3.1, y - k * _LINE_IN, line, color=ALERT, fontsize=9)
