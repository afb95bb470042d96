"""Measure how long a step of review takes on a large CT.

``python Testing/Benchmarks/review_latency.py`` makes a volume of 512 x 512 x 400 voxels with 24
segments and their surfaces, does each kind of action, takes it back and does it again, and prints
the longest of the three. Names shall answer within 0.3 s and shapes within 2 s on two cores.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import numpy_to_vtk

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(REPOSITORY / "SpineMambaSegment"), str(REPOSITORY / "Testing/Python/mrml")]

# slicer-core has no translations.
sys.modules["slicer.i18n"] = ModuleType("slicer.i18n")
sys.modules["slicer.i18n"].tr = lambda text: text

from review_helpers import add_spine, result_of  # noqa: E402 - the path is set just above

from spinemamba.anatomy.labels import BY_NAME, NETWORK_LEVELS  # noqa: E402
from SpineMambaSegmentLib.Panel import ReviewViews  # noqa: E402
from SpineMambaSegmentLib.Review.Display import rowsOf  # noqa: E402
from SpineMambaSegmentLib.Review.LevelActions import InsertLevel, ShiftLevels, SwapLevels  # noqa: E402
from SpineMambaSegmentLib.Review.Mask import Mask  # noqa: E402
from SpineMambaSegmentLib.Review.Pins import PinLevel  # noqa: E402
from SpineMambaSegmentLib.Review.SegmentState import APPROVED  # noqa: E402
from SpineMambaSegmentLib.Review.Session import ReviewSession  # noqa: E402
from SpineMambaSegmentLib.Review.ShapeActions import (  # noqa: E402
    Delete,
    FillHoles,
    Merge,
    RemoveIslands,
    SetMask,
    SplitByPlane,
    SplitBySeeds,
)
from SpineMambaSegmentLib.Review.StatusActions import SetStatus  # noqa: E402
from SpineMambaSegmentLib.Scene.LazyImport import tool  # noqa: E402

SHAPE = (400, 512, 512)
SPACING_MM = (1.5, 0.8, 0.8)
LEVELS = NETWORK_LEVELS[1:]
STEP = 16
SECONDS = {"names": 0.3, "shapes": 2.0}


def labels_of_blocks() -> np.ndarray:
    """Return bodies with arches that touch their neighbours, the first at the top."""
    labels = np.zeros(SHAPE, np.uint8)
    k, j, i = np.ogrid[: STEP + 8, :150, :120]
    body = (((j - 100) / 38) ** 2 + ((i - 60) / 45) ** 2 < 1) & (k >= 6) & (k < STEP + 2)
    arch = (abs(i - 60) < 40) & (j > 20) & (j < 62) & ~((abs(i - 60) < 18) & (j > 40))
    inside = body | (arch & (k < STEP + 6) & (k >= 2))
    for n, name in enumerate(LEVELS):
        top = SHAPE[0] - 4 - STEP * n
        part = labels[top - STEP - 8 : top, 180:330, 196:316]
        part[inside & (part == 0)] = BY_NAME[name].value
    return labels


def add_volume(scene: slicer.vtkMRMLScene) -> slicer.vtkMRMLScalarVolumeNode:
    """Return an empty CT of that size."""
    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "CT")
    image = vtk.vtkImageData()
    image.SetDimensions(SHAPE[::-1])
    voxels = numpy_to_vtk(np.zeros(int(np.prod(SHAPE)), np.int16), deep=True)
    image.GetPointData().SetScalars(voxels)
    node.SetAndObserveImageData(image)
    node.SetSpacing(SPACING_MM[::-1])
    return node


def actions(session: ReviewSession) -> list[tuple[str, str, Any]]:
    """Return kind, name and action of every step to measure."""
    spine = session.spine
    ids = spine.ids
    body = tuple(map(float, spine.centerRas(ids[12])))
    lower = tuple(map(float, spine.centerRas(ids[13])))
    ball = Mask.of(np.ones((30, 70, 70), bool), (200, 200, 220))
    return [
        ("names", "shift all", ShiftLevels(-1)),
        ("names", "shift a part", ShiftLevels(-1, ids[5], "head")),
        ("names", "swap", SwapLevels(ids[3], ids[4])),
        ("names", "insert T13", InsertLevel(ids[18], "T13")),
        ("names", "pin and solve", PinLevel(ids[20], LEVELS[20])),  # as the networks see it
        ("names", "approve", SetStatus((ids[3],), APPROVED)),
        ("shapes", "merge", Merge((ids[12], ids[13]))),
        ("shapes", "split by seeds", SplitBySeeds(ids[12], (body, lower))),
        ("shapes", "split by a plane", SplitByPlane(ids[12], body, (0.0, 0.0, 1.0))),
        ("shapes", "delete", Delete((ids[8],))),
        ("shapes", "remove islands", RemoveIslands((ids[8],))),
        ("shapes", "fill holes", FillHoles((ids[9],))),
        ("shapes", "add in a box", SetMask("", ball)),
    ]


def measured(step: Any) -> float:
    """Return how long something takes, in seconds."""
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


def prepare(session: ReviewSession, name: str) -> None:
    """Make what an action needs: two in one, an island, a hole."""
    ids = session.spine.ids
    if name == "split by seeds":
        session.apply(Merge((ids[12], ids[13])))
    if name in ("remove islands", "fill holes"):
        segment_id = ids[8] if name == "remove islands" else ids[9]
        mask = session.spine.states[segment_id].mask
        inside = np.pad(mask.array(), ((0, 0), (0, 0), (0, 3)))
        inside[10, 1, -1] = True
        inside[12, 80, 55:58] = False
        session.apply(SetMask(segment_id, Mask.of(inside, mask.first)))


def write_line(text: str) -> None:
    """Print at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main() -> int:
    """Measure everything; the exit code says whether all is fast enough."""
    scene = slicer.vtkMRMLScene()
    logic = slicer.vtkSlicerSegmentationsModuleLogic()
    logic.SetMRMLScene(scene)
    volume = add_volume(scene)
    node = add_spine(volume, labels_of_blocks(), result_of(LEVELS))
    node.CreateClosedSurfaceRepresentation()
    slow = 0
    session = None
    opened: list[ReviewSession] = []
    write_line(f"open: {measured(lambda: opened.append(ReviewSession(node, volume))):.2f} s")
    session = opened[0]
    # The panel does this in a quiet moment, before anybody can press.
    write_line(f"load the solver: {measured(lambda: tool('relabel')):.2f} s")
    for kind, name, action in actions(session):
        prepare(session, name)
        steps = (lambda a=action: session.apply(a), session.undo, session.redo)
        seconds = [measured(step) for step in steps]
        table = measured(lambda: rowsOf(session.spine))
        limit = SECONDS[kind]
        slow += max(seconds) > limit
        times = ", ".join(f"{s:.2f}" for s in seconds)
        share = max(seconds) / limit
        write_line(f"{name} ({kind}): {times} s, table {table:.3f} s; {share:.2f} of the limit")
        while session.undoTitle:
            session.undo()
    place = session.spine.ids[12]
    write_line(f"jump: {measured(lambda: ReviewViews.jumpTo(node, session.spine, place)):.2f} s")
    return int(slow > 0)


if __name__ == "__main__":
    sys.exit(main())
