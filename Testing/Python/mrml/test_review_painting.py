"""Painting with the Segment Editor never changes an approved vertebra."""

from __future__ import annotations

import sys
from types import ModuleType

import numpy as np
import pytest

slicer = pytest.importorskip("slicer")
vtk = pytest.importorskip("vtk")

from review_helpers import SHAPE, add_spine, everything, result_of, spine_labels  # noqa: E402
from vtk.util.numpy_support import numpy_to_vtk  # noqa: E402

from SpineMambaSegmentLib.Review.Mask import Mask  # noqa: E402
from SpineMambaSegmentLib.Review.SegmentState import APPROVED, CORRECTED  # noqa: E402
from SpineMambaSegmentLib.Review.Session import MANUAL_EDIT, ReviewSession  # noqa: E402
from SpineMambaSegmentLib.Review.StatusActions import SetStatus  # noqa: E402

STROKE = Mask.of(np.ones((30, 12, 12), bool), (25, 6, 2))
"""Over all of L1 to L4, and more."""


@pytest.fixture
def rules(monkeypatch: pytest.MonkeyPatch):
    """The rules of the embedded editor; its file needs Qt for the widgets only."""
    if "qt" not in sys.modules:
        monkeypatch.setitem(sys.modules, "qt", ModuleType("qt"))
    from SpineMambaSegmentLib.Panel.Review import ReviewEditor

    return ReviewEditor


@pytest.fixture
def painter(make_volume, rules):
    """A spine with L2 approved, and a function that paints on L1 as the editor does."""
    volume = make_volume(spine_labels().astype(np.int16), np.eye(4))
    node = add_spine(volume, spine_labels(), result_of())
    session = ReviewSession(node, volume)
    session.apply(SetStatus(("V21",), APPROVED))
    logic = slicer.vtkSlicerSegmentEditorLogic()
    logic.SetMRMLScene(volume.GetScene())
    parameters = rules.editorNode(volume.GetScene())
    logic.SetSegmentEditorNode(parameters)
    parameters.SetAndObserveSegmentationNode(node)
    parameters.SetAndObserveSourceVolumeNode(volume)

    def paint(segment_id: str, over: bool) -> None:
        rules.protectNeighbours(parameters, over)
        parameters.SetSelectedSegmentID(segment_id)
        image = slicer.vtkOrientedImageData()
        image.SetDimensions(SHAPE[::-1])
        voxels = STROKE.inBox(tuple(slice(0, n) for n in SHAPE)).astype(np.uint8)
        image.GetPointData().SetScalars(numpy_to_vtk(voxels.ravel(), deep=True))
        logic.ModifySegmentByLabelmap(
            node, segment_id, image, logic.ModificationModeAdd, True, False
        )
        session.absorb()

    return session, paint


@pytest.mark.parametrize("over", [False, True])
def test_a_stroke_over_all_segments_keeps_approved_ones_in_one_step(painter, over: bool):
    session, paint = painter
    before, node = session.spine.states, session.node
    known = everything(node)
    paint("V20", over)
    after = session.spine.states
    assert after["V21"] == before["V21"]
    assert after["V20"].mask.count() > before["V20"].mask.count()
    kept = after["V22"].mask == before["V22"].mask
    assert kept is not over
    for other in ("V21", "V22", "V23"):
        assert not after["V20"].mask.overlap(after[other].mask)
    assert session.undoTitle == MANUAL_EDIT
    session.undo()
    assert everything(node) == known
    session.redo()
    assert session.spine.states == after


def test_a_vertebra_cannot_be_painted_while_it_is_approved(painter):
    session, paint = painter
    own = session.spine.states["V21"]
    paint("V21", True)
    assert session.spine.states["V21"] == own
    session.apply(SetStatus(("V21",), CORRECTED))
    paint("V21", True)
    assert session.spine.states["V21"].mask.count() > own.mask.count()
