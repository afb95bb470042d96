"""A small spine in a scene, and helpers for tests of the review."""

from __future__ import annotations

import json

import numpy as np
import slicer
from block_spine import NAMES, SHAPE, oriented, spine_labels
from vtk.util.numpy_support import vtk_to_numpy

from spinemamba.anatomy.labels import BY_NAME, NETWORK_LEVELS
from spinemamba.protocol.flags import Flag
from spinemamba.protocol.result import InstanceResult, LabelingResult, Result
from SpineMambaSegmentLib.Review.SegmentState import TAGS
from SpineMambaSegmentLib.Scene import Provenance, Segments
from SpineMambaSegmentLib.Scene.Grid import gridOf

__all__ = ["NAMES", "SHAPE", "oriented", "spine_labels"]

MARGIN = 32


def evidence_of(name: str) -> tuple[float, ...]:
    values = np.full(len(NETWORK_LEVELS), 0.01)
    values[NETWORK_LEVELS.index(name)] = 1.0
    return tuple(values / values.sum())


def result_of(names: tuple[str, ...] = NAMES, looks: tuple[str, ...] | None = None) -> Result:
    """Return a result in which the networks say ``looks`` and the solver has said ``names``."""
    instances = tuple(
        InstanceResult(
            id=n + 1, label=BY_NAME[name].value, name=name, posterior=0.8,
            alternatives=(("L2", 0.1),), level_probabilities=evidence_of((looks or names)[n]),
            centroid_lps_mm=(0.0, 0.0, -32.0 * n), volume_ml=30.0, complete=True, cut_sides=(),
            flags=(Flag("low_margin", 0.8, "Level uncertain (80 %)."),) if n == 2 else (),
            is_sacrum=name == "Sacrum",
        )
        for n, name in enumerate(names)
    )  # fmt: skip
    return Result(
        run_id="r", model_name="m", model_version="1", model_hash="h", package_version="0",
        device="cpu", scan_backend="none", modality="ct", seconds={}, shape=SHAPE,
        spacing_mm=(1.0,) * 3, origin_lps_mm=(0.0,) * 3,
        direction_lps=(1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0), instances=instances,
        labelings=(LabelingResult(names, 0.6), LabelingResult(names, 0.3)), ambiguous=True,
        warnings=(),
    )  # fmt: skip


def add_spine(volume, labels: np.ndarray, result: Result | None = None):
    """Add a segmentation of labels on the voxels of a volume, as a run does."""
    node = volume.GetScene().AddNewNodeByClass("vtkMRMLSegmentationNode", "Spine")
    tags = None if result is None else Provenance.tagsByLabel(result)
    Segments.addSegments(oriented(labels, gridOf(volume).ijkToRas), node, volume, tags)
    if result is not None:
        node.SetAttribute(Provenance.RESULT_ATTRIBUTE, json.dumps(result.to_json()))
    return node


def label_array(node, shape: tuple[int, int, int] = SHAPE) -> dict[str, bytes]:
    """Return the voxels of every segment on the whole grid, as Slicer itself hands them out."""
    found = {}
    for segment_id in node.GetSegmentation().GetSegmentIDs():
        image = slicer.vtkOrientedImageData()
        node.GetBinaryLabelmapRepresentation(segment_id, image)
        found[segment_id] = on_grid(image, shape).tobytes()
    return found


def on_grid(image, shape: tuple[int, int, int]) -> np.ndarray:
    # Segments may reach beyond the grid: a margin on all sides.
    whole = np.zeros([n + 2 * MARGIN for n in shape], np.uint8)
    e = [n + MARGIN for n in image.GetExtent()]
    size = [e[5] - e[4] + 1, e[3] - e[2] + 1, e[1] - e[0] + 1]
    if min(size) > 0 and image.GetPointData().GetScalars() is not None:
        part = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(size)
        whole[e[4] : e[5] + 1, e[2] : e[3] + 1, e[0] : e[1] + 1] = part != 0
    return whole


def everything(node) -> dict:
    """Return all that undo must bring back: order, names, colours, tags, voxels, attributes."""
    segmentation = node.GetSegmentation()
    ids = list(segmentation.GetSegmentIDs())
    segments = [segmentation.GetSegment(i) for i in ids]
    return {
        "order": ids,
        "names": [s.GetName() for s in segments],
        "colors": [s.GetColor() for s in segments],
        "tags": [{n: Provenance.tagOf(s, n) for n in TAGS} for s in segments],
        "voxels": label_array(node),
        "result": node.GetAttribute(Provenance.RESULT_ATTRIBUTE),
        "pins": node.GetAttribute("SpineMamba.Pins"),
    }
