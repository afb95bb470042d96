"""Joint smoothing of touching vertebrae keeps one surface between them."""

from __future__ import annotations

import numpy as np
import pytest

from spinemamba.export.exporter import Export, Target
from spinemamba.export.item import Vertebra
from spinemamba.export.meshing.options import MeshOptions
from spinemamba.export.meshing.raw_surface import Mask, make_raw_surface
from spinemamba.export.meshing.shared_borders import neighbour_masks, smooth_together
from spinemamba.export.meshing.smooth import finish, smooth
from spinemamba.protocol.manifest import read_manifest


def place(index_xyz: np.ndarray) -> np.ndarray:
    return index_xyz * [1.0, 1.0, 2.0]


@pytest.fixture(scope="module")
def masks() -> list[Mask]:
    """A ball cut in two along an oblique plane."""
    z, y, x = np.indices((14, 28, 28)) - np.array([7, 14, 14])[:, None, None, None]
    ball = (2 * z) ** 2 + y**2 + x**2 < 150
    upper = z + 0.3 * x > 0
    return [Mask(ball & upper), Mask(ball & ~upper)]


def gap_mm(first: np.ndarray, second: np.ndarray) -> float:
    """Return the largest distance between points that both surfaces shared before smoothing."""
    return float(np.linalg.norm(first - second, axis=1).max())


def test_shared_points_stay_together_and_others_are_smoothed_as_usual(masks):
    options = MeshOptions(joint=True)
    raw_surfaces = [
        make_raw_surface(mask, place, options, other)
        for mask, other in zip(masks, neighbour_masks(masks), strict=True)
    ]
    made = [
        finish(raw_surface, mesh, options, own)
        for raw_surface, (mesh, own) in zip(
            raw_surfaces, smooth_together(raw_surfaces, options.smoothing), strict=True
        )
    ]
    keys = [{tuple(step): k for k, step in enumerate(d.index_xyz.tolist())} for d in raw_surfaces]
    shared = sorted(set(keys[0]) & set(keys[1]))
    assert len(shared) > 100
    rows = [[key[step] for step in shared] for key in keys]
    joint = gap_mm(*(m.mesh.points_mm[r] for m, r in zip(made, rows, strict=True)))
    alone = [
        finish(raw_surface, smooth(raw_surface, MeshOptions()), MeshOptions())
        for raw_surface in raw_surfaces
    ]
    apart = gap_mm(*(m.mesh.points_mm[r] for m, r in zip(alone, rows, strict=True)))
    assert joint < 0.2 * apart
    assert apart > 0.3
    assert np.median(
        np.linalg.norm(made[0].mesh.points_mm[rows[0]] - made[1].mesh.points_mm[rows[1]], axis=1)
    ) == pytest.approx(0, abs=1e-5)


def test_jointly_smoothed_surfaces_are_valid_and_named_in_the_manifest(masks, tmp_path):
    vertebrae = [
        Vertebra(level, lambda mask=mask: mask, place)
        for level, mask in zip(("T12", "L1"), masks, strict=True)
    ]
    Export(vertebrae, Target(tmp_path), MeshOptions(joint=True)).run()
    for entry in read_manifest(tmp_path).vertebrae:
        assert entry.watertight
        assert entry.self_intersections == 0
        assert entry.smoothing["joint"] is True
        assert entry.mesh_volume_ml == pytest.approx(entry.label_volume_ml, rel=0.015)
