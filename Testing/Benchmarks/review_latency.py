"""Measure the response time of the review on a large CT.

``python Testing/Benchmarks/run.py review_latency`` makes a volume of 512 x 512 x 400 voxels with 24
segments and their surfaces. It applies, undoes and redoes each kind of action and prints the three
times. Limits on two cores: 0.3 s for actions on names, 2 s for actions on shapes.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import slicer
import vtk
from review_helpers import add_spine, result_of
from vtk.util.numpy_support import numpy_to_vtk

from spinemamba.anatomy.labels import BY_NAME, NETWORK_LEVELS
from SpineMambaSegmentLib.Panel.Review import ReviewViews
from SpineMambaSegmentLib.Review.Display import rowsOf
from SpineMambaSegmentLib.Review.LevelActions import InsertLevel, ShiftLevels, SwapLevels
from SpineMambaSegmentLib.Review.Mask import Mask
from SpineMambaSegmentLib.Review.Pins import PinLevel
from SpineMambaSegmentLib.Review.SegmentState import APPROVED
from SpineMambaSegmentLib.Review.Session import ReviewSession
from SpineMambaSegmentLib.Review.ShapeActions import (
    Delete,
    FillHoles,
    Merge,
    RemoveIslands,
    SetMask,
    SplitByPlane,
    SplitBySeeds,
)
from SpineMambaSegmentLib.Review.StatusActions import SetStatus
from SpineMambaSegmentLib.Scene.LazyImport import tool

SHAPE = (400, 512, 512)
SPACING_MM = (1.5, 0.8, 0.8)
LEVELS = NETWORK_LEVELS[1:]
STEP = 16
SECONDS = {"names": 0.3, "shapes": 2.0}


def labels_of_blocks() -> np.ndarray:
    """Return labels of bodies with arches that touch their neighbours, from the top down."""
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
    """Return a CT of `SHAPE` with constant voxels."""
    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "CT")
    image = vtk.vtkImageData()
    image.SetDimensions(SHAPE[::-1])
    voxels = numpy_to_vtk(np.zeros(int(np.prod(SHAPE)), np.int16), deep=True)
    image.GetPointData().SetScalars(voxels)
    node.SetAndObserveImageData(image)
    node.SetSpacing(SPACING_MM[::-1])
    return node


def actions(session: ReviewSession) -> list[tuple[str, str, Any]]:
    """Return kind, name and action of every measurement."""
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
        ("names", "pin and solve", PinLevel(ids[20], LEVELS[20])),
        ("names", "approve", SetStatus((ids[3],), APPROVED)),
        ("shapes", "merge", Merge((ids[12], ids[13]))),
        ("shapes", "split by seeds", SplitBySeeds(ids[12], (body, lower))),
        ("shapes", "split by a plane", SplitByPlane(ids[12], body, (0.0, 0.0, 1.0))),
        ("shapes", "delete", Delete((ids[8],))),
        ("shapes", "remove islands", RemoveIslands((ids[8],))),
        ("shapes", "fill holes", FillHoles((ids[9],))),
        ("shapes", "add in a box", SetMask("", ball)),
    ]


def measured(step: Callable[[], object]) -> float:
    """Return the run time of a function in seconds."""
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


def prepare(session: ReviewSession, name: str) -> None:
    """Prepare the spine for an action: merge two vertebrae, add an island or a hole."""
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
    """Print a line without buffering."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main(words: list[str]) -> int:
    """Measure all actions; return 1 if one exceeds its limit."""
    argparse.ArgumentParser("review_latency", description=__doc__).parse_args(words)
    scene = slicer.vtkMRMLScene()
    logic = slicer.vtkSlicerSegmentationsModuleLogic()
    logic.SetMRMLScene(scene)
    volume = add_volume(scene)
    node = add_spine(volume, labels_of_blocks(), result_of(LEVELS))
    node.CreateClosedSurfaceRepresentation()
    slow = 0
    opened: list[ReviewSession] = []
    write_line(f"open: {measured(lambda: opened.append(ReviewSession(node, volume))):.2f} s")
    session = opened[0]
    # The panel loads the solver while it is idle.
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
    views = ReviewViews.SliceViews()
    write_line(f"jump: {measured(lambda: views.alignWith(node, session.spine, place)):.2f} s")
    return int(slow > 0)
