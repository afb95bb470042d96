"""Results of re-segmentation as steps of the review, also on different grids."""

from __future__ import annotations

import numpy as np
import pytest

slicer = pytest.importorskip("slicer", reason="slicer-core is not installed")

from spinemamba.protocol.vertebra_result import VertebraResult  # noqa: E402 - after the skip
from SpineMambaSegmentLib.Review.Session import ReviewSession  # noqa: E402
from SpineMambaSegmentLib.Runs.VertebraRun import VertebraPatch, setMask  # noqa: E402
from SpineMambaSegmentLib.Scene import Segments  # noqa: E402
from SpineMambaSegmentLib.Scene.Files import writeVolume  # noqa: E402
from SpineMambaSegmentLib.Scene.Grid import Grid, gridOf  # noqa: E402
from SpineMambaSegmentLib.Scene.LabelArray import labelArray  # noqa: E402

MATRIX = np.array([[-0.9, 0.0, 0.0, 4.0], [0.0, -0.9, 0.0, 5.0], [0, 0, 2.0, -7.0], [0, 0, 0, 1]])
RESULT = VertebraResult(
    0, (0.0,) * 3, (0.0,) * 3, 1.0, (), (), None, False, "m", "1", "h", "0", "cpu", "ct"
)


@pytest.fixture
def segmented(scene, make_volume, tmp_path):
    """A volume with T12 and L2; L1 was missed."""
    labels = np.zeros((30, 12, 10), np.int16)
    labels[20:25, 2:8, 2:8], labels[4:9, 2:8, 2:8] = 19, 21
    volume = make_volume(labels, MATRIX)
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Spine")
    writeVolume(volume, tmp_path / "labels.nrrd")
    Segments.readSegmentation(tmp_path / "labels.nrrd", node, volume)
    return volume, node, labels


def patch_of(volume, extent: tuple[int, ...], box: tuple[slice, slice, slice]) -> VertebraPatch:
    """Return a box of voxels, as a run in a part of a volume would."""
    grid = gridOf(volume).cut(extent)
    whole = np.zeros(gridOf(volume).size[::-1], bool)
    whole[box] = True
    i0, i1, j0, j1, k0, k1 = extent
    mask = whole[k0 : k1 + 1, j0 : j1 + 1, i0 : i1 + 1]
    return VertebraPatch(mask, grid, (k0, j0, i0), RESULT)


def test_adding_a_missed_vertebra_between_its_neighbours_can_be_undone(segmented):
    volume, node, labels = segmented
    session = ReviewSession(node, volume)
    patch = patch_of(volume, (1, 9, 0, 11, 8, 22), np.s_[12:17, 3:7, 2:8])
    (new_id,) = session.apply(setMask(session.spine, patch))
    assert node.GetSegmentation().GetSegment(new_id).GetName() == "L1"
    found = labelArray(node, ["V19", new_id, "V21"], gridOf(volume))
    wanted = np.where(labels == 19, 1, np.where(labels == 21, 3, 0))
    wanted[12:17, 3:7, 2:8] = 2
    np.testing.assert_array_equal(found, wanted)
    session.undo()
    assert list(node.GetSegmentation().GetSegmentIDs()) == ["V19", "V21"]


def test_resegmentation_changes_one_vertebra_only(segmented):
    volume, node, labels = segmented
    session = ReviewSession(node, volume)
    patch = patch_of(volume, (1, 9, 0, 11, 2, 12), np.s_[3:10, 3:7, 2:8])
    assert session.apply(setMask(session.spine, patch, "V21")) == ["V21"]
    found = labelArray(node, ["V19", "V21"], gridOf(volume))
    assert (found == 2).sum() == patch.mask.sum()
    np.testing.assert_array_equal(found == 1, labels == 19)


def test_a_patch_is_resampled_to_a_segmentation_on_another_grid(segmented):
    volume, node, _ = segmented
    session = ReviewSession(node, volume)
    finer = session.spine.grid.ijkToRas.copy()
    finer[:3, :3] /= 2
    patch = patch_of(volume, (1, 9, 0, 11, 8, 22), np.s_[12:17, 3:7, 2:8])
    mask = setMask(session.spine, patch).mask
    moved = VertebraPatch(patch.mask, patch.grid, patch.firstKji, RESULT)
    half = type(session.spine)(
        session.spine.states, Grid(finer, (20, 24, 60)), session.spine.attributes, volume
    )
    twice = setMask(half, moved).mask
    # Eight voxels for one, but those on the rim that are nearer to the outside.
    assert twice.count() == pytest.approx(8 * mask.count(), rel=0.35)
    np.testing.assert_allclose(half.toRas(twice.mean()), session.spine.toRas(mask.mean()), atol=1.0)
