"""Pedicles and screws in the section Measurements: suggested corridors, tested while they move."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from spinemamba.protocol.planning.plan import Corridor, Pedicle, Plan
from SpineMambaSegmentLib.Panel.RunSection import RunSection
from SpineMambaSegmentLib.Runs.PlanRun import PlanRun
from SpineMambaSegmentLib.Scene import PlanNodes
from SpineMambaSegmentLib.Scene.LazyImport import tool

_TABLE_HEIGHT = 140
_MOST_HEIGHT = 16777215
"""Qt's QWIDGETSIZE_MAX: no limit."""

_SCREW, _FINDING = 2, 3
"""Columns of the table; the first two are name and width of the pedicle."""

_MOVED = slicer.vtkMRMLMarkupsNode.PointModifiedEvent


class PlanSection:
    """A button, a table of pedicles and screws, and observers of the lines in the scene.

    Args:
        layout: Layout to which the widgets are added.
        runs: Starts the run.

    Attributes:
        button: Starts the plan.
        table: A row for each pedicle.
    """

    def __init__(self, layout: qt.QLayout, runs: RunSection):
        self._runs = runs
        self._volumeNode: slicer.vtkMRMLScalarVolumeNode | None = None
        self._node: slicer.vtkMRMLSegmentationNode | None = None
        self._bones: Any = None
        self._rows: dict[tuple[str, str], int] = {}
        self._observers: list[tuple[slicer.vtkMRMLNode, int]] = []
        self.button = qt.QPushButton(_("Plan screws"))
        self.table = table = qt.QTableWidget()
        table.setColumnCount(4)
        heads = [_("Pedicle"), _("Width"), _("Screw"), _("Finding")]
        table.setHorizontalHeaderLabels(heads)
        table.verticalHeader().hide()
        table.horizontalHeader().setStretchLastSection(True)
        table.setEditTriggers(qt.QAbstractItemView.NoEditTriggers)
        table.setToolTip(
            _("Suggestions for review, not for clinical use. Move a line to test it again.")
        )
        table.setWordWrap(True)
        layout.addWidget(self.button)
        layout.addWidget(table)
        self._setShown(False)
        self.button.connect("clicked(bool)", self.plan)

    def show(
        self,
        volumeNode: slicer.vtkMRMLScalarVolumeNode | None,
        segmentationNode: slicer.vtkMRMLSegmentationNode | None,
    ) -> None:
        """Enable the button for a segmentation; clear the table if it is another one."""
        if segmentationNode is not self._node:
            self._forget()
        self._volumeNode, self._node = volumeNode, segmentationNode
        ready = volumeNode is not None and segmentationNode is not None
        tip = _("Pedicles, suggested screw corridors, and tests of screws; not for clinical use")
        nothing = _("Nothing was segmented yet.") if segmentationNode is None else ""
        self.button.enabled = ready
        self.button.toolTip = tip if ready else nothing or _("Choose the input volume.")

    def plan(self, checked: bool = False) -> None:
        """Plan the current segmentation."""
        make = partial(self._make, self._volumeNode, self._node)
        self._runs.start(make, _("The screws could not be planned."), self._finished)

    def stop(self) -> None:
        """Observe no line any more."""
        for node, tag in self._observers:
            node.RemoveObserver(tag)
        self._observers.clear()

    @staticmethod
    def _make(
        volumeNode: slicer.vtkMRMLScalarVolumeNode,
        segmentationNode: slicer.vtkMRMLSegmentationNode,
        temporaryFolder: Path,
    ) -> PlanRun:
        return PlanRun(volumeNode, segmentationNode, temporaryFolder)

    def _finished(self, run: PlanRun) -> str:
        self._forget()
        self._bones = run.bones
        self._fill(run.plan)
        for node in PlanNodes.linesOf(self._node):
            self._observers.append((node, node.AddObserver(_MOVED, self._moved)))
        return _("Planned: suggested corridors are lines in the scene. Check every one.")

    def _forget(self) -> None:
        self.stop()
        self._bones = None
        self._rows.clear()
        self.table.setRowCount(0)
        self._setShown(False)

    def _fill(self, plan: Plan) -> None:
        self.table.setRowCount(len(plan.pedicles))
        for row, pedicle in enumerate(plan.pedicles):
            self._rows[pedicle.level, pedicle.side] = row
            self._setRow(row, _pedicleTexts(pedicle))
        self._setShown(True)
        for column in range(_FINDING):
            self.table.resizeColumnToContents(column)
        self.table.resizeRowsToContents()

    def _moved(self, node: slicer.vtkMRMLMarkupsLineNode, event: str) -> None:
        """Test a line where it is now, and show the result in the row of its pedicle."""
        line = PlanNodes.screwLine(node)
        if line is None or self._bones is None:
            return
        level, __, side = line.name.partition(" ")
        row = self._rows.get((level, side))
        try:
            bones = self._bones
            found, foundSide, tested = tool("planning.line_assessment").assess_line(
                bones.bones, bones.turn, line
            )
        except ValueError:
            self._setScrew(row, "-", _("The line passes through no planned vertebra."))
            return
        row = self._rows.get((found, foundSide), row)
        self._setScrew(row, _screwText(tested), _testText(tested))

    def _setShown(self, shown: bool) -> None:
        # By its height: when a section unfolds, it shows all widgets inside.
        self.table.setMinimumHeight(_TABLE_HEIGHT if shown else 0)
        self.table.setMaximumHeight(_MOST_HEIGHT if shown else 0)

    def _setRow(self, row: int, texts: Sequence[str]) -> None:
        for column, text in enumerate(texts):
            item = qt.QTableWidgetItem(text)
            item.setToolTip(text)
            self.table.setItem(row, column, item)

    def _setScrew(self, row: int | None, screw: str, finding: str) -> None:
        if row is None:
            return
        for column, text in ((_SCREW, screw), (_FINDING, finding)):
            item = qt.QTableWidgetItem(text)
            item.setToolTip(text)
            self.table.setItem(row, column, item)
        self.table.resizeRowsToContents()


