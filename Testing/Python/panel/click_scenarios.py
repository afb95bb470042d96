"""Clicks into a slice view through Slicer's own markups displayable manager.

A fault in the way the clicks are handled ends the process, so the scenarios run in a process of
their own: ``python click_scenarios.py FOLDER``. It writes one line per scenario, what came of it as
JSON.
"""

from __future__ import annotations

import faulthandler
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE / "host"), str(HERE.parents[2] / "SpineMambaSegment")]
faulthandler.enable()

import application  # noqa: E402
import slicer  # noqa: E402
import views  # noqa: E402
import vtk  # noqa: E402

SIZE, FIELD_MM = 300, 200.0
PLACES = ((100, 120), (160, 120))
"""Where the clicks are made, in pixels."""


class Views:
    """A slice view in which points can be placed, and the nodes of Slicer that this takes."""

    def __init__(self, folder: Path):
        application.start(folder)
        self.scene = slicer.mrmlScene
        self.logic = slicer.vtkSlicerMarkupsLogic()
        self.logic.SetMRMLScene(self.scene)
        self.logic.SetMRMLApplicationLogic(slicer.app.applicationLogic())
        slicer.app.applicationLogic().SetModuleLogic("Markups", self.logic)
        for name in ("Interaction", "Selection"):
            if self.scene.GetNodeByID(f"vtkMRML{name}NodeSingleton") is None:
                self.scene.AddNode(getattr(slicer, f"vtkMRML{name}Node")())
        self.mode = self.scene.GetNodeByID("vtkMRMLInteractionNodeSingleton")
        self.selection = self.scene.GetNodeByID("vtkMRMLSelectionNodeSingleton")
        crosshair = slicer.vtkMRMLCrosshairNode()
        crosshair.SetCrosshairName("default")
        self.scene.AddNode(crosshair)
        views.MANAGERS_2D = ("vtkMRMLMarkupsDisplayableManager",)
        self.view = views.SliceView("Red", "Axial", (SIZE, SIZE))
        self.view.node.SetFieldOfView(FIELD_MM, FIELD_MM, 1)
        self.view.node.SetDimensions(SIZE, SIZE, 1)
        self.view.node.UpdateMatrices()

    def send(self, kind: int, place: tuple[int, int]) -> None:
        """Send one event of the mouse, as a view does."""
        data = slicer.vtkMRMLInteractionEventData()
        data.SetType(kind)
        data.SetViewNode(self.view.node)
        data.SetRenderer(self.view.renderer)
        data.SetDisplayPosition(list(place))
        scale = FIELD_MM / SIZE
        data.SetWorldPosition([(p - SIZE / 2) * scale for p in place] + [0.0])
        data.SetMouseMovedSinceButtonDown(False)
        manager = self.view.group.GetNthDisplayableManager(0)
        manager.CanProcessInteractionEvent(data, vtk.reference(0.0))
        manager.ProcessInteractionEvent(data)

    def press(self, button: str, place: tuple[int, int]) -> None:
        """Move the mouse, press its left or right button and let it go."""
        for event in ("MouseMove", f"{button}ButtonPress", f"{button}ButtonRelease"):
            self.send(getattr(vtk.vtkCommand, f"{event}Event"), place)

    def click(self, number: int) -> None:
        """Click at one of the places."""
        self.press("Left", PLACES[number])


