"""The section Measurements: tables, markups in the views, and an HTML report."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from spinemamba.protocol.measurements import Item, Measurements
from SpineMambaSegmentLib.Application.UserSettings import UserSettings
from SpineMambaSegmentLib.Panel.RunSection import RunSection
from SpineMambaSegmentLib.Runs.MeasureRun import MeasureRun
from SpineMambaSegmentLib.Scene import MeasurementNodes

_MARKUPS = "vtkMRMLMarkupsNode"
_REPORT = ".html"


class MeasureSection:
    """Two buttons, a check box for the markups, and a table of the main findings.

    Args:
        ui: Widgets of the panel.
        runs: Starts the measurement.
        settings: Remembers the folder of reports.
    """

    def __init__(self, ui: Any, runs: RunSection, settings: UserSettings):
        self._ui, self._runs, self._settings = ui, runs, settings
        self._volumeNode: slicer.vtkMRMLScalarVolumeNode | None = None
        self._node: slicer.vtkMRMLSegmentationNode | None = None
        table = ui.measureTable
        table.setColumnCount(3)
        table.setHorizontalHeaderLabels([_("Measurement"), _("Value"), _("Finding")])
        table.verticalHeader().hide()
        table.horizontalHeader().setStretchLastSection(True)
        table.setEditTriggers(qt.QAbstractItemView.NoEditTriggers)
        table.setWordWrap(True)
        ui.measureButton.connect("clicked(bool)", self.measure)
        ui.measureReportButton.connect("clicked(bool)", self.chooseReport)
        ui.measureMarkupsBox.connect("toggled(bool)", self.showMarkups)

    def show(
        self,
        volumeNode: slicer.vtkMRMLScalarVolumeNode | None,
        segmentationNode: slicer.vtkMRMLSegmentationNode | None,
    ) -> None:
        """Enable the buttons for a segmentation; clear the table if it is another one."""
        if segmentationNode is not self._node:
            self._fill([])
        self._volumeNode, self._node = volumeNode, segmentationNode
        ready = volumeNode is not None and segmentationNode is not None
        tips = {
            self._ui.measureButton: _("Heights, discs, canal, density, slips and Cobb angles"),
            self._ui.measureReportButton: _("Measure, and write an HTML report with pictures"),
        }
        nothing = _("Nothing was segmented yet.") if segmentationNode is None else ""
        for button, tip in tips.items():
            button.enabled = ready
            button.toolTip = tip if ready else nothing or _("Choose the input volume.")
        self._ui.measureMarkupsBox.enabled = ready

    def measure(self, checked: bool = False) -> None:
        """Measure the current segmentation."""
        self._start(None)

    def chooseReport(self, checked: bool = False) -> None:
        """Ask for the file of the report, then measure and write it."""
        name = f"spine_report{_REPORT}"
        path = self._settings.askNewFile(_("Save report"), "Report", name, _REPORT)
        if path is not None:
            self._start(path)

    def saveReport(self, path: Path) -> None:
        """Measure and write the report."""
        self._start(path)

    def showMarkups(self, visible: bool) -> None:
        """Show or hide centroids, endplates and lines."""
        if self._node is None or self._node.GetScene() is None:
            return
        for node in MeasurementNodes.nodesOf(self._node, _MARKUPS):
            node.SetDisplayVisibility(int(visible))

    def _start(self, page: Path | None) -> None:
        make = partial(self._make, self._volumeNode, self._node, page)
        self._runs.start(make, _("The spine could not be measured."), self._finished)

    @staticmethod
    def _make(
        volumeNode: slicer.vtkMRMLScalarVolumeNode,
        segmentationNode: slicer.vtkMRMLSegmentationNode,
        page: Path | None,
        temporaryFolder: Path,
    ) -> MeasureRun:
        return MeasureRun(volumeNode, segmentationNode, temporaryFolder, page)

    def _finished(self, run: MeasureRun) -> str:
        self._fill(_summaryRows(run.measured))
        self.showMarkups(self._ui.measureMarkupsBox.checked)
        if run.page is not None:
            return _("Measured. Saved {file}.").format(file=run.page.name)
        return _("Measured: two tables and markups are in the scene. Check every endplate.")

    def _fill(self, rows: Sequence[Sequence[str]]) -> None:
        table = self._ui.measureTable
        table.setRowCount(len(rows))
        for row, texts in enumerate(rows):
            for column, text in enumerate(texts):
                item = qt.QTableWidgetItem(text)
                item.setToolTip(text)
                table.setItem(row, column, item)
        table.resizeColumnsToContents()
        table.resizeRowsToContents()


def _summaryRows(measured: Measurements) -> list[tuple[str, str, str]]:
    """Return the main findings: alerts, angles, curves and vertebrae with height loss."""
    rows = [(_("Alert"), "", text) for text in measured.alerts]
    rows += [
        _row(item, value)
        for item in (*measured.of("angle"), *measured.of("curve"))
        if (value := next(iter(item.values.values()))) is not None
    ]
    for item in measured.of("vertebra"):
        if item.values.get("genant_grade"):
            loss = _("{loss} %").format(loss=item.text("height_loss_percent", 0))
            finding = _("{kind}, suggested grade {grade}, for review").format(
                kind=item.words["deformity"], grade=item.text("genant_grade", 0)
            )
            rows.append((item.name, loss, finding))
    return rows


def _row(item: Item, value: float) -> tuple[str, str, str]:
    apex = _("apex {level}").format(level=item.words["apex"]) if "apex" in item.words else ""
    finding = ", ".join(filter(None, [item.words["what"], apex, item.view]))
    return item.name, f"{value:.1f}\N{DEGREE SIGN}", finding