def _pedicleTexts(pedicle: Pedicle) -> tuple[str, str, str, str]:
    """Return name, width, suggested screw and finding of a pedicle."""
    width = "-" if pedicle.width_mm is None else _millimetres(pedicle.width_mm)
    tests = [_("screw in the image: {test}").format(test=_testText(s)) for s in pedicle.screws]
    if pedicle.suggestion is None:
        reason = pedicle.reasons.get("suggestion", "")
        return pedicle.name, width, "-", "; ".join(filter(None, [reason, *tests]))
    finding = "; ".join([_testText(pedicle.suggestion), *tests])
    return pedicle.name, width, _screwText(pedicle.suggestion), finding


def _screwText(corridor: Corridor) -> str:
    size = f"{corridor.diameter_mm:g} \N{MULTIPLICATION SIGN} {corridor.length_mm:.0f}"
    return _("{size} mm").format(size=size)


def _testText(corridor: Corridor) -> str:
    """Return grade and margin or breach of a screw."""
    texts = [_("grade {grade}").format(grade=corridor.grade)]
    if corridor.breach_mm:
        text = _("{breach} mm through the {wall} wall")
        texts.append(text.format(breach=f"{corridor.breach_mm:.1f}", wall=corridor.wall))
    else:
        text = _("{margin} mm to the cortex")
        texts.append(text.format(margin=f"{corridor.cortex_margin_mm:.1f}"))
    if corridor.in_canal_mm:
        texts.append(_("{depth} mm in the canal").format(depth=f"{corridor.in_canal_mm:.1f}"))
    return ", ".join(texts)


def _millimetres(value: float) -> str:
    return _("{value} mm").format(value=f"{value:.1f}")
