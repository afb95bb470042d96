"""Random gestures in the whole panel, with clicks through Slicer's own displayable manager.

``python random_gestures.py FOLDER SEED COUNT`` ends with code 0 if the process lived and the scene
was in order after every gesture. Each gesture is written before it is made, so that the last line
names the one that failed.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE / "host"), str(HERE.parent / "helpers")]

import application  # noqa: E402
import numpy as np  # noqa: E402
import slicer  # noqa: E402
from check_helpers import add_segments  # noqa: E402
from click_scenarios import SIZE, Views  # noqa: E402
from real_editor import RealEditor  # noqa: E402
from scene_helpers import add_volume  # noqa: E402

MODULE = HERE.parents[2] / "SpineMambaSegment" / "SpineMambaSegment.py"
LEVELS = (19, 20, 21, 22)
SHAPE = (96, 24, 24)


def labels() -> np.ndarray:
    """T12 to L3 as blocks around the origin of the view."""
    found = np.zeros(SHAPE, np.uint8)
    for n, value in enumerate(LEVELS):
        found[76 - 24 * n : 96 - 24 * n, 4:18, 4:18] = value
    return found


class Gestures(Views):
    """The panel, a slice view, and a user without a plan."""

    def __init__(self, folder: Path, seed: int):
        super().__init__(folder)
        self.random = random.Random(seed)
        slicer.qMRMLSegmentEditorWidget = RealEditor
        module = application.import_module(MODULE)
        self.widget, self.frame = application.make_panel(module)
        RealEditor.main_window = self.frame
        self.panel, self.ui = self.widget.panel, self.widget.panel.ui
        self.review = self.panel.reviewSection
        self.frame.show()
        self.entered = True
        self.widget.enter()
        self.load()

    def load(self) -> None:
        """Load an image and a segmentation."""
        matrix = np.eye(4)
        matrix[:3, 3] = -12, -12, -48
        self.volume = add_volume(labels().astype(np.int16), matrix)
        add_segments(self.volume, labels(), "Spine")
        self.switch()

    def switch(self) -> None:
        """Choose one of the segmentations."""
        count = slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode")
        if count:
            number = self.random.randrange(count)
            node = slicer.mrmlScene.GetNthNodeByClass(number, "vtkMRMLSegmentationNode")
            self.ui.inputSelector.setCurrentNode(self.volume)
            self.ui.outputSelector.setCurrentNode(node)
            self.panel.refresh()

    def click(self) -> None:
        """Click somewhere in the view."""
        self.press("Left", (self.random.randrange(SIZE), self.random.randrange(SIZE)))

    def right_click(self) -> None:
        """Click with the right button."""
        self.press("Right", (self.random.randrange(SIZE), self.random.randrange(SIZE)))

    def row(self) -> None:
        """Go to a vertebra."""
        if self.review.table.rows:
            self.review.table.goTo(self.random.choice(self.review.table.rows).segmentId)

    def menu(self) -> None:
        """Choose an entry of a menu that opens no file dialog."""
        actions = self.review.menus.actions
        names = [n for n in actions if n not in ("csv", "save", "open", "grow", "again")]
        action = actions[self.random.choice(names)]
        if self.review.session is not None and action.enabled:
            action.trigger()

    def split(self) -> None:
        """Wait for the clicks of a split."""
        if self.review.session is not None and self.review.currentId():
            self.review.menus.actions["splitSeeds"].trigger()

    def button(self) -> None:
        """Press a button."""
        names = ("approveButton", "lookButton", "undoButton", "redoButton", "paintButton")
        getattr(self.ui, self.random.choice(names)).click()

    def stroke(self) -> None:
        """Paint with the editor."""
        editor = self.ui.paintFrame.findChild(RealEditor)
        if editor is None or not editor.stored.get("keys") or not self.review.currentId():
            return
        voxels = np.zeros(SHAPE, np.uint8)
        k, j = self.random.randrange(80), self.random.randrange(14)
        voxels[k : k + 8, j : j + 8, 2:8] = 1
        editor.paint(voxels)

    def escape(self) -> None:
        """Press Esc."""
        self.review._giveUp()

    def toolbar(self) -> None:
        """Use the mouse toolbar."""
        self.mode.SwitchToViewTransformMode()

    def delete_marks(self) -> None:
        """Delete what is being placed, in the Data module."""
        node = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLMarkupsFiducialNode")
        if node is not None:
            slicer.mrmlScene.RemoveNode(node)

    def leave_or_return(self) -> None:
        """Go to another module, or come back."""
        self.entered = not self.entered
        (self.widget.enter if self.entered else self.widget.exit)()

    def close(self) -> None:
        """Close the scene, and load the data again."""
        slicer.mrmlScene.Clear(0)
        self.load()

    def edit_elsewhere(self) -> None:
        """Rename or remove a segment in another module."""
        node = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLSegmentationNode")
        ids = node.GetSegmentation().GetSegmentIDs() if node is not None else ()
        if ids:
            chosen = self.random.choice(ids)
            if self.random.random() < 0.5:
                node.GetSegmentation().RemoveSegment(chosen)
            else:
                node.GetSegmentation().GetSegment(chosen).SetName("Something")

    def delete_segmentation(self) -> None:
        """Delete the segmentation, and load another."""
        node = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLSegmentationNode")
        if node is not None:
            slicer.mrmlScene.RemoveNode(node)
        self.load()

    def wait(self) -> None:
        """Let the event loop run."""
        slicer.app.processEvents()

    def check(self) -> None:
        """Raise AssertionError unless the scene is in order."""
        slicer.app.processEvents()
        waiting = self.review.menus._clicks is not None
        marks = slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLMarkupsFiducialNode")
        displays = slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLMarkupsFiducialDisplayNode")
        assert marks == waiting, (marks, waiting)
        assert displays == waiting, (displays, waiting)
        assert (self.mode.GetCurrentInteractionMode() == self.mode.Place) == waiting
        assert self.mode.GetPlaceModePersistence() == 0 or waiting
        if self.entered:
            return
        assert not waiting
        count = slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode")
        for number in range(count):
            node = slicer.mrmlScene.GetNthNodeByClass(number, "vtkMRMLSegmentationNode")
            shown = node.GetDisplayNode()
            ids = node.GetSegmentation().GetSegmentIDs()
            assert {shown.GetSegmentOpacity3D(i) for i in ids} <= {1.0}
        editor = self.ui.paintFrame.findChild(RealEditor)
        assert editor is None or not editor.shortcuts


IN_PANEL = ("row", "split", "split", "button", "menu", "stroke", "switch", "escape")
ANYWHERE = (
    "click", "click", "right_click", "toolbar", "delete_marks", "leave_or_return", "close",
    "edit_elsewhere", "delete_segmentation", "wait",
)  # fmt: skip


def main(folder: str, seed: str, count: str) -> None:
    """Make the gestures."""
    user = Gestures(Path(folder), int(seed))
    for number in range(int(count)):
        name = user.random.choice((*ANYWHERE, *(IN_PANEL if user.entered else ())))
        sys.stdout.write(f"{number} {name}\n")
        sys.stdout.flush()
        gesture: Callable[[], None] = getattr(user, name)
        gesture()
        # Often several gestures come before the event loop runs.
        if user.random.random() < 0.5:
            user.check()
    user.widget.cleanup()
    sys.stdout.write("end\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
