"""Re-segmentation of one vertebra, through the real worker."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np
import pytest

slicer = pytest.importorskip("slicer", reason="slicer-core is not installed")

from spinemamba.common.errors import UserError  # noqa: E402
from spinemamba.imaging.masks import merge_mask  # noqa: E402
from spinemamba.phantom import PhantomOptions, make_phantom  # noqa: E402
from spinemamba.protocol import events  # noqa: E402 - after the skip
from SpineMambaSegmentLib.Runs.VertebraRun import VertebraPatch, VertebraRequest, VertebraRun  # noqa: E402
from SpineMambaSegmentLib.Scene import Segments  # noqa: E402
from SpineMambaSegmentLib.Scene.Files import writeVolume  # noqa: E402
from SpineMambaSegmentLib.Scene.Grid import gridOf  # noqa: E402
from SpineMambaSegmentLib.Scene.LabelArray import labelArray  # noqa: E402
from SpineMambaSegmentLib.Scene.Ownership import vertebraIds  # noqa: E402

L1, L2, L3 = 20, 21, 22


@pytest.fixture
def segmented(scene, make_volume, tmp_path: Path):
    """A CT of three vertebrae, segmented as it truly is; LPS becomes Slicer's RAS."""
    view = {"spacing_mm": (3.0, 2.0, 2.0), "scale": 0.75, "margin_mm": 8.0, "tight": True}
    phantom = make_phantom(3, PhantomOptions(first="L1", last="L3", **view))
    matrix = np.diag([-2.0, -2.0, 3.0, 1.0])
    matrix[:3, 3] = np.array(phantom.image.geometry.origin_lps_mm) * [-1, -1, 1]
    volume = make_volume(phantom.image.array, matrix)
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Spine")
    writeVolume(make_volume(phantom.labels.array.astype(np.int16), matrix), tmp_path / "t.nrrd")
    Segments.readSegmentation(tmp_path / "t.nrrd", node, volume)
    (tmp_path / "t.nrrd").unlink()
    return volume, node, phantom.labels.array


def with_patch(
    labels: np.ndarray, patch: VertebraPatch, number: int, keep: Collection[int] = ()
) -> np.ndarray:
    """Return the labels of a whole volume with one vertebra replaced by a patch."""
    mask = np.zeros(labels.shape, bool)
    box = tuple(slice(f, f + n) for f, n in zip(patch.firstKji, patch.mask.shape, strict=True))
    mask[box] = patch.mask
    return merge_mask(labels, mask, number, keep)


def test_resegmentation_returns_a_patch_and_leaves_the_scene(segmented, tmp_path: Path):
    volume, node, truth = segmented
    before = labelArray(node, vertebraIds(node), gridOf(volume))
    run = VertebraRun(volume, node, VertebraRequest(segmentId="V21"), tmp_path)
    patch = run.wait()
    assert list(tmp_path.iterdir()) == []
    np.testing.assert_array_equal(labelArray(node, vertebraIds(node), gridOf(volume)), before)
    assert patch.result.dice_before > 0.5
    new = with_patch(before, patch, 2)
    for number in (1, 3):
        np.testing.assert_array_equal(new == number, before == number)
    assert 2 * ((new == 2) & (truth == L2)).sum() > 0.5 * ((new == 2).sum() + (truth == L2).sum())


def test_a_click_segments_a_missed_vertebra(segmented, tmp_path: Path):
    volume, node, truth = segmented
    node.GetSegmentation().RemoveSegment("V21")
    request = VertebraRequest(placeRas=body_ras(volume, truth == L2), keep=("V20", "V22"))
    patch = VertebraRun(volume, node, request, tmp_path).wait()
    there = labelArray(node, vertebraIds(node), gridOf(volume))
    new = with_patch(there, patch, 9, keep=(1, 2))
    assert ((new == 9) & (truth == L2)).sum() > 0.5 * (truth == L2).sum()
    np.testing.assert_array_equal(np.isin(new, (1, 2)), np.isin(there, (1, 2)))


def body_ras(volume, mask: np.ndarray) -> tuple[float, float, float]:
    """Return where a person would click: 12 mm behind the front of a vertebra, in its middle."""
    k, _, i = np.argwhere(mask).mean(axis=0)
    j = np.argwhere(mask)[:, 1].min() + 6
    return tuple(gridOf(volume).ijkToRas[:3] @ (i, j, k, 1))


def test_a_cancelled_run_leaves_no_file_and_no_patch(segmented, tmp_path: Path):
    volume, node, _ = segmented
    run = VertebraRun(volume, node, VertebraRequest(segmentId="V21"), tmp_path)
    while not any(isinstance(event, events.Progress) for event in run.newEvents()):
        pass
    run.stopNow()
    assert list(tmp_path.iterdir()) == []
    assert run.patch is None


def test_a_missing_vertebra_or_position_is_refused_without_a_file(segmented, tmp_path: Path):
    volume, node, _ = segmented
    for request, says in (
        (VertebraRequest(segmentId="V7"), "no longer exists"),
        (VertebraRequest(placeRas=(0.0, 0.0, 9e4)), "outside of"),
    ):
        with pytest.raises(UserError, match=says):
            VertebraRun(volume, node, request, tmp_path)
    assert list(tmp_path.iterdir()) == []
