"""Surfaces of real masks, read back by another library."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from admesh_check import solid_by_admesh

from spinemamba.export.exporter import Export, Target
from spinemamba.export.item import Vertebra
from spinemamba.export.meshing import vtk_surface
from spinemamba.export.meshing.mesh import Mesh
from spinemamba.export.meshing.options import MeshOptions
from spinemamba.export.meshing.raw_surface import make_raw_surface
from spinemamba.export.meshing.self_intersections import self_intersections
from spinemamba.export.run_files import RunFiles, read_vertebrae

trimesh = pytest.importorskip("trimesh")

MASKS = {
    "verse/gl003_maskonly_seg.nii.gz": 12,
    "verse/verse009_maskonly_seg.nii.gz": 16,
    "verse/verse010_maskonly_seg.nii.gz": 5,
    "lidc/lidc0001_seg.nii.gz": 18,
}

FINE = "verse/gl003_maskonly_seg.nii.gz"
"""Masks with pixels of 0.3 mm, on which one vertebra takes as long as a whole mask elsewhere."""

QUICK = [name for name in MASKS if name != FINE]
FEW = (0, -1)
"""Vertebrae of each mask in the quick test: the highest and the lowest."""


def name_of(mask: str) -> str:
    return Path(mask).name.partition("_")[0]


def check_surfaces(vertebrae: list[Vertebra], folder: Path) -> None:
    """Export vertebrae, and compare the files as read by trimesh with the manifest."""
    manifest = Export(vertebrae, Target(folder), MeshOptions()).run()
    for entry, vertebra in zip(manifest.vertebrae, vertebrae, strict=True):
        assert entry.level == vertebra.level
        read = trimesh.load(folder / entry.files[0].name)
        assert read.is_watertight
        assert read.is_winding_consistent
        assert read.is_volume
        assert read.euler_number == entry.euler_number
        assert read.volume == pytest.approx(1000 * entry.label_volume_ml, rel=0.0025)
        assert read.volume == pytest.approx(1000 * entry.mesh_volume_ml, rel=1e-4)
        assert len(read.faces) == entry.triangles
        assert entry.deviation_p95_mm <= 0.7
        assert entry.self_intersections == 0


@pytest.mark.parametrize("mask", QUICK, ids=name_of)
def test_real_vertebrae_at_any_spacing_give_valid_surfaces(shared_data, tmp_path, mask):
    vertebrae = read_vertebrae(RunFiles(shared_data / mask, None))
    assert len(vertebrae) == MASKS[mask]
    check_surfaces([vertebrae[k] for k in FEW], tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("mask", QUICK, ids=name_of)
def test_every_real_vertebra_gives_a_valid_surface(shared_data, tmp_path, mask):
    check_surfaces(read_vertebrae(RunFiles(shared_data / mask, None)), tmp_path)


@pytest.mark.slow
def test_real_vertebrae_of_fine_voxels_give_valid_surfaces(shared_data, tmp_path):
    vertebrae = read_vertebrae(RunFiles(shared_data / FINE, None))
    assert len(vertebrae) == MASKS[FINE]
    check_surfaces(vertebrae[::4], tmp_path)


def test_admesh_finds_no_fault_in_real_vertebrae(shared_data, tmp_path):
    vertebrae = read_vertebrae(RunFiles(shared_data / "verse/verse010_maskonly_seg.nii.gz", None))
    manifest = Export([vertebrae[k] for k in FEW], Target(tmp_path), MeshOptions()).run()
    for entry in manifest.vertebrae:
        found = solid_by_admesh(tmp_path / entry.files[0].name)
        assert (found.faults, found.pieces) == ({}, entry.bodies + entry.cavities)
        assert found.volume == pytest.approx(1000 * entry.mesh_volume_ml, rel=1e-4)


def test_manifest_values_equal_those_measured_on_the_file(shared_data, tmp_path):
    vertebra = read_vertebrae(RunFiles(shared_data / "lidc/lidc0001_seg.nii.gz", None))[5]
    entry = Export([vertebra], Target(tmp_path), MeshOptions()).run().vertebrae[0]
    read = trimesh.load(tmp_path / entry.files[0].name)
    mesh = Mesh(np.asarray(read.vertices, float), np.asarray(read.faces))
    assert len(self_intersections(mesh)) == 0
    raw_surface = make_raw_surface(vertebra.load(), vertebra.place, MeshOptions())
    there = vtk_surface.distances_mm(mesh.points_mm, raw_surface.label)
    back = vtk_surface.distances_mm(raw_surface.label.points_mm, mesh)
    both = np.concatenate([there, back])
    stated = (entry.deviation_mean_mm, entry.deviation_p95_mm, entry.deviation_max_mm)
    assert stated == pytest.approx((both.mean(), np.percentile(both, 95), both.max()), abs=1e-3)
    assert 1000 * entry.label_volume_ml == pytest.approx(raw_surface.label_volume_mm3)
