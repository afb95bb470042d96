"""Solids of a plan: cylinders and drill guides are closed, one piece, and in the right place."""

from __future__ import annotations

import io
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import trimesh
from analytic_pedicles import draw_vertebra, random_vertebra

from spinemamba.export.meshing.formats import stl
from spinemamba.export.meshing.mesh import Mesh
from spinemamba.jobs.plan import guides_of
from spinemamba.measure.frame import unit
from spinemamba.planning.drill_guide import GuideOptions
from spinemamba.planning.plan_spine import PlannedSpine, plan_spine
from spinemamba.planning.solids import cylinder

OPTIONS = GuideOptions()


@cache
def planned() -> PlannedSpine:
    """Return a planned vertebra."""
    return plan_spine(draw_vertebra(random_vertebra(1), (1.0, 0.8, 0.8), np.eye(3)))


@cache
def guide() -> Mesh:
    """Return its drill guide."""
    guides, notes = guides_of(planned(), OPTIONS)
    assert notes == []
    return guides["L3"]


def read_back(mesh: Mesh) -> trimesh.Trimesh:
    """Return a surface as trimesh reads its STL file."""
    return trimesh.load(io.BytesIO(stl(mesh, "LPS", (0, 0, 0))), file_type="stl")


def test_a_cylinder_is_closed_and_has_the_volume_of_the_screw():
    corridor = planned().plan.pedicles[0].suggestion
    solid = read_back(cylinder(corridor))
    assert solid.is_watertight
    assert solid.is_winding_consistent
    assert solid.body_count == 1
    volume = np.pi * (corridor.diameter_mm / 2) ** 2 * corridor.length_mm
    assert solid.volume == pytest.approx(volume, rel=1e-3)


def test_a_guide_is_closed_and_one_piece_with_two_bores():
    solid = read_back(guide())
    assert solid.is_watertight
    assert solid.is_winding_consistent
    assert solid.body_count == 1
    assert solid.volume > 0
    assert solid.euler_number <= -2  # two through holes


def test_a_guide_keeps_its_gap_to_the_bone():
    field = planned().vertebrae[0].bone.field
    depth = field.at(field.frame.to_local(guide().points_mm))
    assert depth.max() <= -OPTIONS.gap_mm + 0.15


def test_the_bores_of_a_guide_are_free_along_the_corridors():
    solid = guide()
    for pedicle in planned().plan.pedicles:
        corridor = pedicle.suggestion
        start, tip = np.array(corridor.entry_lps_mm), np.array(corridor.tip_lps_mm)
        along = unit(tip - start)
        offset = solid.points_mm - start
        s = offset @ along
        across = np.linalg.norm(offset - s[:, None] * along, axis=1)
        sleeve = (s > -OPTIONS.height_mm + 1) & (s < -4) & (across < OPTIONS.bore_mm / 2 + 1.0)
        assert across[sleeve].min() == pytest.approx(OPTIONS.bore_mm / 2, abs=0.25)
        assert sleeve.sum() > 100


def test_a_level_with_one_corridor_has_no_guide():
    one = planned()
    right = one.plan.pedicles[1]
    pedicles = (one.plan.pedicles[0], replace(right, suggestion=None))
    guides, notes = guides_of(replace(one, plan=replace(one.plan, pedicles=pedicles)), OPTIONS)
    assert guides == {}
    assert notes == ["L3 has no drill guide: a corridor is missing on a side."]
