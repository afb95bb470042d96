"""SpineMamba Segment: the four classes that Slicer loads."""

from __future__ import annotations

import importlib
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
from SpineMambaSegmentLib.Application import SampleImage
from SpineMambaSegmentLib.Panel.Panel import Application, Panel
from SpineMambaSegmentLib.Runs.RunManager import RunManager
from SpineMambaSegmentLib.Runs.SegmentRun import RunOptions
from SpineMambaSegmentLib.Scene import Segments
from SpineMambaSegmentLib.Scene.Files import writeVolume
from SpineMambaSegmentLib.Setup.Dependencies import missingPackages

MODULE_FOLDER = Path(__file__).resolve().parent
PACKAGES = ("SpineMambaSegmentLib", "spinemamba")
LINK = '<a href="{}">'
PAGE = "https://github.com/spinemamba/SlicerSpineMamba/blob/main/Resources/Docs/slicer.md"


class SpineMambaSegment(ScriptedLoadableModule):
    """Name, category, help and acknowledgement of the module."""

    def __init__(self, parent):
        super().__init__(parent)
        parent.title = _("SpineMamba Segment")
        parent.categories = [translate("qSlicerAbstractCoreModule", "Segmentation")]
        parent.dependencies = ["Segmentations", "Terminologies", "SubjectHierarchy"]
        parent.contributors = ["SpineMamba Segment contributors"]
        parent.helpText = _(
            "Creates one named, coloured and coded segment per vertebra from a CT or MR image. "
            "Everything runs on this computer. Research use only, not for clinical use."
        )
        link = _("For more information, see the {start}documentation{end}.")
        parent.helpText += "<p>{}</p>".format(link.format(start=LINK.format(PAGE), end="</a>"))
        parent.acknowledgementText = _(
            "A re-implementation from public descriptions of SpineMamba (Zhang et al., "
            "arXiv 2408.15887); it contains none of its authors' weights."
        )
        for slot in (loadTerminology, registerSampleData, registerContextMenu):
            slicer.app.connect("startupCompleted()", slot)


def registerSampleData() -> None:
    """Add a synthetic CT to the module Sample Data."""
    # Not at the top: this file may be loaded before that module is.
    try:
        import SampleData
    except ModuleNotFoundError:  # it can be disabled in Slicer's settings
        return
    SampleImage.register(SampleData)


def registerContextMenu() -> None:
    """Add *Segment Spine* to the context menu of volumes."""
    folder = MODULE_FOLDER / "SpineMambaSegmentLib" / "Application"
    plugin = slicer.qSlicerSubjectHierarchyScriptedPlugin(None)
    # The Python side registers itself with Slicer's handler, which then owns the plugin.
    plugin.setPythonSource(str(folder / "SpineMambaSegmentSubjectHierarchyPlugin.py"))


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
            showStatus=slicer.util.showStatusMessage,
        )
        self.panel = Panel(widget, self.logic.runs, self.logic.getParameterNode, application)
        scene = slicer.mrmlScene
        self.addObserver(scene, scene.StartCloseEvent, self.onSceneStartClose)
        for event in (scene.EndCloseEvent, scene.EndImportEvent):
            self.addObserver(scene, event, self.onSceneChanged)
        slicer.app.connect("aboutToQuit()", self.panel.stop)
        # Slicer does not call enter() when a module is reloaded while it is open.
        if getattr(self.parent, "isEntered", False):  # False for a panel outside of Slicer's own
            self.enter()

    def segmentVolume(self, volumeNode: slicer.vtkMRMLScalarVolumeNode) -> None:
        """Choose a volume and start; ask first if a run is in progress."""
        self.panel.segmentVolume(volumeNode)

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
    """Self test of the installed module; what is not installed or not shown is left out."""

    def setUp(self):
        """Start with an empty scene."""
        slicer.mrmlScene.Clear()

    def runTest(self, segment: bool = True):
        """Run all tests.

        Args:
            segment: Whether to run the network on a synthetic CT, which takes a minute.
        """
        tests = [self.test_labelsBecomeNamedSegments, self.test_logicIsMade]
        tests += [self.test_panelIsShownAndLeft]
        for test in [*tests, *([self.test_syntheticSpineIsSegmented] if segment else [])]:
            self.setUp()
            test()

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

    def test_logicIsMade(self):
        """The logic has a parameter node in the scene, and no run."""
        logic = SpineMambaSegmentLogic()
        node = logic.getParameterNode()
        self.assertIs(node, logic.getParameterNode())
        self.assertIs(node.GetScene(), slicer.mrmlScene)
        self.assertFalse(logic.runs.isRunning())

    def test_panelIsShownAndLeft(self):
        """The panel opens, is entered and left; without a main window there is no panel."""
        if slicer.util.mainWindow() is None:
            self.delayDisplay(_("The panel was not opened: there is no main window."))
            return
        name = self.__class__.__name__.removesuffix("Test")
        before = slicer.util.selectedModule()
        slicer.util.selectModule(name)
        widget = slicer.util.getModuleWidget(name)
        self.assertTrue(widget.parent.isEntered)
        self.assertIs(slicer.util.getModuleLogic(name), widget.logic)
        slicer.util.selectModule("Data")
        self.assertFalse(widget.parent.isEntered)
        if before:
            slicer.util.selectModule(before)

    def test_syntheticSpineIsSegmented(self):
        """Two synthetic vertebrae are segmented, if all packages are installed."""
        missing = [required.name for required in missingPackages(MODULE_FOLDER / "pyproject.toml")]
        if missing:
            text = _("Nothing was segmented: these packages are not installed: {names}.")
            self.delayDisplay(text.format(names=", ".join(missing)))
            return
        # Not imported above: the panel must open without the packages that it needs.
        phantom = importlib.import_module("spinemamba.phantom")
        options = phantom.PhantomOptions(
            first="L2", last="L3", spacing_mm=(3.0, 3.0, 3.0), scale=0.8, margin_mm=9.0, tight=True
        )
        image = phantom.make_phantom(2, options).image
        volume = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "CT")
        slicer.util.updateVolumeFromArray(volume, image.array)
        volume.SetSpacing(*image.spacing_mm[::-1])
        volume.SetIJKToRASDirections(-1, 0, 0, 0, -1, 0, 0, 0, 1)
        node = SpineMambaSegmentLogic().process(volume, options=RunOptions(quality="fast"))
        self.assertGreaterEqual(node.GetSegmentation().GetNumberOfSegments(), 1)
