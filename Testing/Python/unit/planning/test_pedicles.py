"""Pedicles: sizes and axes of analytic vertebrae, on rotated grids of clinical spacing."""

from __future__ import annotations

import numpy as np
import pytest
from analytic_pedicles import draw_vertebra, random_grid, random_vertebra

from spinemamba.imaging.volume import Volume
from spinemamba.planning.plan_spine import plan_spine
from spinemamba.protocol.planning.plan import SIDES

BAR_MM, BAR_DEG = 0.7, 3.0
SLOW = pytest.mark.slow
SEEDS = (0, 4, pytest.param(1, marks=SLOW), pytest.param(6, marks=SLOW))


@pytest.mark.parametrize("seed", SEEDS)
def test_width_and_axis_of_a_known_pedicle_are_within_the_bars(seed: int):
    vertebra = random_vertebra(seed)
    planned = plan_spine(draw_vertebra(vertebra, *random_grid(seed)))
    for k, pedicle in enumerate(planned.plan.pedicles):
        true = vertebra.pedicles[k]
        assert pedicle.width_mm == pytest.approx(true.width_mm, abs=BAR_MM)
        assert pedicle.height_mm == pytest.approx(true.height_mm, abs=BAR_MM)
        ends = (np.array(pedicle.anterior_lps_mm), np.array(pedicle.entry_lps_mm))
        forward = (ends[0] - ends[1]) / np.linalg.norm(ends[0] - ends[1])
        angle = np.degrees(np.arccos(np.clip(forward @ vertebra.axis_lps(k), -1, 1)))
        assert angle <= BAR_DEG
        isthmus = (np.array(pedicle.isthmus_lps_mm) - vertebra.centre) @ vertebra.axes.T
        _, left, up = true.offsets(isthmus)
        assert abs(left) <= BAR_MM
        assert abs(up) <= BAR_MM


def test_angles_are_those_in_the_frame_of_the_vertebra():
    vertebra = random_vertebra(2)
    planned = plan_spine(draw_vertebra(vertebra, (1.0, 0.8, 0.8), np.eye(3)))
    for k, (pedicle, sign) in enumerate(zip(planned.plan.pedicles, (1, -1), strict=True)):
        forward = vertebra.pedicles[k].forward
        inward = np.degrees(np.arctan2(-sign * forward[0], -forward[1]))
        assert pedicle.transverse_deg == pytest.approx(inward, abs=BAR_DEG)
        assert pedicle.sagittal_deg == pytest.approx(np.degrees(np.arcsin(forward[2])), abs=4.0)


@SLOW
def test_the_plan_does_not_depend_on_the_order_of_the_axes():
    vertebra = random_vertebra(3)
    one = draw_vertebra(vertebra, (1.0, 0.9, 0.9), np.eye(3))
    geometry = one.geometry
    shape, spacing = (tuple(np.array(v)[[2, 1, 0]]) for v in (geometry.shape, geometry.spacing_mm))
    swapped = type(geometry)(
        tuple(map(int, shape)),
        tuple(map(float, spacing)),
        geometry.origin_lps_mm,
        np.asarray(geometry.direction_lps)[:, ::-1],
    )
    other = Volume(np.ascontiguousarray(one.array.transpose(2, 1, 0)), swapped)
    first, second = (plan_spine(volume).plan.pedicles for volume in (one, other))
    for a, b in zip(first, second, strict=True):
        assert a.width_mm == pytest.approx(b.width_mm, abs=0.05)
        assert a.entry_lps_mm == pytest.approx(b.entry_lps_mm, abs=0.3)


def test_a_level_without_pedicles_says_why():
    labels = draw_vertebra(random_vertebra(0), (1.5, 1.0, 1.0), np.eye(3), name="C1")
    left, right = plan_spine(labels).plan.pedicles
    assert [p.side for p in (left, right)] == list(SIDES)
    assert left.width_mm is None
    assert "lateral masses" in left.reasons["width_mm"]
    assert left.suggestion is None


def test_a_missing_pedicle_is_reported_and_not_invented():
    vertebra = random_vertebra(0)
    labels = draw_vertebra(vertebra, (1.0, 1.0, 1.0), np.eye(3))
    index = np.stack(np.meshgrid(*[np.arange(n) for n in labels.array.shape], indexing="ij"), -1)
    local = (labels.geometry.to_lps_mm(index) - vertebra.centre) @ vertebra.axes.T
    gone = (local[..., 0] > 0) & (np.abs(local[..., 1] - vertebra.size[1] / 2 - 7) < 6.5)
    array = np.where(gone, 0, labels.array).astype(np.uint8)
    left, right = plan_spine(labels.with_array(array)).plan.pedicles
    assert left.width_mm is None
    assert left.reasons["width_mm"]
    assert right.width_mm == pytest.approx(vertebra.pedicles[1].width_mm, abs=BAR_MM)
