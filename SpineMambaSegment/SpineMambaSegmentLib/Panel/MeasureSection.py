"""The section Measurements: tables, markups in the views, and an HTML report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from spinemamba.protocol.measurements import Item, Measurements
from spinemamba.protocol.quantities import of_kind
from SpineMambaSegmentLib.Application.UserSettings import UserSettings
from SpineMambaSegmentLib.Panel.RunSection import RunSection
from SpineMambaSegmentLib.Runs.MeasureRun import MeasureRun
from SpineMambaSegmentLib.Scene import MeasurementNodes
from SpineMambaSegmentLib.Scene.Given import Given

_MARKUPS = "vtkMRMLMarkupsNode"
_REPORT = ".html"
_VALUE_WIDTH = 108
"""Largest width of the column of values, in pixels."""

_VERTEBRA_HEIGHTS = ("anterior_height_mm", "middle_height_mm", "posterior_height_mm")
_DISC_HEIGHTS = ("anterior_disc_mm", "middle_disc_mm", "posterior_disc_mm")


class MeasureSection:
    """Three buttons, a check box for the markups, and a table of the main findings.

    Args:
        ui: Widgets of the panel.
        runs: Starts the measurement.
        settings: Remembers the folder of reports.
        copy: Copies a text to the clipboard.
        given: Returns calibration and femoral heads.
    """

    def __init__(
        self,
        ui: Any,
        runs: RunSection,
        settings: UserSettings,
        copy: Callable[[str], None],
        given: Callable[[], Given],
    ):
        self._ui, self._runs, self._settings, self._copy = ui, runs, settings, copy
        self._given = given
        self._measured: Measurements | None = None
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
        ui.measureCopyButton.connect("clicked(bool)", self.copyAll)
        ui.measureMarkupsBox.connect("toggled(bool)", self.showMarkups)

    def show(
        self,
        volumeNode: slicer.vtkMRMLScalarVolumeNode | None,
        segmentationNode: slicer.vtkMRMLSegmentationNode | None,
    ) -> None:
        """Enable the buttons for a segmentation; clear the table if it is another one."""
        if segmentationNode is not self._node:
            self._showMeasured(None)
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

    def copyAll(self) -> None:
        """Copy all measurements as a table for a spreadsheet."""
        if self._measured is not None:
            self._copy(tableText(self._measured))
            self._runs.say(_("All measurements are in the clipboard."))

    def _start(self, page: Path | None) -> None:
        make = partial(self._make, self._volumeNode, self._node, (page, self._given()))
        self._runs.start(make, _("The spine could not be measured."), self._finished)

    @staticmethod
    def _make(
        volumeNode: slicer.vtkMRMLScalarVolumeNode,
        segmentationNode: slicer.vtkMRMLSegmentationNode,
        options: tuple[Path | None, Given],
        temporaryFolder: Path,
    ) -> MeasureRun:
        return MeasureRun(volumeNode, segmentationNode, temporaryFolder, *options)

    def _finished(self, run: MeasureRun) -> str:
        self._showMeasured(run.measured)
        self.showMarkups(self._ui.measureMarkupsBox.checked)
        if run.page is not None:
            return _("Measured. Saved {file}.").format(file=run.page.name)
        return _("Measured: two tables and markups are in the scene. Check every endplate.")

    def _showMeasured(self, measured: Measurements | None) -> None:
        self._measured = measured
        self._fill([] if measured is None else _summaryRows(measured))
        self._ui.measureCopyButton.enabled = measured is not None
        tip = _("Copy all measurements as a table for a spreadsheet")
        nothing = _("Nothing was measured yet.")
        self._ui.measureCopyButton.toolTip = nothing if measured is None else tip

    def _fill(self, rows: Sequence[Sequence[str]]) -> None:
        table = self._ui.measureTable
        table.setRowCount(len(rows))
        for row, texts in enumerate(rows):
            for column, text in enumerate(texts):
                item = qt.QTableWidgetItem(text)
                item.setToolTip(text)
                table.setItem(row, column, item)
        table.resizeColumnsToContents()
        # Longer values wrap, so that findings stay in sight in a narrow panel.
        table.setColumnWidth(1, min(table.columnWidth(1), _VALUE_WIDTH))
        table.resizeRowsToContents()


def tableText(measured: Measurements) -> str:
    """Return all measurements as tab-separated text, one row per value."""
    rows = [("name", "view", "quantity", "value", "unit", _("not given because"), _("uncertainty"))]
    for item in measured.items:
        for quantity in of_kind(item.kind):
            value = item.values.get(quantity.key)
            text = "" if value is None else item.text(quantity.key, quantity.digits)
            reason = item.reasons.get(quantity.key, "")
            width = item.uncertainties.get(quantity.key)
            spread = "" if width is None else f"{width:.{quantity.digits + 1}f}"
            head = (item.name, item.view, quantity.head)
            rows.append((*head, text, quantity.unit, reason, spread))
    return "\n".join("\t".join(row) for row in rows)


def _summaryRows(measured: Measurements) -> list[tuple[str, str, str]]:
    """Return alerts, angles and curves, then heights and density of vertebrae, then discs."""
    rows = [(_("Alert"), "", text) for text in measured.alerts]
    rows += [
        _row(item)
        for item in (*measured.of("angle"), *measured.of("curve"))
        if next(iter(item.values.values())) is not None
    ]
    rows += [_vertebraRow(item) for item in measured.of("vertebra")]
    return rows + [_discRow(item) for item in measured.of("disc")]


def _vertebraRow(item: Item) -> tuple[str, str, str]:
    findings = []
    if item.values.get("trabecular_hu") is not None:
        findings.append(_("{density} HU").format(density=item.text_pm("trabecular_hu", 0)))
    if item.values.get("trabecular_mg_ml") is not None:
        density = item.text_pm("trabecular_mg_ml", 0)
        findings.append(_("{density} mg/mL").format(density=density))
    if item.values.get("genant_grade"):
        text = _("height loss {loss} %, {kind}, suggested grade {grade}, for review")
        loss, grade = item.text_pm("height_loss_percent", 0), item.text("genant_grade", 0)
        findings.append(text.format(loss=loss, kind=item.words["deformity"], grade=grade))
    return item.name, _heights(item, _VERTEBRA_HEIGHTS), ", ".join(findings)


def _discRow(item: Item) -> tuple[str, str, str]:
    slip = _("slip {slip} mm").format(slip=item.text_pm("slip_mm", 1))
    return item.name, _heights(item, _DISC_HEIGHTS), "" if item.values["slip_mm"] is None else slip


def _heights(item: Item, keys: Sequence[str]) -> str:
    """Return anterior, middle and posterior height in one text; "-" if all are missing."""
    text = item.joined_pm(keys, 1, " / ")
    return text if text == "-" else _("{heights} mm").format(heights=text)


def _row(item: Item) -> tuple[str, str, str]:
    apex = _("apex {level}").format(level=item.words["apex"]) if "apex" in item.words else ""
    finding = ", ".join(filter(None, [item.words["what"], apex, item.view]))
    (key,) = item.values
    return item.name, f"{item.text_pm(key, 1)}\N{DEGREE SIGN}", finding
