"""Slice views follow the vertebra under review and its axes."""

from __future__ import annotations

import numpy as np
import pytest

slicer = pytest.importorskip("slicer")
vtk = pytest.importorskip("vtk")

from review_helpers import NAMES, SHAPE, add_spine, spine_labels  # noqa: E402

from SpineMambaSegmentLib.Panel import ReviewViews  # noqa: E402
from SpineMambaSegmentLib.Review.Session import ReviewSession  # noqa: E402
from SpineMambaSegmentLib.Scene.Grid import matrixArray  # noqa: E402

TILT = np.radians(20)


@pytest.fixture
def views(scene):
    """The three slice views of Slicer."""
    slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(scene, True)
    found = {}
    for name, orientation in (("Red", "Axial"), ("Yellow", "Sagittal"), ("Green", "Coronal")):
        found[name] = scene.AddNewNodeByClass("vtkMRMLSliceNode", name)
        found[name].SetLayoutName(name)
        found[name].SetDefaultOrientation(orientation)
        found[name].SetOrientation(orientation)
    return found


def tilted() -> np.ndarray:
    """A patient whose spine leans forward by 20 degrees."""
    matrix = np.eye(4)
    matrix[1:3, 1:3] = [[np.cos(TILT), np.sin(TILT)], [-np.sin(TILT), np.cos(TILT)]]
    matrix[:3, :3] *= 4.0
    return matrix


@pytest.fixture
def session(make_volume) -> ReviewSession:
    volume = make_volume(spine_labels().astype(np.int16), tilted())
    return ReviewSession(add_spine(volume, spine_labels()), volume)


def columns(view) -> np.ndarray:
    matrix = matrixArray(view.GetSliceToRAS())[:3, :3]
    return matrix / np.linalg.norm(matrix, axis=0)


def test_slices_are_aligned_with_the_vertebra_and_centred_on_its_body(session, views):
    moved = ReviewViews.SliceViews()
    moved.alignWith(session.node, session.spine, "V21")
    own = tilted()[:3, :3] / 4.0
    right, front, up = own.T
    wanted = {
        "Red": (-right, front, up),
        "Yellow": (-front, up, -right),
        "Green": (-right, up, front),
    }
    for name, axes in wanted.items():
        np.testing.assert_allclose(columns(views[name]), np.stack(axes, axis=1), atol=0.06)
    # L2's body: slices 38 to 43, rows 8 to 15, columns 4 to 11.
    place = matrixArray(views["Red"].GetSliceToRAS())[:3, 3]
    np.testing.assert_allclose(place, tilted()[:3, :3] @ [7.5, 11.5, 40.5], atol=4.0)
    moved.restoreAxes()
    np.testing.assert_allclose(columns(views["Red"]), np.diag([-1, 1, 1]), atol=1e-9)


def test_a_parent_transform_of_the_segmentation_rotates_the_views(session, views):
    transform = session.node.GetScene().AddNewNodeByClass("vtkMRMLLinearTransformNode")
    matrix = vtk.vtkMatrix4x4()
    matrix.DeepCopy([1, 0, 0, 50, 0, 0, -1, 0, 0, 1, 0, 0, 0, 0, 0, 1])
    transform.SetMatrixTransformToParent(matrix)
    moved = ReviewViews.SliceViews()
    moved.alignWith(session.node, session.spine, "V21")
    before = {name: matrixArray(view.GetSliceToRAS()) for name, view in views.items()}
    session.node.SetAndObserveTransformNodeID(transform.GetID())
    moved.alignWith(session.node, session.spine, "V21")
    turn = matrixArray(matrix)
    np.testing.assert_allclose(
        columns(views["Green"]), turn[:3, :3] @ before["Green"][:3, :3], atol=1e-6
    )
    plane = ReviewViews.axialPlane(session.node)
    np.testing.assert_allclose(plane[0], before["Red"][:3, 3], atol=1e-6)


def test_implausible_axes_are_replaced_by_the_patient_axes(make_volume):
    labels = np.zeros(SHAPE, np.uint8)
    labels[20:24, 4:18, 4:8] = 20
    session = ReviewSession(add_spine(make_volume(labels.astype(np.int16), np.eye(4)), labels))
    _, axes = ReviewViews.axesOf(session.spine, "V20")
    np.testing.assert_allclose(axes, np.eye(3), atol=1e-9)


def test_neighbours_are_dimmed_and_restored(session):
    display = session.node.GetDisplayNode()
    ReviewViews.dimOthers(session.node, "V21")
    shown = [display.GetSegmentOpacity2DFill(i) for i in session.spine.ids]
    assert shown == [1.0 if name == "L2" else ReviewViews.DIM for name in NAMES]
    ReviewViews.dimOthers(session.node, "")
    assert {display.GetSegmentOpacity3D(i) for i in session.spine.ids} == {1.0}
