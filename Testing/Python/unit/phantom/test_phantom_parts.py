"""Signed distances, frames and tissues of phantoms."""

from __future__ import annotations

import numpy as np
import pytest

from spinemamba.imaging.volume import Geometry, Volume
from spinemamba.phantom import PaintOptions, Tissue, paint_ct, paint_mr
from spinemamba.phantom.curve import STEPS, draw_chain
from spinemamba.phantom.options import PhantomOptions
from spinemamba.phantom.sdf import Field, Frame, Grid, capsule, plate, smooth_min


def at(distance, x: float, y: float, z: float) -> float:
    return float(distance(*(np.array([v], np.float32) for v in (x, y, z)))[0])


def grid_of(n: int) -> Geometry:
    return Geometry((n, n, n), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), np.eye(3))


def test_a_capsule_has_the_signed_distance_of_a_rounded_bar():
    bar = capsule(((0, 0, 0), (10, 0, 0)), (2.0, 2.0))
    assert at(bar, 5, 3, 0) == pytest.approx(1.0)
    assert at(bar, 13, 0, 0) == pytest.approx(1.0)
    assert at(bar, 5, 0, 0) == pytest.approx(-2.0)


def test_the_signed_distance_of_a_plate_is_zero_at_its_half_sizes():
    _, _, block = plate((1, 0, 0), (2, 3, 4))
    assert at(block, 3, 0, 0) == pytest.approx(0.0, abs=1e-5)
    assert at(block, 1, 5, 0) == pytest.approx(2.0)
    assert at(block, 1, 0, 0) == pytest.approx(-2.0)


def test_smooth_min_is_the_minimum_far_from_the_seam():
    a, b = np.array([-3.0, 1.0]), np.array([2.0, 1.0])
    assert np.allclose(smooth_min(a, b, 2.0), [-3.0, 0.5])


def test_a_part_does_not_change_the_field_outside_its_box():
    field = Field(
        Grid(grid_of(20)), Frame(np.array([10.0, 10, 10]), np.eye(3)), (slice(0, 20),) * 3
    )
    field.add_capsule(((-3, 0, 0), (3, 0, 0)), (2.0, 2.0))
    assert field.distance[10, 10, 10] < -1.9
    assert field.distance[0, 0, 0] == 30.0


def test_a_rotated_frame_rotates_its_part():
    turned = Frame(np.array([10.0, 10, 10]), np.array([[0, 1.0, 0], [-1.0, 0, 0], [0, 0, 1.0]]))
    field = Field(Grid(grid_of(20)), turned, (slice(0, 20),) * 3)
    field.add_capsule(((0, 0, 0), (6, 0, 0)), (2.0, 2.0))
    assert field.distance[10, 16, 10] < 0  # local left is the patient's back
    assert field.distance[10, 10, 16] > 0


def test_steps_between_vertebrae_follow_the_measured_means():
    options = PhantomOptions(kyphosis=1.0, scoliosis_deg=0.0)
    chains = [draw_chain(options, 1.0, np.random.default_rng(k)) for k in range(40)]
    for k, name in ((4, "C5"), (12, "T6"), (21, "L3")):
        steps = [c[k + 1].frame.origin - c[k].frame.origin for c in chains]
        assert np.linalg.norm(steps, axis=1).mean() == pytest.approx(STEPS[name][0], rel=0.03)


def test_frames_are_right_handed_and_orthonormal():
    for placed in draw_chain(PhantomOptions(), 1.0, np.random.default_rng(0)):
        axes = placed.frame.axes
        assert np.allclose(axes @ axes.T, np.eye(3), atol=1e-6)
        assert np.linalg.det(axes) == pytest.approx(1.0)


def blocks() -> Volume:
    """Four slabs: air, fat, trabecular, cortical bone."""
    tissues = np.empty((32, 8, 8), np.uint8)
    for k, tissue in enumerate((Tissue.AIR, Tissue.FAT, Tissue.TRABECULAR, Tissue.CORTICAL)):
        tissues[8 * k : 8 * k + 8] = tissue
    return Volume(tissues, Geometry(tissues.shape, (1.5, 1.5, 1.5), (0, 0, 0), np.eye(3)))


def test_ct_orders_tissues_by_density():
    hu = paint_ct(blocks(), np.random.default_rng(0), PaintOptions(noise_hu=5.0, density=0.5))
    air, fat, spongy, dense = (float(hu[8 * k + 4].mean()) for k in range(4))
    assert hu.dtype == np.int16
    assert air == pytest.approx(-1000, abs=15)
    assert fat == pytest.approx(-100, abs=25)
    assert 60 < spongy < 300 < dense


def test_noise_has_the_requested_standard_deviation():
    air = Volume(
        np.zeros((16, 64, 64), np.uint8), Geometry((16, 64, 64), (1, 1, 1), (0, 0, 0), np.eye(3))
    )
    water = air.with_array(np.full_like(air.array, Tissue.CANAL))
    quiet = paint_ct(water, np.random.default_rng(1), PaintOptions(noise_hu=0.0))
    loud = paint_ct(water, np.random.default_rng(1), PaintOptions(noise_hu=40.0))
    assert np.std(loud.astype(float) - quiet) == pytest.approx(40, rel=0.1)


def test_mr_shows_fat_bright_and_cortex_dark():
    signal = paint_mr(blocks(), np.random.default_rng(0))
    air, fat, _, dense = (float(signal[8 * k + 4].mean()) for k in range(4))
    assert signal.min() >= 0
    assert fat > 4 * max(air, dense)
