"""Comparison with a reference or an earlier run, and export of corrected cases."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import ctk
import qt
import slicer
from slicer.i18n import tr as _

from SpineMambaSegmentLib import Errors
from SpineMambaSegmentLib.Application.UserSettings import UserSettings
from SpineMambaSegmentLib.Panel.RunSection import RunSection
from SpineMambaSegmentLib.Panel.StraightenedSection import insideOf
from SpineMambaSegmentLib.Runs.CaseRun import CaseRun
from SpineMambaSegmentLib.Scene import Comparison

_COLUMNS = 3
_LOW_DICE = 0.8
"""A vertebra with a lower Dice is highlighted."""

_TABLE_HEIGHT = 150


class CompareSection:
    """Reference, table of Dice, differences in the slice views, and the export of a case.

    Args:
        layout: Receives the section.
        runs: Starts the export.
        say: Shows a message in the status line.
        onSelect: Called with the ID of the segment whose row was clicked.
        settings: Remembers the folders of file dialogs.
    """

    def __init__(
        self,
        layout: qt.QVBoxLayout,
        runs: RunSection,
        say: Callable[[str], None],
        onSelect: Callable[[str], None],
        settings: UserSettings,
    ):
        self._runs, self._say, self._onSelect = runs, say, onSelect
        self._settings = settings
        self._volumeNode: slicer.vtkMRMLScalarVolumeNode | None = None
        self._node: slicer.vtkMRMLSegmentationNode | None = None
        self._comparison: Comparison.Comparison | None = None
        self._scene: slicer.vtkMRMLScene | None = None
        self.button = ctk.ctkCollapsibleButton()
        self.button.text = _("Compare and export case")
        self._makeWidgets(insideOf(self.button))
        layout.addWidget(self.button)
        self.button.collapsed = True
        self.show(None, None)

    def show(
        self,
        volumeNode: slicer.vtkMRMLScalarVolumeNode | None,
        segmentationNode: slicer.vtkMRMLSegmentationNode | None,
    ) -> None:
        """Enable the buttons for a segmentation; drop the comparison if it is another one."""
        if (volumeNode, segmentationNode) != (self._volumeNode, self._node):
            self._forget()
        self._volumeNode, self._node = volumeNode, segmentationNode
        if volumeNode is not None and volumeNode.GetScene() is not self._scene:
            self._scene = volumeNode.GetScene()
            self.selector.setMRMLScene(self._scene)
        both = volumeNode is not None and segmentationNode is not None
        hasLevels = both and bool(Comparison.levelIds(segmentationNode))
        self.loadButton.enabled = volumeNode is not None
        self.compareButton.enabled = hasLevels and self._reference() is not None
        self.exportButton.enabled = hasLevels

    def enter(self) -> None:
        """Called each time the panel is shown: outline the differences again."""
        self._outline()

    def exit(self) -> None:
        """Called each time the panel is hidden: remove the outlines from the views."""
        if self._comparison is not None and self._volumeNode.GetScene() is not None:
            Comparison.hideDifferences(self._volumeNode.GetScene())

    def compare(self) -> None:
        """Compare with the selected reference; errors are shown."""
        with Errors.shown(_("The segmentations could not be compared."), self._say):
            self._forget()
            result = Comparison.compare(self._node, self._reference(), self._volumeNode)
            self._comparison = result
            self._fill(result)
            self._outline()

    def load(self, path: Path) -> None:
        """Load a reference and compare with it; errors are shown."""
        with Errors.shown(_("The reference could not be loaded."), self._say):
            node = Comparison.loadReference(path, self._volumeNode)
            self.selector.setCurrentNode(node)
            self.show(self._volumeNode, self._node)
            self.compare()

    def export(self, folder: Path) -> None:
        """Write the corrected case to a folder; errors are shown."""
        volumeNode, node = self._volumeNode, self._node
        self._runs.start(
            lambda temporary: CaseRun(volumeNode, node, folder, temporary),
            _("The case could not be exported."),
            lambda run: _("Exported as {name}; spinemamba train --data reads it.").format(
                name=run.files.image.parent.name
            ),
        )

    def _makeWidgets(self, inside: qt.QVBoxLayout) -> None:
        self.selector = slicer.qMRMLNodeComboBox()
        self.selector.nodeTypes = ["vtkMRMLSegmentationNode"]
        self.selector.noneEnabled = True
        self.selector.addEnabled = self.selector.removeEnabled = False
        self.selector.noneDisplay = _("Reference or earlier run")
        self.selector.setToolTip(_("Reference for the comparison"))
        self.loadButton = _button(_("Load reference..."), _("Read a label image or .seg.nrrd"))
        self.compareButton = _button(_("Compare"), _("Dice of every vertebra, and differences"))
        self.outlineBox = qt.QCheckBox(_("Outline differences in the slice views"))
        self.outlineBox.checked = True
        self.outlineBox.setToolTip(
            _(
                "Orange: only in the segmentation. Light blue: only in the reference. "
                "Purple: different levels."
            )
        )
        self.table = qt.QTableWidget()
        self.table.setObjectName("compareTable")
        self.table.setToolTip(_("Click a row to centre the views on the vertebra"))
        self.summary = qt.QLabel()
        self.summary.setObjectName("compareSummary")
        self.summary.setWordWrap(True)
        self.exportButton = _button(
            _("Export corrected case..."),
            _("Write image, labels and log, without patient data, for spinemamba train"),
        )
        row = qt.QHBoxLayout()
        row.addWidget(self.loadButton)
        row.addWidget(self.compareButton)
        inside.addWidget(self.selector)
        inside.addLayout(row)
        for widget in (self.summary, self.table, self.outlineBox, self.exportButton):
            inside.addWidget(widget)
        self._prepareTable()
        self._connect()

    def _prepareTable(self) -> None:
        self.table.setColumnCount(_COLUMNS)
        self.table.setHorizontalHeaderLabels([_("Reference"), _("Found as"), _("Dice")])
        self.table.verticalHeader().hide()
        self.table.verticalHeader().setSectionResizeMode(qt.QHeaderView.ResizeToContents)
        self.table.horizontalHeader().setStretchLastSection(True)
        self.table.setSelectionBehavior(qt.QAbstractItemView.SelectRows)
        self.table.setAlternatingRowColors(True)
        self.table.setTabKeyNavigation(False)
        self.table.setMinimumHeight(_TABLE_HEIGHT)

    def _connect(self) -> None:
        self.selector.connect("currentNodeChanged(vtkMRMLNode*)", self._referenceChanged)
        self.loadButton.connect("clicked(bool)", self._chooseReference)
        self.compareButton.connect("clicked(bool)", self.compare)
        self.exportButton.connect("clicked(bool)", self._chooseFolder)
        self.outlineBox.connect("toggled(bool)", self._outline)
        self.table.connect("cellClicked(int,int)", self._clicked)
        self.table.connect("cellActivated(int,int)", self._clicked)

    def _reference(self) -> slicer.vtkMRMLSegmentationNode | None:
        node = self.selector.currentNode()
        return None if node is None or node is self._node else node

    def _referenceChanged(self) -> None:
        self._forget()
        self.show(self._volumeNode, self._node)

    def _fill(self, comparison: Comparison.Comparison) -> None:
        self.table.setRowCount(len(comparison.rows))
        for row, item in enumerate(comparison.rows):
            texts = (item.name, item.foundAs or _("missed"), f"{item.dice:.2f}")
            isLow = item.dice < _LOW_DICE or item.foundAs != item.name
            for column, text in enumerate(texts):
                self.table.setItem(row, column, _cell(text, isLow))
        self.table.resizeColumnsToContents()
        self.table.setVisible(True)
        self.outlineBox.setVisible(True)
        text = _("Mean Dice {dice:.2f}, {right} of {count} levels as in the reference.").format(
            dice=comparison.meanDice,
            right=sum(item.foundAs == item.name for item in comparison.rows),
            count=len(comparison.rows),
        )
        if comparison.extra:
            names = ", ".join(comparison.extra)
            text += " " + _("Not in the reference: {names}.").format(names=names)
        self.summary.text = text

    def _forget(self) -> None:
        self._comparison = None
        self.table.setRowCount(0)
        self.table.setVisible(False)
        self.outlineBox.setVisible(False)
        self.summary.text = _("Choose a reference or an earlier run.")
        if self._volumeNode is not None and self._volumeNode.GetScene() is not None:
            Comparison.hideDifferences(self._volumeNode.GetScene())

    def _outline(self) -> None:
        if self._comparison is None or self._volumeNode.GetScene() is None:
            return
        if self.outlineBox.checked:
            Comparison.showDifferences(self._comparison, self._volumeNode)
        else:
            Comparison.hideDifferences(self._volumeNode.GetScene())

    def _clicked(self, row: int, column: int) -> None:
        item = self._comparison.rows[row]
        names = {self._node.GetSegmentation().GetSegment(i).GetName(): i for i in self._ids()}
        if (segmentId := names.get(item.foundAs or item.name)) is not None:
            self._onSelect(segmentId)

    def _ids(self) -> list[str]:
        return [] if self._node.GetScene() is None else list(Comparison.levelIds(self._node))

    def _chooseReference(self) -> None:
        kinds = _("Label images (*.seg.nrrd *.nrrd *.nii.gz *.nii *.mha)")
        path = self._settings.askFile(_("Load reference"), "Reference", kinds)
        if path is not None:
            self.load(path)

    def _chooseFolder(self) -> None:
        folder = self._settings.askFolder(_("Folder of all corrected cases"), "Cases")
        if folder is not None:
            self.export(folder)


def _button(text: str, tip: str) -> qt.QPushButton:
    button = qt.QPushButton(text)
    button.setToolTip(tip)
    return button


def _cell(text: str, isLow: bool) -> qt.QTableWidgetItem:
    """Return a table cell; low agreement is bold, which does not depend on colour vision."""
    item = qt.QTableWidgetItem(text)
    item.setFlags(item.flags() & ~qt.Qt.ItemIsEditable)
    font = item.font()
    font.setBold(isLow)
    item.setFont(font)
    item.setToolTip(_("Low agreement, or another level") if isLow else text)
    return item
