"""Slicer's slice and 3-D views without a screen: its own displayable managers, drawn by VTK."""

from __future__ import annotations

from pathlib import Path

import slicer
import vtk

MANAGERS_3D = (
    "vtkMRMLCameraDisplayableManager",
    "vtkMRMLViewDisplayableManager",
    "vtkMRMLModelDisplayableManager",
    "vtkMRMLSegmentationsDisplayableManager3D",
)
MANAGERS_2D = (
    "vtkMRMLModelSliceDisplayableManager",
    "vtkMRMLSegmentationsDisplayableManager2D",
)
MANAGERS_OF_CLICKS = ("vtkMRMLMarkupsDisplayableManager", "vtkMRMLCrosshairDisplayableManager")
WINDOW, LEVEL = 255.0, 127.5


class _View:
    """A window of its own, with what Slicer draws into it."""

    def __init__(self, size: tuple[int, int]):
        self.renderer = vtk.vtkRenderer()
        self.window = vtk.vtkRenderWindow()
        self.window.SetOffScreenRendering(1)
        self.window.SetMultiSamples(0)
        self.window.SetSize(*size)
        self.window.AddRenderer(self.renderer)
        self.interactor = vtk.vtkRenderWindowInteractor()
        self.interactor.SetRenderWindow(self.window)
        self.interactor.Initialize()
        self.group = slicer.vtkMRMLDisplayableManagerGroup()
        self.group.SetRenderer(self.renderer)

    def _draw_with(self, factories: type, names: tuple[str, ...]) -> None:
        factory = factories.GetInstance()
        factory.SetMRMLApplicationLogic(slicer.app.applicationLogic())
        for name in names:
            if not factory.IsDisplayableManagerRegistered(name):
                factory.RegisterDisplayableManager(name)
        self.group.Initialize(factory, self.renderer)

    def write(self, path: Path) -> None:
        """Write the view as a PNG."""
        self.interactor.Render()
        self.window.Render()
        grabber = vtk.vtkWindowToImageFilter()
        grabber.SetInput(self.window)
        grabber.ReadFrontBufferOff()
        grabber.SetInputBufferTypeToRGB()
        writer = vtk.vtkPNGWriter()
        writer.SetFileName(str(path))
        writer.SetInputConnection(grabber.GetOutputPort())
        writer.Write()


class View3D(_View):
    """The 3-D view."""

    def __init__(self, size: tuple[int, int]):
        super().__init__(size)
        self._draw_with(slicer.vtkMRMLThreeDViewDisplayableManagerFactory, MANAGERS_3D)
        self.logic = slicer.vtkMRMLViewLogic()
        self.logic.SetMRMLApplicationLogic(slicer.app.applicationLogic())
        self.logic.SetMRMLScene(slicer.mrmlScene)
        self.node = self.logic.AddViewNode("View1")
        self.node.SetBoxVisible(False)
        self.node.SetAxisLabelsVisible(False)
        self.group.SetMRMLDisplayableNode(self.node)

    def write(self, path: Path) -> None:
        """Write the view from the front as a PNG, with all segments in it."""
        self.window.Render()  # the first drawing makes the camera
        count = slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLCameraNode")
        camera = slicer.mrmlScene.GetNthNodeByClass(count - 1, "vtkMRMLCameraNode")
        camera.RotateTo(slicer.vtkMRMLCameraNode.Anterior)
        self.renderer.ResetCameraScreenSpace()
        self.renderer.ResetCameraClippingRange()
        super().write(path)


class SliceView(_View):
    """A slice view.

    Args:
        name: Name of the view, as "Red".
        orientation: Axial, Sagittal or Coronal.
        size: Width and height in pixels.
        managers: Displayable managers beside those of segmentations and models.
    """

    def __init__(
        self,
        name: str,
        orientation: str,
        size: tuple[int, int],
        managers: tuple[str, ...] = (),
    ):
        super().__init__(size)
        self.renderer.GetActiveCamera().ParallelProjectionOn()
        # The image is a layer of its own below the segments, which are half transparent.
        below = vtk.vtkRenderer()
        self.renderer.SetLayer(1)
        self.window.SetNumberOfLayers(2)
        self.window.AddRenderer(below)
        self.mapper = vtk.vtkImageMapper()
        self.mapper.SetColorWindow(WINDOW)
        self.mapper.SetColorLevel(LEVEL)
        self.actor = vtk.vtkActor2D()
        self.actor.SetMapper(self.mapper)
        below.AddViewProp(self.actor)
        self._draw_with(slicer.vtkMRMLSliceViewDisplayableManagerFactory, (*MANAGERS_2D, *managers))
        self.logic = slicer.vtkMRMLSliceLogic()
        self.logic.SetMRMLApplicationLogic(slicer.app.applicationLogic())
        self.logic.SetMRMLScene(slicer.mrmlScene)
        slicer.app.applicationLogic().GetSliceLogics().AddItem(self.logic)
        self.node = self.logic.AddSliceNode(name)
        self.node.SetDefaultOrientation(orientation)
        self.node.SetOrientation(orientation)
        self.group.SetMRMLDisplayableNode(self.node)

    def show(self, volume: slicer.vtkMRMLVolumeNode) -> None:
        """Fit the view to a volume; the slice through its middle."""
        self.logic.GetSliceCompositeNode().SetBackgroundVolumeID(volume.GetID())
        self.logic.ResizeSliceNode(*self.window.GetSize())
        self.logic.FitSliceToBackground()
        self.mapper.SetInputConnection(self.logic.GetImageDataConnection())


class ClickedSliceView(SliceView):
    """A slice view that takes mouse events as Slicer's does, through its interactor."""

    def __init__(self, name: str, orientation: str, size: tuple[int, int]):
        _prepare_placing()
        super().__init__(name, orientation, size, MANAGERS_OF_CLICKS)
        self._idle = vtk.vtkInteractorStyleUser()
        self.interactor.SetInteractorStyle(self._idle)
        self.style = slicer.vtkMRMLSliceViewInteractorStyle()
        self.style.SetDisplayableManagers(self.group)
        self.style.SetSliceLogic(self.logic)
        self.style.SetInteractor(self.interactor)

    def click(self, x: int, y: int) -> None:
        """Move to a pixel, press and release."""
        self.interactor.SetEventInformation(x, y, 0, 0, chr(0), 0, None)
        for event in ("MouseMoveEvent", "LeftButtonPressEvent", "LeftButtonReleaseEvent"):
            self.interactor.InvokeEvent(event)

    def place_ras(self, x: int, y: int) -> tuple[float, float, float]:
        """Return the position that a pixel shows."""
        return self.node.GetXYToRAS().MultiplyPoint((x, y, 0.0, 1.0))[:3]


def _prepare_placing() -> None:
    """Add what placing points needs: the markups logic, and the cross hair."""
    logic = slicer.app.applicationLogic()
    markups = slicer.modules.markups.logic()
    markups.SetMRMLApplicationLogic(logic)
    logic.SetModuleLogic("Markups", markups)
    for name in ("Interaction", "Selection"):  # gone after the scene was emptied with Clear(1)
        if slicer.mrmlScene.GetNodeByID(f"vtkMRML{name}NodeSingleton") is None:
            slicer.mrmlScene.AddNode(getattr(slicer, f"vtkMRML{name}Node")())
    if slicer.mrmlScene.GetNodeByID("vtkMRMLCrosshairNodedefault") is None:
        crosshair = slicer.vtkMRMLCrosshairNode()
        crosshair.SetCrosshairName("default")
        slicer.mrmlScene.AddNode(crosshair)
