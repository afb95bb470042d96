"""Pictures of the case report: curved planar reformations with endplates, and a 3-D view."""

from __future__ import annotations

import base64
import io

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from spinemamba.anatomy.labels import BY_VALUE
from spinemamba.imaging.curved_planar import View, side_and_front
from spinemamba.imaging.orientation import canonical
from spinemamba.imaging.volume import Geometry, Volume
from spinemamba.measure.stance import NO_SIDE
from spinemamba.protocol.measurements import Measurements
from spinemamba.report.ray_cast import render_labels
from spinemamba.report.run_picture import BACKGROUND, draw_view, name_columns

_HEIGHT_IN, _DPI = 4.3, 220
"""Nearly the printed size, so that names have their size on paper."""

_TURN_DEG = 55.0
"""Angle of the 3-D view, from the left and front: bodies, joints and processes are visible."""

_MARGIN_MM = 18.0
_CHARACTER_IN = 0.095
"""Width of a character of a name, rounded up."""

_LINE = "#ffffff"


def reformation_picture(image: Volume | None, labels: Volume, measured: Measurements) -> str:
    """Return side view and front view with the measured endplates as a PNG data URI.

    Args:
        image: Segmented image; None to show the labels alone.
        labels: Label image on the same grid.
        measured: Measurements of the labels.
    """
    background = image
    if image is None:
        background = labels.with_array(np.zeros(labels.array.shape, np.int16))
    modality = "mr" if image is not None and measured.modality == "mr" else "ct"
    # If the orientation in the header contradicts the spine, left and right are unknown.
    unknown = any(NO_SIDE in item.reasons.values() for item in measured.items)
    sides = "??" if unknown else "RL"
    views = side_and_front(background, labels)
    grid = canonical(labels)[0].geometry
    ranges = [_columns(view, side) for view, side in zip(views, ("left", "right"), strict=True)]
    widths = [
        _HEIGHT_IN * (last - first) / view.image.shape[0]
        for (first, last), view in zip(ranges, views, strict=True)
    ]
    figure = Figure(figsize=(sum(widths) + 0.1, _HEIGHT_IN), facecolor=BACKGROUND)
    FigureCanvasAgg(figure)
    left = 0.0
    for view, width, kind in zip(views, widths, ("sagittal", "coronal"), strict=True):
        total = sum(widths) + 0.1
        axes = figure.add_axes((left / total, 0, width / total, 1))
        draw_view(axes, view, modality, "AP" if kind == "sagittal" else sides)
        _draw_endplates(axes, view, grid, measured, kind)
        axes.set_xlim(*ranges[0 if kind == "sagittal" else 1])
        left += width + 0.1
    return png_uri(figure)


def _columns(view: View, names: str) -> tuple[float, float]:
    """Return the first and last column to show: labels with a margin, and all of their names."""
    labelled = np.flatnonzero((view.labels > 0).any(axis=0))
    margin = _MARGIN_MM / view.pixel_mm
    first, last = labelled.min(initial=0) - margin, labelled.max(initial=0) + margin
    character = _CHARACTER_IN * view.image.shape[0] / _HEIGHT_IN
    for value, column in name_columns(view, names).items():
        width = character * len(BY_VALUE[value].name)
        first = min(first, column - width) if names == "left" else first
        last = max(last, column + width) if names == "right" else last
    return float(first), float(last)


def _draw_endplates(
    axes: Axes, view: View, grid: Geometry, measured: Measurements, kind: str
) -> None:
    """Draw the lines of the endplates; both views follow the spine, so no projection is needed."""
    column = 1 if kind == "sagittal" else 2
    for item in measured.of("vertebra"):
        for plate in item.plates.values():
            places = grid.to_index_zyx(np.array(plate.line(kind))) * np.array(grid.spacing_mm)
            rows = (places[:, 0] - view.corner_mm[0]) / view.pixel_mm
            columns = (places[:, column] - view.corner_mm[1]) / view.pixel_mm
            axes.plot(columns, rows, color=_LINE, linewidth=1.1)


def surface_picture(labels: Volume) -> str:
    """Return the surface of all labels as a PNG data URI."""
    picture = render_labels(canonical(labels)[0], _TURN_DEG)
    rows, columns = picture.shape[:2]
    figure = Figure(figsize=(columns / 200, rows / 200))
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.imshow(picture, interpolation="nearest")
    axes.set_axis_off()
    return png_uri(figure, 200)


def png_uri(figure: Figure, dpi: int = _DPI) -> str:
    """Return a figure as a PNG data URI."""
    with io.BytesIO() as file:
        figure.savefig(file, dpi=dpi, format="png", facecolor=figure.get_facecolor())
        return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode('ascii')}"
