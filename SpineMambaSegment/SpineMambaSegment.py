"""SpineMamba Segment: the four classes that Slicer looks for. No computation here."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

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

from spinemamba import events
from spinemamba.labels import BY_VALUE
from SpineMambaSegmentLib import Dependencies, Scene
from SpineMambaSegmentLib.Run import Run
from SpineMambaSegmentLib.Segmentation import Segmentation

MODULE_FOLDER = Path(__file__).resolve().parent
OWN_PACKAGES = ("SpineMambaSegmentLib", "spinemamba")


class SpineMambaSegment(ScriptedLoadableModule):
    """What Slicer shows about the module."""

    def __init__(self, parent):
        super().__init__(parent)
        parent.title = _("SpineMamba Segment")
        parent.categories = [translate("qSlicerAbstractCoreModule", "Segmentation")]
        parent.dependencies = ["Segmentations", "Terminologies"]
        parent.contributors = ["SpineMamba Segment contributors"]
        parent.helpText = _(
            "Makes one named, coloured and coded segment per vertebra from a CT or MR image. "
            "Everything runs on this computer. Research use only, not for clinical use."
        )
        parent.acknowledgementText = _(
            "A re-implementation from public descriptions of SpineMamba (Zhang et al., "
            "arXiv 2408.15887); it holds none of its authors' weights."
        )
        slicer.app.connect("startupCompleted()", loadTerminology)


def loadTerminology() -> None:
    """Offer the levels in Slicer's terminology selector."""
    path = MODULE_FOLDER / "Resources" / "Terminology" / "SpineMamba.term.json"
    slicer.modules.terminologies.logic().LoadTerminologyFromFile(str(path))


class SpineMambaSegmentWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """The panel."""

    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)

    def setup(self) -> None:
        """Build the panel; called once, when it is first opened."""
        super().setup()
        panel = slicer.util.loadUI(self.resourcePath("UI/SpineMambaSegment.ui"))
        self.layout.addWidget(panel)
        self.ui = slicer.util.childWidgetVariables(panel)
        panel.setMRMLScene(slicer.mrmlScene)
        self.logic = SpineMambaSegmentLogic()
        self.ui.inputSelector.connect("currentNodeChanged(vtkMRMLNode*)", self.updateButtons)
        self.ui.segmentButton.connect("clicked(bool)", self.onSegment)
        self.ui.cancelButton.connect("clicked(bool)", self.onCancel)
        scene = slicer.mrmlScene
        self.addObserver(scene, scene.StartCloseEvent, self.onSceneStartClose)
        slicer.app.connect("aboutToQuit()", self.onCancel)
        self.updateButtons()

    def cleanup(self) -> None:
        """Stop what runs; called when Slicer quits or the module is reloaded."""
        self.removeObservers()
        slicer.app.disconnect("aboutToQuit()", self.onCancel)
        self.logic.cancel()

    def onReload(self) -> None:
        """Forget our packages, so that reloading reads them again."""
        self.logic.cancel()
        for name in [n for n in sys.modules if n.partition(".")[0] in OWN_PACKAGES]:
            del sys.modules[name]
        super().onReload()

    def onSceneStartClose(self, caller=None, event=None) -> None:
        """Stop before the nodes of the run disappear."""
        self.onCancel()

    def onSegment(self) -> None:
        """Start a run."""
        with slicer.util.tryWithErrorDisplay(_("The spine could not be segmented.")):
            Dependencies.ensurePackages(MODULE_FOLDER / "pyproject.toml")
            self.ui.statusLabel.text = _("Starting")
            volumeNode = self.ui.inputSelector.currentNode()
            segmentationNode = self.ui.outputSelector.currentNode()
            self.logic.start(volumeNode, segmentationNode, self.onEvent)
        self.updateButtons()

    def onCancel(self) -> None:
        """Stop the run, if there is one."""
        if self.logic.isRunning():
            self.logic.cancel()
            self.ui.statusLabel.text = _("Cancelled. Nothing was changed.")
            self.ui.progressBar.value = 0
        self.updateButtons()

    def onEvent(self, event: events.Event) -> None:
        """Show what the worker says."""
        if isinstance(event, events.Progress):
            self.ui.progressBar.value = round(1000 * event.overall)
            self.ui.statusLabel.text = _("Working: {stage}").format(stage=event.stage)
        elif isinstance(event, events.Warning):
            self.ui.statusLabel.text = event.message
        elif isinstance(event, events.Failed):
            self.ui.statusLabel.text = f"{event.message} {event.remedy}"
            self.ui.progressBar.value = 0
        elif isinstance(event, events.Finished):
            text = _("Finished in {seconds:.0f} s. Research use only: check every level.")
            self.ui.statusLabel.text = text.format(seconds=event.seconds)
            self.ui.outputSelector.setCurrentNode(self.logic.segmentationNode())
        self.updateButtons()

    def updateButtons(self, node=None) -> None:
        """Enable what a press can do now."""
        running = self.logic.isRunning()
        chosen = self.ui.inputSelector.currentNode() is not None
        self.ui.segmentButton.enabled = chosen and not running
        tip = _("Find and name every vertebra") if chosen else _("Choose an input volume")
        self.ui.segmentButton.toolTip = _("Wait for the run to end") if running else tip
        self.ui.cancelButton.enabled = running


