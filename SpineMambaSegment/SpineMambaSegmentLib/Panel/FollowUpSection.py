"""The earlier result of a patient in the section Measurements: what changed since."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import ctk
import qt
import slicer
from slicer.i18n import tr as _

from spinemamba.protocol.image_formats import LABEL_FORMATS
from spinemamba.protocol.result import RESULT_END
from SpineMambaSegmentLib.Application.UserSettings import UserSettings
from SpineMambaSegmentLib.Panel.RunSection import RunSection
from SpineMambaSegmentLib.Panel.StraightenedSection import insideOf
from SpineMambaSegmentLib.Runs.FollowUpRun import FollowUpRun
from SpineMambaSegmentLib.Scene.FollowUpNodes import rowOf
from SpineMambaSegmentLib.Scene.Given import Given

_TABLE_HEIGHT = 140
_PAGE, _NAME = ".html", "follow_up.html"
_ENDINGS = (f"*{RESULT_END}", *(f"*{ending}" for ending in LABEL_FORMATS))
"""Files of results, for the file dialog."""


class FollowUpSection:
    """A selector of the earlier result, two buttons and a table of the changes.

    Args:
        layout: Layout to which the section is added.
        runs: Starts the comparison.
        settings: Remembers the folders of file dialogs.
        given: Returns the calibration.

    Attributes:
        button: The collapsible section.
        selector: The earlier segmentation.
        fileButton: Chooses a file instead.
        compareButton: Starts the comparison.
        pageButton: Starts it, and writes a page.
        table: The changes beyond their uncertainty.
        summary: Cautions, and the number of changes.
    """

    def __init__(
        self,
        layout: qt.QLayout,
        runs: RunSection,
        settings: UserSettings,
        given: Callable[[], Given],
    ):
        self._runs, self._settings, self._given = runs, settings, given
        self._volumeNode: slicer.vtkMRMLScalarVolumeNode | None = None
        self._node: slicer.vtkMRMLSegmentationNode | None = None
        self._scene: slicer.vtkMRMLScene | None = None
        self._file: Path | None = None
        self.button = ctk.ctkCollapsibleButton()
        self.button.text = _("Follow-up")
        layout.addWidget(self.button)
        self._makeWidgets(insideOf(self.button))
        self.button.collapsed = True
        self.selector.connect("currentNodeChanged(vtkMRMLNode*)", self._chosen)
        self.fileButton.connect("clicked(bool)", self.chooseFile)
        self.compareButton.connect("clicked(bool)", self.compare)
        self.pageButton.connect("clicked(bool)", self.choosePage)
        self._fill([], "")
        self.show(None, None)

    def show(
        self,
        volumeNode: slicer.vtkMRMLScalarVolumeNode | None,
        segmentationNode: slicer.vtkMRMLSegmentationNode | None,
    ) -> None:
        """Enable the buttons for a segmentation; clear the table if it is another one."""
        if segmentationNode is not self._node:
            self._fill([], "")
        self._volumeNode, self._node = volumeNode, segmentationNode
        if volumeNode is not None and volumeNode.GetScene() is not self._scene:
            self._scene = volumeNode.GetScene()
            self.selector.setMRMLScene(self._scene)
        reason = ""
        if segmentationNode is None:
            reason = _("Nothing was segmented yet.")
        elif volumeNode is None:
            reason = _("Choose the input volume.")
        elif self._earlier() is None:
            reason = _("Choose an earlier segmentation or result file.")
        tips = {
            self.compareButton: _("Match the vertebrae, measure both, and list what changed"),
            self.pageButton: _("Compare, and write the changes as an HTML page"),
        }
        for button, tip in tips.items():
            button.enabled = not reason
            button.toolTip = reason or tip

    def chooseFile(self, checked: bool = False) -> None:
        """Ask for a file of an earlier result."""
        path = self._settings.askFile(_("Earlier result"), "FollowUp", f"({' '.join(_ENDINGS)})")
        if path is not None:
            self.setFile(path)

    def setFile(self, path: Path) -> None:
        """Choose a file of an earlier result."""
        self.selector.setCurrentNode(None)
        self._file = path
        # The file name is not shown in full: it may be that of the patient.
        self.fileButton.text = _("File chosen")
        self.fileButton.toolTip = str(path)
        self.show(self._volumeNode, self._node)

    def compare(self, checked: bool = False) -> None:
        """Compare with the earlier result."""
        self._start(None)

    def choosePage(self, checked: bool = False) -> None:
        """Ask for the file of the page, then compare and write it."""
        path = self._settings.askNewFile(_("Save follow-up"), "Report", _NAME, _PAGE)
        if path is not None:
            self._start(path)

    def savePage(self, path: Path) -> None:
        """Compare and write the page."""
        self._start(path)

    def _start(self, page: Path | None) -> None:
        nodes = (self._volumeNode, self._node, self._earlier())
        make = partial(self._make, nodes, page, self._given())
        self._runs.start(make, _("The results could not be compared."), self._finished)

    @staticmethod
    def _make(
        nodes: tuple[Any, Any, Any], page: Path | None, given: Given, temporaryFolder: Path
    ) -> FollowUpRun:
        return FollowUpRun(*nodes, temporaryFolder, page=page, given=given)

    def _finished(self, run: FollowUpRun) -> str:
        changes = run.followUp.changes
        beyond = [change for change in changes if change.beyond]
        text = _("{beyond} of {count} numbers changed beyond their uncertainty.").format(
            beyond=len(beyond), count=len(changes)
        )
        self._fill([rowOf(change) for change in beyond], "\n".join([*run.followUp.alerts, text]))
        if run.page is not None:
            return _("Compared. Saved {file}.").format(file=run.page.name)
        return _("Compared: two tables and the matches are in the scene. Check every level.")

    def _earlier(self) -> slicer.vtkMRMLSegmentationNode | Path | None:
        node = self.selector.currentNode()
        return self._file if node is None or node is self._node else node

    def _chosen(self) -> None:
        if self.selector.currentNode() is not None:
            self._file = None
            self.fileButton.text, self.fileButton.toolTip = _fileTexts()
        self._fill([], "")
        self.show(self._volumeNode, self._node)

    def _makeWidgets(self, inside: qt.QVBoxLayout) -> None:
        self.selector = slicer.qMRMLNodeComboBox()
        self.selector.nodeTypes = ["vtkMRMLSegmentationNode"]
        self.selector.noneEnabled = True
        self.selector.addEnabled = self.selector.removeEnabled = False
        self.selector.noneDisplay = _("Earlier segmentation")
        self.selector.setToolTip(_("A segmentation of an older scan; it refers to its own volume"))
        self.fileButton = qt.QPushButton()
        self.fileButton.text, self.fileButton.toolTip = _fileTexts()
        self.compareButton = qt.QPushButton(_("Compare over time"))
        self.pageButton = qt.QPushButton(_("Save page"))
        self.summary = qt.QLabel()
        self.summary.setWordWrap(True)
        self.table = qt.QTableWidget()
        self.table.setColumnCount(3)
        self.table.setHorizontalHeaderLabels([_("Where"), _("Then and now"), _("Change")])
        self.table.verticalHeader().hide()
        self.table.horizontalHeader().setStretchLastSection(True)
        self.table.setEditTriggers(qt.QAbstractItemView.NoEditTriggers)
        self.table.setMinimumHeight(_TABLE_HEIGHT)
        self.table.setWordWrap(True)
        inside.addWidget(self.selector)
        inside.addWidget(self.fileButton)
        row = qt.QHBoxLayout()
        row.addWidget(self.compareButton)
        row.addWidget(self.pageButton)
        inside.addLayout(row)
        inside.addWidget(self.summary)
        inside.addWidget(self.table)

    def _fill(self, rows: list[tuple[str, ...]], summary: str) -> None:
        self.summary.text = summary
        self.summary.setVisible(bool(summary))
        self.table.setVisible(bool(rows))
        self.table.setRowCount(len(rows))
        for row, cells in enumerate(rows):
            _kind, name, view, quantity, unit, then, now, change, width, _beyond = cells
            texts = (
                " ".join(filter(None, [name, view])),
                f"{quantity}\n{then} \N{RIGHTWARDS ARROW} {now} {unit}",
                f"{change} \N{PLUS-MINUS SIGN} {width}",
            )
            for column, text in enumerate(texts):
                item = qt.QTableWidgetItem(text)
                item.setToolTip(text)
                self.table.setItem(row, column, item)
        self.table.resizeColumnsToContents()
        self.table.resizeRowsToContents()


def _fileTexts() -> tuple[str, str]:
    """Return text and tooltip of the button while no file is chosen."""
    return _("Result file..."), _("Read the earlier result from a file, without densities")
