"""The panel: its sections, and how they work together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import qt
import slicer
import slicer.util
from slicer.i18n import tr as _

from SpineMambaSegmentLib.Application.Preload import Preload
from SpineMambaSegmentLib.Application.StatusBar import StatusBar
from SpineMambaSegmentLib.Application.UserSettings import UserSettings
from SpineMambaSegmentLib.Panel.CheckSection import CheckSection
from SpineMambaSegmentLib.Panel.DicomSection import DicomSection
from SpineMambaSegmentLib.Panel.ExportSection import ExportSection
from SpineMambaSegmentLib.Panel.InputSection import InputSection
from SpineMambaSegmentLib.Panel.Review import ReviewViews
from SpineMambaSegmentLib.Panel.Review.ReviewBoxMenu import ReviewBoxMenu
from SpineMambaSegmentLib.Panel.Review.ReviewSection import ReviewSection
from SpineMambaSegmentLib.Panel.RunSection import RunSection
from SpineMambaSegmentLib.Panel.ServerSection import ServerSection
from SpineMambaSegmentLib.Panel.SetupSection import SetupSection
from SpineMambaSegmentLib.Runs.RunManager import RunManager
from SpineMambaSegmentLib.Runs.SegmentRun import SegmentRun
from SpineMambaSegmentLib.Runs.SequenceRun import SequenceRun, segmentRun
from SpineMambaSegmentLib.Scene.Ownership import vertebraIds
from SpineMambaSegmentLib.Scene.Provenance import volumeOf
from SpineMambaSegmentLib.Setup import Diagnostics
from SpineMambaSegmentLib.Setup.ModelStore import ModelStore
from SpineMambaSegmentLib.Setup.TokenStore import TokenStore

_REVIEW_TOOLS = ("imaging.masks", "editing.relabel", "imaging.straighten")
"""Modules that the review needs after a run."""


@dataclass(frozen=True)
class Application:
    """What the panel uses of Slicer's application.

    Attributes:
        version: Version of Slicer.
        settings: Slicer's settings.
        models: Folder of imported models.
        pyproject: The pyproject.toml that lists the required packages.
        userName: Returns the name of the user; may be empty.
        layoutManager: Returns the layout manager; None without a main window.
        copy: Copies a text to the clipboard.
        showStatus: Shows a text in the status bar for some milliseconds; 0 means until the next.
    """

    version: str
    settings: qt.QSettings
    models: Path
    pyproject: Path
    userName: Callable[[], str]
    layoutManager: Callable[[], Any]
    copy: Callable[[str], None]
    showStatus: Callable[[str, int], Any]


class Panel:
    """Sections of the panel, from top to bottom.

    Args:
        widget: The loaded .ui file.
        runs: Owner of the current run.
        parameterNode: Returns the parameter node of the scene.
        application: Slicer's application.
    """

    def __init__(
        self,
        widget: qt.QWidget,
        runs: RunManager,
        parameterNode: Callable[[], slicer.vtkMRMLScriptedModuleNode],
        application: Application,
    ):
        self._widget, self.runs = widget, runs
        self._parameterNode, self._application = parameterNode, application
        self._shortcuts: list[qt.QShortcut] = []
        self._madeRoom = self._isEntered = self._isSceneClosing = False
        self._preload = Preload(*_REVIEW_TOOLS)
        self.ui = ui = slicer.util.childWidgetVariables(widget)
        store = ModelStore(application.models)
        self.inputSection = inputs = InputSection(ui, application.settings, store, self.refresh)
        settings = UserSettings(application.settings)
        self.setupSection = setup = SetupSection(
            ui,
            application.pyproject,
            store,
            settings,
            onChange=inputs.showDevices,
            onModel=self._onModel,
        )
        self.statusBar = bar = StatusBar(application.showStatus, widget.isVisible)
        self.runSection = run = RunSection(ui, runs, bar, setup.ensurePackages, self.refresh)
        self.reviewSection = review = ReviewSection(ui, run.say, application.userName, settings)
        self.exportSection = ExportSection(ui, run.say, settings)
        self.dicomSection = DicomSection(ui, run.say, settings)
        self.checkSection = CheckSection(
            ui, review, run, inputs, settings=settings, copy=application.copy
        )
        review.onShown = self._onShown
        self.boxMenu = ReviewBoxMenu(review, review.menus, run, inputs)
        tokens = TokenStore(application.models.parent)
        self.serverSection = ServerSection(ui, settings, tokens, inputs)
        ui.segmentButton.connect("clicked(bool)", self.segment)
        ui.diagnosticsButton.connect("clicked(bool)", self.copyDiagnostics)
        self.showScene()

    def enter(self) -> None:
        """Called each time the panel is shown."""
        self._isEntered = True
        actions = (("Ctrl+Return", self.segment), ("Ctrl+Backspace", self.runSection.cancel))
        for keys, action in actions:
            shortcut = qt.QShortcut(qt.QKeySequence(keys), self._widget)
            # The shortcuts must not work in other modules, which may use the same keys.
            shortcut.setContext(qt.Qt.WidgetWithChildrenShortcut)
            shortcut.connect("activated()", action)
            self._shortcuts.append(shortcut)
        if isinstance(self.setupSection.facts, str):
            self.setupSection.check()
            self.setupSection.checkModel(self.inputSection.model())
        self.statusBar.clear()
        self.showScene()
        self.reviewSection.enter()
        self.checkSection.compare.enter()
        self.inputSection.suggestVolume()

    def exit(self) -> None:
        """Called each time the panel is hidden; a run continues."""
        self._isEntered = False
        for shortcut in self._shortcuts:
            shortcut.setEnabled(False)
            shortcut.deleteLater()
        self._shortcuts.clear()
        self.reviewSection.exit()
        self.checkSection.compare.exit()
        self.checkSection.given.stop()

    def stop(self) -> None:
        """Stop every process, and wait until all have ended."""
        self.runs.stopNow()
        self.setupSection.stop()
        self.serverSection.stop()
        self.exportSection.cancel()
        self.dicomSection.cancel()
        self.reviewSection.stop()
        self.checkSection.plan.stop()
        self._preload.stop()

    def close(self) -> None:
        """Stop every process and drop the review; the panel is not used afterwards."""
        self.exit()
        self.inputSection.setParameterNode(None)
        self.reviewSection.forget()
        self.stop()

    def forgetScene(self) -> None:
        """Stop the run before the nodes of the scene are removed."""
        self._isSceneClosing = True
        if self.runs.isRunning():
            self.runs.stopNow()
            self.runSection.say(_("The scene was closed; the run was cancelled."))
        self.runs.forget()
        self.inputSection.setParameterNode(None)
        self._showSegmentation(None)
        self.reviewSection.forget()

    def showScene(self) -> None:
        """Show the parameter node of the scene."""
        node = self._parameterNode()
        self.inputSection.setParameterNode(node)
        self.reviewSection.onSceneLoaded(node.GetScene())
        self.refresh()

    def onSceneChanged(self) -> None:
        """Called after a scene was loaded or closed; a hidden panel adds no parameter node."""
        self._isSceneClosing = False
        if self._isEntered:
            self.showScene()

    def segment(self) -> None:
        """Start a segmentation; do nothing if a run is in progress or an input is missing."""
        inputs = self.inputSection
        if inputs.missing():
            return
        nodes, options = (inputs.volumeNode(), inputs.segmentationNode()), inputs.options()

        def make(folder: Path) -> SegmentRun | SequenceRun:
            run = segmentRun(*nodes, folder, options)
            run.onStored = lambda node, indexValue: self._stored(node, indexValue, nodes[1])
            return run

        started = self.runSection.start(
            make,
            _("The spine could not be segmented."),
            lambda run: self._segmented(run, nodes[1]),
        )
        if started:
            self._preload.start()

    def copyDiagnostics(self) -> None:
        """Copy versions, devices, options and the log for a bug report."""
        text = Diagnostics.text(
            self._application.version,
            self.setupSection.facts,
            self.runSection.lastCode or _("no error"),
            self.inputSection.describe(),
            self.runs.log(),
        )
        self._application.copy(text)
        self.runSection.say(_("Diagnostics are in the clipboard."))

    def segmentVolume(self, volumeNode: slicer.vtkMRMLScalarVolumeNode) -> None:
        """Choose a volume and segment it; for entries of menus elsewhere in Slicer.

        If a run is in progress, the user is asked whether to stop it. The result goes into a new
        segmentation, unless the chosen one belongs to the volume.
        """
        if self.runs.isRunning():
            question = _("A run is in progress. Stop it, and segment this volume?")
            if not slicer.util.confirmOkCancelDisplay(question):
                return
            self.runs.stopNow()
        ui = self.ui
        segmentation = self.inputSection.segmentationNode()
        if segmentation is not None and volumeOf(segmentation) is not volumeNode:
            ui.outputSelector.setCurrentNode(None)
        if volumeNode is not self.inputSection.volumeNode():
            ui.roiSelector.setCurrentNode(None)
            ui.inputSelector.setCurrentNode(volumeNode)
        self.refresh()
        if reason := self.inputSection.missing():
            slicer.util.errorDisplay(reason)
        else:
            self.segment()

    def refresh(self) -> None:
        """Enable buttons, and show the vertebrae of the chosen segmentation."""
        self.runSection.enableButtons(self.inputSection.missing())
        # While a scene closes, selectors lose their nodes one by one; the review was dropped.
        if not self.runs.isRunning() and not self._isSceneClosing:
            self._showSegmentation(self.inputSection.segmentationNode())

    def _segmented(
        self,
        run: SegmentRun | SequenceRun,
        chosen: slicer.vtkMRMLSegmentationNode | None,
    ) -> str:
        """Show the new segments; the status line keeps the message of the run.

        Args:
            run: The finished run.
            chosen: Segmentation that was chosen at the start of the run.
        """
        node = run.segmentationNode
        self._makeRoom()
        if not run.isReviewStarted:
            self.reviewSection.onSegmented(node)
        if not self._choose(node, chosen):
            return _("Finished. The segments are in {name}.").format(name=node.GetName())
        ids = run.importedIds or vertebraIds(node)
        ReviewViews.showSegments(node, ids, self._application.layoutManager())
        return ""

    def _stored(
        self,
        node: slicer.vtkMRMLSegmentationNode,
        indexValue: str,
        chosen: slicer.vtkMRMLSegmentationNode | None,
    ) -> None:
        """Show a frame that was stored, while the run continues."""
        self.reviewSection.onFrameStored(node, indexValue)
        self._choose(node, chosen)

    def _choose(
        self,
        node: slicer.vtkMRMLSegmentationNode,
        chosen: slicer.vtkMRMLSegmentationNode | None,
    ) -> bool:
        """Choose the segmentation of a run, unless another was chosen during the run."""
        if self.inputSection.segmentationNode() not in (node, chosen, None):
            return False
        self.ui.outputSelector.setCurrentNode(node)
        return True

    def _makeRoom(self) -> None:
        """Fold the sections above the review after the first run; then they stay as they are."""
        if not self._madeRoom:
            self.ui.inputsCollapsibleButton.collapsed = True
            self.ui.segmentCollapsibleButton.collapsed = True
            self.ui.reviewCollapsibleButton.collapsed = False
        self._madeRoom = True

    def _onShown(self) -> None:
        """Show measures, and whether a run may replace the vertebrae that are shown now."""
        self.checkSection.refresh()
        self.runSection.enableButtons(self.inputSection.missing())

    def _onModel(self, name: str) -> None:
        """List the models again, and choose one."""
        self.inputSection.showModels()
        self.inputSection.selectModel(name)
        self.setupSection.checkModel(name)

    def _showSegmentation(self, node: slicer.vtkMRMLSegmentationNode | None) -> None:
        self.reviewSection.show(node)
        self.exportSection.show(node)
        self.dicomSection.show(node)
