"""Slice views follow the vertebra under review and its axes."""

from __future__ import annotations

import numpy as np
import pytest

slicer = pytest.importorskip("slicer")
vtk = pytest.importorskip("vtk")

from review_helpers import NAMES, SHAPE, add_spine, spine_labels  # noqa: E402

from SpineMambaSegmentLib.Panel.Review import ReviewViews  # noqa: E402
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


def opacities(session) -> dict[str, tuple[float, float, float]]:
    display = session.node.GetDisplayNode()
    return {
        i: (
            display.GetSegmentOpacity2DFill(i),
            display.GetSegmentOpacity2DOutline(i),
            display.GetSegmentOpacity3D(i),
        )
        for i in session.spine.ids
    }


def test_opacities_of_the_user_are_dimmed_by_a_factor_and_restored(session):
    display = session.node.GetDisplayNode()
    display.SetSegmentOpacity3D("V19", 0.5)
    display.SetSegmentOpacity2DFill("V20", 0.0)
    display.SetSegmentOpacity2DOutline("V21", ReviewViews.DIM)
    known = opacities(session)
    for current in ("V21", "V20", "V19"):
        ReviewViews.dimOthers(session.node, current)
        assert opacities(session)[current] == pytest.approx(known[current])
    assert display.GetSegmentOpacity3D("V20") == ReviewViews.DIM
    assert display.GetSegmentOpacity2DFill("V20") == 0.0
    ReviewViews.dimOthers(session.node, "")
    assert opacities(session) == known
    assert display.GetAttributeNames() == ()


def test_an_opacity_that_the_user_sets_while_dimmed_is_kept(session):
    display = session.node.GetDisplayNode()
    ReviewViews.dimOthers(session.node, "V21")
    display.SetSegmentOpacity3D("V19", 0.8)
    display.SetSegmentOpacity3D("V21", 0.6)
    ReviewViews.dimOthers(session.node, "V20")
    assert display.GetSegmentOpacity3D("V19") == pytest.approx(ReviewViews.DIM * 0.8)
    ReviewViews.dimOthers(session.node, "")
    assert display.GetSegmentOpacity3D("V19") == pytest.approx(0.8)
    assert display.GetSegmentOpacity3D("V21") == pytest.approx(0.6)
    assert display.GetSegmentOpacity3D("V20") == 1.0


def test_a_scene_saved_while_dimmed_is_restored_after_loading(session, scene):
    session.node.GetDisplayNode().SetSegmentOpacity3D("V19", 0.5)
    known = opacities(session)
    ReviewViews.dimOthers(session.node, "V21")
    scene.SetSaveToXMLString(1)
    scene.Commit()
    text = scene.GetSceneXMLString()
    loaded = slicer.vtkMRMLScene()
    loaded.SetLoadFromXMLString(1)
    loaded.SetSceneXMLString(text)
    loaded.Import()
    display = loaded.GetFirstNodeByClass("vtkMRMLSegmentationDisplayNode")
    node = loaded.GetFirstNodeByClass("vtkMRMLSegmentationNode")
    for segment_id in session.spine.ids:  # the voxels come from a file that is not written here
        node.GetSegmentation().AddEmptySegment(segment_id)
    for segment_id, values in opacities(session).items():
        display.SetSegmentOpacity2DFill(segment_id, values[0])
        display.SetSegmentOpacity2DOutline(segment_id, values[1])
        display.SetSegmentOpacity3D(segment_id, values[2])
    ReviewViews.restoreOpacities(loaded)
    found = [display.GetSegmentOpacity3D(i) for i in session.spine.ids]
    assert found == pytest.approx([values[2] for values in known.values()])
    assert display.GetAttributeNames() == ()


def matrices(views) -> dict[str, np.ndarray]:
    return {name: matrixArray(view.GetSliceToRAS()) for name, view in views.items()}


def test_moved_views_are_restored_exactly(session, views):
    views["Green"].SetOrientation("Axial")
    views["Red"].GetSliceToRAS().SetElement(2, 3, 17.0)
    views["Red"].SetSliceOrigin(3.0, 4.0, 0.0)
    views["Red"].UpdateMatrices()
    known = matrices(views)
    moved = ReviewViews.SliceViews()
    moved.alignWith(session.node, session.spine, "V21")
    moved.centreOn(session.node, session.spine, "V20")
    np.testing.assert_allclose(columns(views["Green"]), np.diag([-1, 1, 1]), atol=1e-9)
    moved.alignWith(session.node, session.spine, "V19")
    moved.restore()
    for name, matrix in matrices(views).items():
        np.testing.assert_array_equal(matrix, known[name])
    assert views["Red"].GetXYZOrigin() == (3.0, 4.0, 0.0)
    assert views["Red"].GetOrientation() == "Axial"


def test_a_view_that_the_user_scrolled_or_turned_since_then_stays(session, views):
    known = matrices(views)
    moved = ReviewViews.SliceViews()
    moved.alignWith(session.node, session.spine, "V21")
    views["Red"].SetSliceOffset(views["Red"].GetSliceOffset() + 12.0)
    scrolled = matrices(views)["Red"]
    views["Yellow"].SetOrientation("Coronal")
    moved.restore()
    np.testing.assert_array_equal(matrices(views)["Red"][:3, 3], scrolled[:3, 3])
    np.testing.assert_array_equal(matrices(views)["Red"][:3, :3], known["Red"][:3, :3])
    assert views["Yellow"].GetOrientation() == "Coronal"
    np.testing.assert_array_equal(matrices(views)["Green"], known["Green"])
