"""Plots of an evaluation, as SVG elements for the page."""

from __future__ import annotations

import io
import math
from collections import Counter
from collections.abc import Callable

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from spinemamba.anatomy.labels import ORDER
from spinemamba.evaluation.cohort import Level
from spinemamba.evaluation.scores import VertebraScore

_RIGHT, _WRONG, _FAINT, _TEXT = "#1a6fb0", "#c5371b", "#d5dae0", "#30363d"
_WIDTH_IN, _PANEL_IN, _FOOT_IN = 10.4, 2.2, 0.9
_CELL_IN = (0.36, 0.24)
_MISSED = "missed"
_BOX_FROM = 5
"""Smallest number of vertebrae of a level for a box plot; fewer have no meaningful quartiles."""

_Value = Callable[[VertebraScore], float]
_PANELS: tuple[tuple[str, _Value], ...] = (
    ("Dice, matched", lambda v: v.dice),
    ("HD95, matched (mm)", lambda v: v.surface.hd95_mm),
)


def level_plot(levels: list[Level]) -> str:
    """Return the Dice and the HD95 of each vertebra by level as an SVG element.

    Each point is a vertebra: blue if its level is right, red if it is wrong or missed. Levels are
    in order from top to bottom. The HD95 is left out if no distances were measured.
    """
    panels = [(title, value) for title, value in _PANELS if _has_values(levels, value)]
    height = _PANEL_IN * len(panels) + _FOOT_IN
    figure = Figure(figsize=(_WIDTH_IN, height), layout="constrained")
    FigureCanvasAgg(figure)
    rows = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
    for axes, (title, value) in zip(rows, panels, strict=True):
        _draw(axes, title, [[(value(v), v) for v in level.vertebrae] for level in levels])
    rows[0].set_ylim(-0.03, 1.03)
    ticks = [f"{_short(level.name)}\n{len(level.vertebrae)}" for level in levels]
    rows[-1].set_xticks(range(len(levels)), ticks)
    return _svg(figure)


def confusion_plot(levels: list[Level]) -> str:
    """Return the confusion matrix of levels as an SVG element.

    Rows are true levels, columns predicted ones; the last column counts missed vertebrae.
    """
    true = [level.name for level in levels]
    counts = Counter((v.name, v.found_as or _MISSED) for level in levels for v in level.vertebrae)
    predicted = {name for _, name in counts} | set(true)
    columns = [*sorted(predicted - {_MISSED}, key=ORDER.__getitem__), _MISSED]
    table = np.array([[counts[row, column] for column in columns] for row in true])
    size = (_CELL_IN[0] * len(columns) + 1.2, _CELL_IN[1] * len(true) + 0.6)
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.set(xlim=(-0.5, len(columns) - 0.5), ylim=(len(true) - 0.5, -0.5))
    for y, x in np.argwhere(table):
        color = _RIGHT if columns[x] == true[y] else _WRONG
        shade = 0.25 + 0.75 * table[y, x] / table[y].sum()
        axes.add_patch(Rectangle((x - 0.46, y - 0.44), 0.92, 0.88, color=color, alpha=shade, lw=0))
        style = {"ha": "center", "va": "center_baseline", "fontsize": 8.5}
        axes.text(x, y, str(table[y, x]), color="white" if shade > 0.5 else _TEXT, **style)
    axes.set_xticks(range(len(columns)), [_short(name) for name in columns])
    axes.set_yticks(range(len(true)), [_short(name) for name in true])
    axes.tick_params(colors=_TEXT, labelsize=8.5, length=0, labeltop=True, labelbottom=False)
    axes.spines[:].set_color(_FAINT)
    return _svg(figure)


def _svg(figure: Figure) -> str:
    # Keep text as text, and write the same file for the same numbers.
    style = {"svg.fonttype": "none", "svg.hashsalt": "evaluation"}
    with matplotlib.rc_context(style), io.StringIO() as text:
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None})
        svg = text.getvalue()
    return svg[svg.index("<svg") :]


def _has_values(levels: list[Level], value: _Value) -> bool:
    return any(not math.isnan(value(v)) for level in levels for v in level.vertebrae)


def _short(name: str) -> str:
    return f"{name[:4]}." if name in ("Sacrum", "Coccyx") else name


def _draw(axes: Axes, title: str, groups: list[list[tuple[float, VertebraScore]]]) -> None:
    axes.set_title(title, fontsize=10, color=_TEXT, loc="left")
    axes.grid(axis="y", color=_FAINT, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(_FAINT)
    axes.tick_params(colors=_TEXT, labelsize=9, length=0)
    axes.set_xlim(-0.6, len(groups) - 0.4)
    for place, group in enumerate(groups):
        finite = [(value, v) for value, v in group if not math.isnan(value)]
        if len(finite) >= _BOX_FROM:
            _draw_box(axes, place, [value for value, _ in finite])
        for k, (value, vertebra) in enumerate(finite):
            # Deterministic jitter separates the points of one level.
            jitter = 0.24 * math.sin(2.4 * k) if len(finite) > 1 else 0.0
            color = _RIGHT if vertebra.found_as == vertebra.name else _WRONG
            axes.plot(place + jitter, value, "o", color=color, markersize=5, alpha=0.75, mew=0)
    axes.set_ylim(bottom=0)


def _draw_box(axes: Axes, place: int, values: list[float]) -> None:
    style = {"color": "#8b949e", "linewidth": 1}
    axes.boxplot(
        values,
        positions=[place],
        widths=0.62,
        showfliers=False,
        manage_ticks=False,
        boxprops=style,
        whiskerprops=style,
        capprops={**style, "linewidth": 0},
        medianprops={"color": _TEXT, "linewidth": 1.6},
    )
