"""SpineMamba Segment: the four classes that Slicer loads."""

from __future__ import annotations

import sys
import tempfile
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

from spinemamba.anatomy.labels import BY_VALUE
from SpineMambaSegmentLib.Panel.Panel import Application, Panel
from SpineMambaSegmentLib.Runs.RunManager import RunManager
from SpineMambaSegmentLib.Scene import Segments
from SpineMambaSegmentLib.Scene.Files import writeVolume

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
    """Connects the panel with Slicer's application and scene."""

    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)

    def setup(self) -> None:
        """Build the panel; called once, when the module is first opened."""
        super().setup()
        widget = slicer.util.loadUI(self.resourcePath("UI/SpineMambaSegment.ui"))
        self.layout.addWidget(widget)
        widget.setMRMLScene(slicer.mrmlScene)
        self.logic = SpineMambaSegmentLogic()
        application = Application(
            version=slicer.app.applicationVersion,
            settings=slicer.app.settings(),
            models=Path(slicer.app.slicerUserSettingsFilePath).parent / "SpineMambaModels",
            pyproject=MODULE_FOLDER / "pyproject.toml",
            userName=slicer.app.applicationLogic().GetUserInformation().GetName,
            layoutManager=slicer.app.layoutManager,
            copy=lambda text: slicer.app.clipboard().setText(text),
        )
        self.panel = Panel(widget, self.logic.runs, self.logic.getParameterNode, application)
        scene = slicer.mrmlScene
        self.addObserver(scene, scene.StartCloseEvent, self.onSceneStartClose)
        for event in (scene.EndCloseEvent, scene.EndImportEvent):
            self.addObserver(scene, event, self.onSceneChanged)
        slicer.app.connect("aboutToQuit()", self.panel.stop)

    def enter(self) -> None:
        """Called each time the panel is shown."""
        self.panel.enter()

    def exit(self) -> None:
        """Called each time the panel is hidden; a run continues."""
        self.panel.exit()

    def cleanup(self) -> None:
        """Stop all processes; called when Slicer quits or the module is reloaded."""
        self.removeObservers()
        slicer.app.disconnect("aboutToQuit()", self.panel.stop)
        self.panel.close()

    def onReload(self) -> None:
        """Remove our packages from `sys.modules`, so that reloading imports them again."""
        self.panel.stop()
        for name in [n for n in sys.modules if n.partition(".")[0] in PACKAGES]:
            del sys.modules[name]
        super().onReload()

    def onSceneStartClose(self, caller=None, event=None) -> None:
        """Stop the run before its nodes are removed."""
        self.panel.forgetScene()

    def onSceneChanged(self, caller=None, event=None) -> None:
        """Show the parameter node of the scene."""
        self.panel.onSceneChanged()


class SpineMambaSegmentLogic(ScriptedLoadableModuleLogic):
    """Runs for scripts and the panel.

    Attributes:
        runs: Starts and stops runs.
        process: Segments a volume and waits; see `RunManager.process`.
        start: Starts a segmentation and returns at once; see `RunManager.start`.
    """

    def __init__(self):
        super().__init__()
        self.runs = RunManager(lambda: Path(slicer.app.temporaryPath))
        self.process, self.start = self.runs.process, self.runs.start


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
