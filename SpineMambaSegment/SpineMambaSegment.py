"""SpineMamba Segment: the four classes that Slicer loads. Computation is in other modules."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import qt
import slicer
import slicer.util
import vtk
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin

from spinemamba.anatomy.labels import BY_VALUE
from spinemamba.protocol import events
from SpineMambaSegmentLib import Errors
from SpineMambaSegmentLib.Panel.CheckSection import CheckSection
from SpineMambaSegmentLib.Panel.ExportSection import ExportSection
from SpineMambaSegmentLib.Panel.InputSection import InputSection
from SpineMambaSegmentLib.Panel.PanelJobs import PanelJobs
from SpineMambaSegmentLib.Panel.ReviewBoxMenu import ReviewBoxMenu
from SpineMambaSegmentLib.Panel.ReviewSection import ReviewSection
from SpineMambaSegmentLib.Panel.RunSection import RunSection
from SpineMambaSegmentLib.Panel.SetupSection import SetupSection
from SpineMambaSegmentLib.Runs.RunManager import RunManager
from SpineMambaSegmentLib.Scene import Segments, Views
from SpineMambaSegmentLib.Scene.VolumeFile import writeVolume
from SpineMambaSegmentLib.Setup import Diagnostics
from SpineMambaSegmentLib.Setup.ModelStore import ModelStore

MODULE_FOLDER = Path(__file__).resolve().parent
PACKAGES = ("SpineMambaSegmentLib", "spinemamba")


class SpineMambaSegment(ScriptedLoadableModule):
    """Name, category, help and acknowledgement of the module."""

    def __init__(self, parent):
        super().__init__(parent)
        parent.title = _("SpineMamba Segment")
        parent.categories = [translate("qSlicerAbstractCoreModule", "Segmentation")]
        parent.dependencies = ["Segmentations", "Terminologies"]
        parent.contributors = ["SpineMamba Segment contributors"]
        parent.helpText = _(
            "Creates one named, coloured and coded segment per vertebra from a CT or MR image. "
            "Everything runs on this computer. Research use only, not for clinical use."
        )
        parent.acknowledgementText = _(
            "A re-implementation from public descriptions of SpineMamba (Zhang et al., "
            "arXiv 2408.15887); it contains none of its authors' weights."
        )
        slicer.app.connect("startupCompleted()", loadTerminology)


def loadTerminology() -> None:
    """Add the levels to Slicer's terminology selector."""
    path = MODULE_FOLDER / "Resources" / "Terminology" / "SpineMamba.term.json"
    slicer.modules.terminologies.logic().LoadTerminologyFromFile(str(path))


class SpineMambaSegmentWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """The panel."""

    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self._shortcuts = []

    def setup(self) -> None:
        """Build the panel; called once, when the module is first opened."""
        super().setup()
        self._panel = slicer.util.loadUI(self.resourcePath("UI/SpineMambaSegment.ui"))
        self.layout.addWidget(self._panel)
        self.ui = slicer.util.childWidgetVariables(self._panel)
        self._panel.setMRMLScene(slicer.mrmlScene)
        self.logic = logic = SpineMambaSegmentLogic()
        store = ModelStore(Path(slicer.app.slicerUserSettingsFilePath).parent / "SpineMambaModels")
        self.runSection = RunSection(self.ui, logic.isRunning, logic.canCancel, logic.log)
        user = slicer.app.applicationLogic().GetUserInformation()
        self.reviewSection = ReviewSection(self.ui, self.runSection.say, user.GetName)
        self.exportSection = ExportSection(self.ui, self.runSection.say)
        self.inputSection = InputSection(self.ui, slicer.app.settings(), store, self.refresh)
        project, devices = MODULE_FOLDER / "pyproject.toml", self.inputSection.showDevices
        self.setupSection = SetupSection(self.ui, project, store, devices, self.onModelImported)
        self.jobs = PanelJobs(logic, self.runSection, self.setupSection, self.refresh)
        self.checkSection = CheckSection(self.ui, self.reviewSection, self.jobs, self.inputSection)
        self.boxMenu = ReviewBoxMenu(
            self.reviewSection, self.reviewSection.menus, self.jobs, self.inputSection
        )
        self.ui.segmentButton.connect("clicked(bool)", self.onSegment)
        self.ui.cancelButton.connect("clicked(bool)", self.onCancel)
        self.ui.diagnosticsButton.connect("clicked(bool)", self.onCopyDiagnostics)
        scene = slicer.mrmlScene
        self.addObserver(scene, scene.StartCloseEvent, self.onSceneStartClose)
        for event in (scene.EndCloseEvent, scene.EndImportEvent):
            self.addObserver(scene, event, self.onSceneChanged)
        slicer.app.connect("aboutToQuit()", self.stop)
        self.onSceneChanged()

    def enter(self) -> None:
        """Called each time the panel is shown."""
        for keys, action in (("Ctrl+Return", self.onSegment), ("Ctrl+Backspace", self.onCancel)):
            shortcut = qt.QShortcut(qt.QKeySequence(keys), self._panel)
            # The shortcuts must not work in other modules, which may use the same keys.
            shortcut.setContext(qt.Qt.WidgetWithChildrenShortcut)
            shortcut.connect("activated()", action)
            self._shortcuts.append(shortcut)
        if isinstance(self.setupSection.facts, str):
            self.setupSection.check()
            self.setupSection.checkModel(self.inputSection.model())
        self.onSceneChanged()
        self.inputSection.suggestVolume()

    def exit(self) -> None:
        """Called each time the panel is hidden; a run continues."""
        for shortcut in self._shortcuts:
            shortcut.setEnabled(False)
            shortcut.deleteLater()
        self._shortcuts.clear()

    def cleanup(self) -> None:
        """Stop all processes; called when Slicer quits or the module is reloaded."""
        self.exit()
        self.removeObservers()
        self.reviewSection.forget()
        slicer.app.disconnect("aboutToQuit()", self.stop)
        self.stop()

    def onReload(self) -> None:
        """Remove our packages from `sys.modules`, so that reloading imports them again."""
        self.stop()
        for name in [n for n in sys.modules if n.partition(".")[0] in PACKAGES]:
            del sys.modules[name]
        super().onReload()

    def stop(self) -> None:
        """Stop every process, and wait until all have ended."""
        for stop in (self.logic.stopNow, self.setupSection.stop, self.exportSection.cancel):
            stop()

    def onSceneStartClose(self, caller=None, event=None) -> None:
        """Stop the run before its nodes are removed."""
        if self.logic.isRunning():
            self.logic.stopNow()
            self.runSection.say(_("The scene was closed; the run was cancelled."))
        self.inputSection.setParameterNode(None)
        self._showSegmentation(None)
        self.reviewSection.forget()

    def onSceneChanged(self, caller=None, event=None) -> None:
        """Show the parameter node of the scene."""
        self.inputSection.setParameterNode(self.logic.getParameterNode())
        self.refresh()

    def onModelImported(self, name: str) -> None:
        """Add an imported model to the selector, and choose it."""
        self.inputSection.showModels()
        self.inputSection.selectModel(name)
        self.setupSection.checkModel(name)

    def onSegment(self) -> None:
        """Start a run; do nothing if one is running or an input is missing."""
        if self.logic.isRunning() or self.inputSection.missing():
            return
        with Errors.shown(_("The spine could not be segmented."), self.runSection.say):
            self.setupSection.ensurePackages()
            nodes = self.inputSection.volumeNode(), self.inputSection.segmentationNode()
            self.logic.start(*nodes, self.onEvent, self.inputSection.options())
            self.runSection.started()
        self.refresh()

    def onCancel(self) -> None:
        """Cancel the run, if it can be cancelled."""
        if self.logic.canCancel():
            self.logic.cancel()
            self.runSection.say(_("Stopping"))
        self.refresh()

    def onEvent(self, event: events.Event) -> None:
        """Show an event of the worker, and the new segments after the last one."""
        self.runSection.show(event)
        if isinstance(event, events.Finished):
            node = self.logic.segmentationNode()
            self.reviewSection.onSegmented(node)
            self.ui.outputSelector.setCurrentNode(node)
            Views.showSegments(node, self.logic.importedIds(), slicer.app.layoutManager())
        self.refresh()

    def onCopyDiagnostics(self) -> None:
        """Copy versions, devices, options and the log for a bug report."""
        text = Diagnostics.text(
            slicer.app.applicationVersion,
            self.setupSection.facts,
            self.runSection.lastCode or _("no error"),
            self.inputSection.describe(),
            self.logic.log(),
        )
        slicer.app.clipboard().setText(text)
        self.runSection.say(_("Diagnostics are in the clipboard."))

    def refresh(self) -> None:
        """Enable buttons, and show the vertebrae of the chosen segmentation."""
        self.runSection.refresh(self.inputSection.missing())
        if not self.logic.isRunning():
            self._showSegmentation(self.inputSection.segmentationNode())

    def _showSegmentation(self, node: slicer.vtkMRMLSegmentationNode | None) -> None:
        self.reviewSection.show(node)
        self.exportSection.show(node)


class SpineMambaSegmentLogic(ScriptedLoadableModuleLogic, RunManager):
    """Runs, for the panel and for scripts: ``process`` waits, ``start`` returns at once."""

    def __init__(self):
        ScriptedLoadableModuleLogic.__init__(self)
        RunManager.__init__(self, lambda: Path(slicer.app.temporaryPath))


class SpineMambaSegmentTest(ScriptedLoadableModuleTest):
    """A smoke test; it needs no torch, no network and no main window."""

    def setUp(self):
        """Start with an empty scene."""
        slicer.mrmlScene.Clear()

    def runTest(self):
        """Run the test."""
        self.setUp()
        self.test_labelsBecomeNamedSegments()

    def test_labelsBecomeNamedSegments(self):
        """A label image of one L1 becomes one segment named L1."""
        image = vtk.vtkImageData()
        image.SetDimensions(8, 8, 8)
        image.AllocateScalars(vtk.VTK_SHORT, 1)
        image.GetPointData().GetScalars().Fill(20)
        volume = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "CT")
        volume.SetAndObserveImageData(image)
        node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Spine")
        with tempfile.TemporaryDirectory() as folder:
            writeVolume(volume, Path(folder) / "labels.nrrd")
            ids = Segments.readSegmentation(Path(folder) / "labels.nrrd", node, volume)
        self.assertEqual(ids, ["V20"])
        self.assertEqual(node.GetSegmentation().GetSegment("V20").GetName(), BY_VALUE[20].name)
