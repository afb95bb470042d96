"""Bone that a run left out, restored in the review."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

slicer = pytest.importorskip("slicer")

from review_helpers import NAMES, SHAPE, add_spine, everything, result_of, spine_labels  # noqa: E402

from spinemamba.common.errors import UserError  # noqa: E402
from spinemamba.protocol.flags import Flag  # noqa: E402
from spinemamba.protocol.left_out import (  # noqa: E402
    FLAGS,
    LOOSE,
    NEIGHBOUR,
    LeftOutBone,
    runs_of,
)
from SpineMambaSegmentLib.Review.LeftOut import RestoreBone  # noqa: E402
from SpineMambaSegmentLib.Review.Pins import resultOf  # noqa: E402
from SpineMambaSegmentLib.Review.Session import ReviewSession  # noqa: E402

GRIDS = {
    "axes along LPS": np.eye(4),
    "scaled, turned and moved": np.array(
        [[0, -2.0, 0, 5], [1.5, 0, 0, -7], [0, 0, 3.0, 11], [0, 0, 0, 1]]
    ),
}


def left_out(labels: np.ndarray, instance: int, reason: str, corner: tuple[int, int, int]):
    """Return two free voxels, and one of a neighbour, as left-out bone, and their flat indices."""
    taken = int(np.flatnonzero(labels.ravel() == labels.max())[0])
    k, j, i = corner
    flat = sorted({int(np.ravel_multi_index((k, j, n), SHAPE)) for n in (i, i + 1)} | {taken})
    return LeftOutBone(instance, reason, 2, 0.05, runs_of(flat))


@pytest.fixture(params=GRIDS)
def node(request, make_volume):
    matrix = GRIDS[request.param]
    labels = spine_labels(NAMES)
    lps = np.diag([-1.0, -1.0, 1.0]) @ matrix[:3, :3]
    spacing = np.linalg.norm(lps, axis=0)
    bones = (
        left_out(labels, 2, LOOSE, (0, 0, 0)),
        left_out(labels, 2, NEIGHBOUR, (0, 1, 0)),
        left_out(labels, 3, LOOSE, (0, 2, 0)),
    )
    result = result_of(NAMES)
    flags = tuple(Flag(FLAGS[bone.reason], 0.05, "Left out.") for bone in bones[:2])
    second = replace(result.instances[1], flags=(*flags, Flag("hole", 0.1, "Has a hole.")))
    result = replace(
        result,
        instances=(result.instances[0], second, *result.instances[2:]),
        spacing_mm=tuple(float(s) for s in spacing[::-1]),
        origin_lps_mm=(-float(matrix[0, 3]), -float(matrix[1, 3]), float(matrix[2, 3])),
        direction_lps=tuple(float(v) for v in (lps / spacing).ravel()),
        left_out=bones,
    )
    return add_spine(make_volume(labels.astype(np.int16), matrix), labels, result)


def test_restored_bone_joins_its_vertebra_and_undo_removes_it(node):
    session = ReviewSession(node)
    before = everything(node)
    second, last = session.spine.ids[1], session.spine.ids[-1]
    counts = {i: session.spine.states[i].mask.count() for i in (second, last)}
    session.apply(RestoreBone((second,)))
    mask = session.spine.states[second].mask
    assert mask.count() == counts[second] + 4
    assert mask.inBox((slice(0, 1), slice(0, 3), slice(0, 2)))[0].tolist() == [
        [True, True], [True, True], [False, False]
    ]  # fmt: skip
    assert session.spine.states[last].mask.count() == counts[last]
    assert session.spine.states[second].tag("SpineMamba.FlagNames") == "hole"
    result = resultOf(session.spine)
    assert [bone.instance for bone in result.left_out] == [3]
    assert [flag.name for flag in result.instances[1].flags] == ["hole"]
    session.undo()
    assert everything(node) == before


def test_a_vertebra_without_left_out_bone_is_refused(node):
    session = ReviewSession(node)
    before = everything(node)
    with pytest.raises(UserError, match="No bone was left out"):
        session.apply(RestoreBone((session.spine.ids[0],)))
    assert everything(node) == before
