"""The picture of a run: the spine from the side and from the front, and a table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from scipy import ndimage

from spinemamba.labels import BY_VALUE
from spinemamba.orientation import canonical
from spinemamba.resample import resample_volume
from spinemamba.result import Result
from spinemamba.volume import Geometry, Volume

BACKGROUND, TEXT, FAINT = "#101214", "#e8eaed", "#9aa0a6"
PIXEL_MM = 1.0
CT_WINDOW_HU = (-450, 1050)
MOST_ROWS = 30


def write_report(image: Volume, labels: Volume, result: Result, path: Path) -> None:
    """Write the picture of a run as PNG.

    The slices follow the spine: each row shows the voxels at the spine's own place in that row,
    so that a scoliotic or kyphotic spine stays in view.

    Args:
        image: What was segmented, in any orientation.
        labels: Label values on the same grid.
        result: The run.
        path: File to write.
    """
    picture = _pixels(canonical(image)[0], PIXEL_MM)
    painted = _nearest(canonical(labels)[0], picture.geometry)
    places = spine_places(painted)
    views = [_reformat(picture.array, painted, places, axis) for axis in ("x", "y")]
    figure = _figure(views, result)
    figure.savefig(path, dpi=110, facecolor=BACKGROUND, format="png")


def spine_places(painted: np.ndarray) -> np.ndarray:
    """Return where the spine is in each slice: y of the bodies and x of the middle, (z, 2).

    Bodies are what lies in front: the anterior third of the labelled voxels. Slices without
    spine go on with the nearest one; the line is smoothed over 15 slices.
    """
    rows = np.flatnonzero((painted > 0).any(axis=(1, 2)))
    if not len(rows):
        return np.tile(np.array(painted.shape[1:]) / 2, (painted.shape[0], 1))
    found = []
    for row in rows:
        y, x = np.nonzero(painted[row])
        found.append((np.percentile(y, 30), np.median(x)))
    everywhere = np.arange(painted.shape[0])
    lines = [np.interp(everywhere, rows, np.array(found)[:, k]) for k in (0, 1)]
    return np.stack([ndimage.uniform_filter1d(line, 15, mode="nearest") for line in lines], axis=1)


def _pixels(volume: Volume, pixel_mm: float) -> Volume:
    return resample_volume(volume, pixel_mm)


def _nearest(labels: Volume, grid: Geometry) -> np.ndarray:
    """Return the labels at the nearest voxels of a grid with parallel axes."""
    first = labels.geometry.to_index_zyx(np.asarray(grid.origin_lps_mm))
    picks = []
    for a in range(3):
        step = grid.spacing_mm[a] / labels.spacing_mm[a]
        places = np.round(first[a] + np.arange(grid.shape[a]) * step).astype(int)
        picks.append(np.clip(places, 0, labels.array.shape[a] - 1))
    return labels.array[np.ix_(*picks)]


def _reformat(
    image: np.ndarray, painted: np.ndarray, places: np.ndarray, along: str
) -> tuple[np.ndarray, np.ndarray]:
    """Cut image and labels along the spine: "x" gives the side view, "y" the front view."""
    column = 1 if along == "x" else 0
    limit = image.shape[2 if along == "x" else 1] - 1
    at = np.clip(np.round(places[:, column]).astype(int), 0, limit)
    rows = np.arange(image.shape[0])
    if along == "x":
        return image[rows, :, at], painted[rows, :, at]
    return image[rows, at, :], painted[rows, at, :]


def _figure(views: list[tuple[np.ndarray, np.ndarray]], result: Result) -> Figure:
    height_in = 9.0
    widths = [height_in * 0.92 * view.shape[1] / view.shape[0] for view, _ in views]
    figure = Figure(figsize=(sum(widths) + 6.4, height_in), facecolor=BACKGROUND)
    grid = figure.add_gridspec(
        1, 3, width_ratios=[*widths, 6.0], left=0.01, right=0.99, top=0.92, bottom=0.04, wspace=0.03
    )
    window = CT_WINDOW_HU if result.modality == "ct" else tuple(np.percentile(views[0][0], (1, 99)))
    for k, (view, painted) in enumerate(views):
        axes = figure.add_subplot(grid[k])
        _draw_view(axes, view, painted, window)
        sides = ("A", "P") if k == 0 else ("R", "L")
        for x, text in zip((0.02, 0.98), sides, strict=True):
            axes.text(
                x,
                0.01,
                text,
                color=FAINT,
                transform=axes.transAxes,
                ha="left" if x < 0.5 else "right",
            )
    _draw_table(figure.add_subplot(grid[2]), result)
    title = f"SpineMamba Segment {result.package_version}   model {result.model_name} "
    title += f"{result.model_version}   {result.modality.upper()}   not for clinical use"
    figure.text(0.012, 0.955, title, color=TEXT, fontsize=12)
    return figure


def _draw_view(axes: Axes, view: np.ndarray, painted: np.ndarray, window: tuple) -> None:
    axes.imshow(view, cmap="gray", vmin=window[0], vmax=window[1], origin="lower")
    overlay = np.zeros((*painted.shape, 4))
    for value in np.unique(painted[painted > 0]):
        mask = painted == value
        rim = mask & ~ndimage.binary_erosion(mask)
        color = np.array(BY_VALUE[int(value)].color) / 255
        overlay[mask] = (*color, 0.35)
        overlay[rim] = (*color, 1.0)
    axes.imshow(overlay, origin="lower", interpolation="nearest")
    for value in np.unique(painted[painted > 0]):
        y, x = _body_place(painted == value)
        outline = [withStroke(linewidth=2.5, foreground="black")]
        name = BY_VALUE[int(value)].name
        axes.text(
            x, y, name, color="white", fontsize=9, ha="center", va="center", path_effects=outline
        )
    axes.set_axis_off()


def _body_place(mask: np.ndarray) -> tuple[float, float]:
    """Return where to write a name: in the foremost of the large pieces, which is the body."""
    pieces, count = ndimage.label(mask)
    numbers = np.arange(1, count + 1)
    sizes = ndimage.sum_labels(mask, pieces, numbers)
    large = numbers[sizes >= 0.4 * sizes.max()]
    places = ndimage.center_of_mass(mask, pieces, large)
    y, x = min(places, key=lambda place: place[1])
    return float(y), float(x)


def _draw_table(axes: Axes, result: Result) -> None:
    """List the vertebrae with what a reader needs to decide where to look."""
    axes.set_axis_off()
    axes.set_xlim(0, 1)
    shown = result.instances[:MOST_ROWS]
    step = 1.0 / (MOST_ROWS + 4)
    columns = ((0.04, "level"), (0.2, "certain"), (0.34, "mL"), (0.44, "look at"))
    y = 1 - step
    for x, head in columns:
        axes.text(x, y, head, color=FAINT, fontsize=9)
    for item in shown:
        y -= step
        color = np.array(BY_VALUE[item.label].color) / 255
        axes.plot([0.015], [y + step * 0.25], "s", color=color, markersize=7)
        cells = (item.name, f"{100 * item.posterior:.0f} %", f"{item.volume_ml:.1f}")
        for (x, _), cell in zip(columns, cells, strict=False):
            axes.text(x, y, cell, color=TEXT, fontsize=10)
        axes.text(0.44, y, _short(" ".join(item.flags)), color="#ffd180", fontsize=8)
    for message in result.warnings:
        y -= 1.5 * step
        axes.text(0.0, y, message, color="#ff8a80", fontsize=9, wrap=True)
    axes.set_ylim(min(0, y - step), 1)


def _short(text: str, most: int = 52) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
