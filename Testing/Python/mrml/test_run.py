"""From a volume node to segments through the real worker and the bundled model."""

from __future__ import annotations

import numpy as np
import pytest

slicer = pytest.importorskip("slicer", reason="slicer-core is not installed")

from spinemamba.phantom import PhantomOptions, make_phantom  # noqa: E402
from spinemamba.protocol import events  # noqa: E402 - after the skip
from SpineMambaSegmentLib.Runs.SegmentRun import SegmentRun  # noqa: E402


@pytest.fixture
def volume_node(make_volume):
    """A small CT of two vertebrae; LPS becomes Slicer's RAS."""
    view = {"spacing_mm": (3.0, 3.0, 3.0), "scale": 0.8, "margin_mm": 9.0, "tight": True}
    image = make_phantom(2, PhantomOptions(first="L2", last="L3", **view)).image
    matrix = np.diag([-3.0, -3.0, 3.0, 1.0])
    matrix[:3, 3] = np.array(image.geometry.origin_lps_mm) * [-1, -1, 1]
    return make_volume(image.array, matrix)


def test_a_run_makes_named_segments_and_deletes_its_folder(volume_node, tmp_path):
    segmentation_node = SegmentRun(volume_node, None, tmp_path).wait()
    segmentation = segmentation_node.GetSegmentation()
    ids = list(segmentation.GetSegmentIDs())
    assert len(ids) >= 2
    assert all(segment_id.startswith("V") for segment_id in ids)
    bounds, image_bounds = np.zeros(6), np.zeros(6)
    segmentation_node.GetRASBounds(bounds)
    volume_node.GetRASBounds(image_bounds)
    assert (bounds[::2] >= image_bounds[::2] - 0.01).all()
    assert (bounds[1::2] <= image_bounds[1::2] + 0.01).all()
    assert list(tmp_path.iterdir()) == []


def test_a_cancelled_run_leaves_no_file_and_no_segmentation(volume_node, tmp_path):
    run = SegmentRun(volume_node, None, tmp_path)
    while not any(isinstance(event, events.Progress) for event in run.newEvents()):
        pass
    run.stopNow()
    assert list(tmp_path.iterdir()) == []
    assert run.segmentationNode is None