class SpineMambaSegmentLogic(ScriptedLoadableModuleLogic):
    """The runs, for the panel and for scripts."""

    def __init__(self):
        super().__init__()
        self._segmentation: Segmentation | None = None

    def start(
        self,
        volumeNode: slicer.vtkMRMLScalarVolumeNode,
        segmentationNode: slicer.vtkMRMLSegmentationNode | None = None,
        onEvent: Callable[[events.Event], None] = lambda event: None,
    ) -> None:
        """Start a run and return; ``onEvent`` is called from Qt's event loop.

        Raises:
            UserError: If the volume cannot be segmented.
            ValueError: If a run is going on.
        """
        if self.isRunning():
            raise ValueError("a run is going on; cancel it first")
        run = Run(volumeNode, segmentationNode, Path(slicer.app.temporaryPath))
        self._segmentation = Segmentation(run, onEvent)

    def cancel(self) -> None:
        """Stop the run, if there is one, and delete its files."""
        if self._segmentation is not None:
            self._segmentation.cancel()

    def isRunning(self) -> bool:
        """Return whether a run is going on."""
        return self._segmentation is not None and self._segmentation.isRunning()

    def segmentationNode(self) -> slicer.vtkMRMLSegmentationNode | None:
        """Return the node that the last run wrote to."""
        return None if self._segmentation is None else self._segmentation.run.segmentationNode

    def process(
        self,
        volumeNode: slicer.vtkMRMLScalarVolumeNode,
        segmentationNode: slicer.vtkMRMLSegmentationNode | None = None,
    ) -> slicer.vtkMRMLSegmentationNode:
        """Segment and wait; for scripts.

        Raises:
            UserError: If the volume cannot be segmented, or the worker fails.
        """
        return Run(volumeNode, segmentationNode, Path(slicer.app.temporaryPath)).wait()


class SpineMambaSegmentTest(ScriptedLoadableModuleTest):
    """A smoke test that needs neither torch nor a network nor a main window."""

    def setUp(self):
        """Start with an empty scene."""
        slicer.mrmlScene.Clear()

    def runTest(self):
        """Run the only test."""
        self.setUp()
        self.test_labelsBecomeNamedSegments()

    def test_labelsBecomeNamedSegments(self):
        """A label image of one L1 comes back as one segment of that name."""
        image = vtk.vtkImageData()
        image.SetDimensions(8, 8, 8)
        image.AllocateScalars(vtk.VTK_SHORT, 1)
        image.GetPointData().GetScalars().Fill(20)
        volume = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "CT")
        volume.SetAndObserveImageData(image)
        node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Spine")
        with tempfile.TemporaryDirectory() as folder:
            Scene.writeVolume(volume, Path(folder) / "labels.nrrd")
            made = Scene.readSegmentation(Path(folder) / "labels.nrrd", node, volume)
        self.assertEqual(made, ["V20"])
        self.assertEqual(node.GetSegmentation().GetSegment("V20").GetName(), BY_VALUE[20].name)