class Clicked(Views):
    """Clicks that are being waited for in a segmentation."""

    def __init__(self, folder: Path, count: int):
        super().__init__(folder)
        self.node = self.scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Spine")
        self.mode.SetCurrentInteractionMode(self.mode.AdjustWindowLevel)
        self.before = self.state()
        self.found: dict[str, Any] = {"done": [], "cancelled": 0}
        self.clicks = self.wait(count)

    def wait(self, count: int) -> Any:
        """Start to wait for clicks, as the menu does."""
        from SpineMambaSegmentLib.Panel.Review.ReviewClicks import Clicks

        return Clicks(self.node, count, self._done, self._cancelled)

    def _done(self, positions: list[tuple[float, float, float]]) -> None:
        self.found["done"].append(positions)

    def _cancelled(self) -> None:
        self.found["cancelled"] += 1

    def state(self) -> list[Any]:
        """Return what must be as before in the end."""
        return [
            self.mode.GetCurrentInteractionMode(),
            self.mode.GetPlaceModePersistence(),
            self.selection.GetActivePlaceNodeID(),
            self.selection.GetActivePlaceNodeClassName(),
            self.scene.GetNumberOfNodesByClass("vtkMRMLMarkupsFiducialNode"),
            self.scene.GetNumberOfNodesByClass("vtkMRMLMarkupsDisplayNode"),
        ]

    def end(self) -> dict[str, Any]:
        """Return what came of it."""
        slicer.app.processEvents()
        self.view.window.Render()
        names = ("mode", "persistence", "node", "class", "markups", "displays")
        states = [dict(zip(names, s, strict=True)) for s in (self.before, self.state())]
        self.found["changed"] = {n: v for n, v in states[1].items() if v != states[0][n]}
        self.found["waiting"] = self.clicks.markups is not None
        return self.found


def one(c: Clicked) -> None:
    """One click."""
    c.click(0)


def two(c: Clicked) -> None:
    """Two clicks; the event loop does not run in between."""
    c.click(0)
    c.click(1)


def one_too_many(c: Clicked) -> None:
    """Three clicks where two are waited for; the event loop runs only after the first."""
    c.click(0)
    slicer.app.processEvents()
    c.click(1)
    c.click(0)


def right_click(c: Clicked) -> None:
    """One of two clicks, then a right click, which also ends the place mode."""
    c.click(0)
    c.press("Right", PLACES[0])


def toolbar(c: Clicked) -> None:
    """One of two clicks, then the mouse toolbar."""
    c.click(0)
    slicer.app.processEvents()
    c.mode.SwitchToViewTransformMode()


def other_node(c: Clicked) -> None:
    """Another module takes the place mode for a node of its own."""
    other = c.scene.AddNewNodeByClass("vtkMRMLMarkupsLineNode", "Line")
    c.selection.SetReferenceActivePlaceNodeClassName("vtkMRMLMarkupsLineNode")
    c.selection.SetActivePlaceNodeID(other.GetID())
    c.mode.SwitchToPersistentPlaceMode()


def deleted(c: Clicked) -> None:
    """The user deletes the markups in the Data module."""
    c.click(0)
    c.scene.RemoveNode(c.clicks.markups)


def deleted_complete(c: Clicked) -> None:
    """The markups are deleted after the last click, before the event loop runs."""
    c.click(0)
    c.scene.RemoveNode(c.clicks.markups)


def closed(c: Clicked) -> None:
    """The scene is closed with a click still to be handled."""
    c.click(0)
    c.clicks.stop()
    c.scene.Clear(0)


def closed_unseen(c: Clicked) -> None:
    """The scene is closed without a call of stop."""
    c.click(0)
    c.scene.Clear(0)


def left(c: Clicked) -> None:
    """The module is left between the click and its handling."""
    c.click(0)
    c.clicks.stop()


def again(c: Clicked) -> None:
    """The same entry of the menu is chosen a second time, then the click is made."""
    c.click(0)
    c.clicks.stop()
    c.clicks = c.wait(1)
    c.click(0)


SCENARIOS: dict[str, tuple[int, Callable[[Clicked], None]]] = {
    "one": (1, one),
    "two": (2, two),
    "one_too_many": (2, one_too_many),
    "right_click": (2, right_click),
    "toolbar": (2, toolbar),
    "other_node": (1, other_node),
    "deleted": (2, deleted),
    "deleted_complete": (1, deleted_complete),
    "closed": (1, closed),
    "closed_unseen": (1, closed_unseen),
    "left": (1, left),
    "again": (1, again),
}


def main(folder: str) -> None:
    """Run all scenarios."""
    for name, (count, act) in SCENARIOS.items():
        inside = Path(folder) / name
        inside.mkdir()
        clicked = Clicked(inside, count)
        act(clicked)
        sys.stdout.write(json.dumps({"name": name, **clicked.end()}) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1])
