"""Suggested corridors and breach tests."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import trimesh
from analytic_pedicles import PedicleVertebra, draw_vertebra, random_grid, random_vertebra
from scipy import ndimage

from spinemamba.imaging.volume import Volume
from spinemamba.measure.frame import unit
from spinemamba.planning.given_screws import with_lines
from spinemamba.planning.metal import find_shafts
from spinemamba.planning.plan_spine import PlannedSpine, plan_spine
from spinemamba.protocol.planning.markups import ScrewLine
from spinemamba.protocol.planning.plan import NOTICE, Corridor, grade_of
from spinemamba.protocol.planning.screws import USUAL, Screw, ScrewTable

TURNS = np.linspace(0, 2 * np.pi, 24, endpoint=False)


@cache
def planned_vertebra(seed: int) -> tuple[PedicleVertebra, PlannedSpine]:
    """Return a vertebra and its plan, on a fine grid along the patient's axes."""
    vertebra = replace(random_vertebra(seed), axes=np.eye(3), centre=np.zeros(3))
    return vertebra, plan_spine(draw_vertebra(vertebra, (0.8, 0.7, 0.7), np.eye(3)))


def surface_of(corridor: Corridor) -> np.ndarray:
    """Return points on the surface of a corridor, LPS, (n, 3)."""
    start, tip = np.array(corridor.entry_lps_mm), np.array(corridor.tip_lps_mm)
    along = unit(tip - start)
    first = unit(np.cross(along, [0.3, 0.1, 1.0]))
    second = np.cross(along, first)
    ring = (
        corridor.diameter_mm
        / 2
        * (np.outer(np.cos(TURNS), first) + np.outer(np.sin(TURNS), second))
    )
    line = start + np.linspace(0, 1, 80)[:, None] * (tip - start)
    return (line[:, None] + ring).reshape(-1, 3)


@pytest.mark.parametrize(
    "seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 12))]
)
def test_a_suggestion_is_never_in_the_canal_of_a_deformed_vertebra(seed: int):
    rng = np.random.default_rng(seed)
    vertebra = random_vertebra(100 + seed)
    labels = draw_vertebra(vertebra, *random_grid(seed))
    # Holes and lumps in the label, as a poor segmentation has them.
    noise = ndimage.gaussian_filter(rng.normal(size=labels.array.shape), 2.5)
    inside = ndimage.gaussian_filter((labels.array > 0).astype(float), 0.6)
    inside = inside + 0.8 * rng.uniform(0.2, 1) * noise / noise.std() * 0.4
    value = labels.array.max()
    bent = np.where((inside > 0.5) & (ndimage.binary_dilation(labels.array > 0)), value, 0)
    planned = plan_spine(labels.with_array(bent.astype(np.uint8)))
    for pedicle in planned.plan.pedicles:
        corridor = pedicle.suggestion
        if corridor is None:
            assert pedicle.reasons["suggestion"]
            continue
        local = (surface_of(corridor) - vertebra.centre) @ vertebra.axes.T
        assert not vertebra.in_canal(local, -0.5).any()
        assert (corridor.grade, corridor.breach_mm, corridor.in_canal_mm) == ("A", 0.0, 0.0)


def test_a_suggestion_keeps_its_margin_inside_the_true_bone():
    vertebra, planned = planned_vertebra(1)
    for pedicle in planned.plan.pedicles:
        corridor = pedicle.suggestion
        assert corridor is not None
        points = surface_of(corridor)
        deep = np.linalg.norm(points - np.array(corridor.entry_lps_mm), axis=1) > 12
        assert vertebra.contains(points[deep]).all()
        assert corridor.cortex_margin_mm >= USUAL.cortex_margin_mm
        assert corridor.canal_margin_mm >= USUAL.canal_margin_mm
        assert "uggestion" in NOTICE
        assert planned.plan.notice == NOTICE


def test_a_narrow_pedicle_is_said_to_be_too_narrow():
    vertebra, _ = planned_vertebra(1)
    narrow = tuple(replace(p, width_mm=4.0) for p in vertebra.pedicles)
    plan = plan_spine(
        draw_vertebra(replace(vertebra, pedicles=narrow), (0.8, 0.7, 0.7), np.eye(3))
    ).plan
    for pedicle in plan.pedicles:
        assert pedicle.width_mm == pytest.approx(4.0, abs=0.7)
        assert pedicle.suggestion is None
        assert pedicle.reasons["suggestion"].startswith("too narrow")


def test_the_table_of_screws_decides():
    vertebra, _ = planned_vertebra(1)
    labels = draw_vertebra(vertebra, (0.8, 0.7, 0.7), np.eye(3))
    only = ScrewTable((Screw("lumbar", 4.0, 30.0),))
    for pedicle in plan_spine(labels, table=only).plan.pedicles:
        assert pedicle.suggestion.diameter_mm == 4.0
        assert pedicle.suggestion.length_mm == pytest.approx(30.0, abs=1e-6)
    none = ScrewTable((Screw("thoracic", 4.0, 30.0),))
    for pedicle in plan_spine(labels, table=none).plan.pedicles:
        assert "no screw for this region" in pedicle.reasons["suggestion"]


def moved_line(planned: PlannedSpine, side: int, move: np.ndarray, diameter: float) -> ScrewLine:
    """Return the line along the axis of a pedicle, moved."""
    pedicle = planned.plan.pedicles[side]
    entry = np.array(pedicle.entry_lps_mm)
    forward = unit(np.array(pedicle.anterior_lps_mm) - entry)
    tip = np.array(pedicle.isthmus_lps_mm) + 12 * forward
    return ScrewLine("mine", tuple(entry + move), tuple(tip + move), diameter)


@pytest.mark.parametrize(
    ("beyond_mm", "grade"), [(-1.5, "A"), (1.0, "B"), (3.0, "C"), (5.0, "D"), (7.0, "E")]
)
def test_a_medial_line_gets_the_breach_that_it_has(beyond_mm: float, grade: str):
    vertebra, planned = planned_vertebra(1)
    true = vertebra.pedicles[0]
    diameter = 4.0
    axis = -np.cross([0.0, 0.0, 1.0], -true.forward)
    medial = unit(axis) if axis[0] < 0 else -unit(axis)
    move = (true.width_mm / 2 - diameter / 2 + beyond_mm) * medial
    plan = with_lines(planned, [moved_line(planned, 0, move, diameter)])
    (screw,) = plan.pedicles[0].screws
    assert screw.source == "edited"
    if grade == "A":
        assert (screw.breach_mm, screw.wall) == (0.0, "")
    else:
        assert screw.breach_mm == pytest.approx(beyond_mm, abs=0.7)
        assert screw.wall == "medial"
        assert screw.in_canal_mm > 0
    assert screw.grade == grade


def test_grades_follow_gertzbein_and_robbins():
    values = {0.0: "A", 0.5: "B", 1.99: "B", 2.0: "C", 3.99: "C", 4.0: "D", 5.9: "D", 6.0: "E"}
    assert {value: grade_of(value) for value in values} == values


def test_a_line_beside_the_spine_is_reported():
    _, planned = planned_vertebra(1)
    plan = with_lines(planned, [ScrewLine("far", (90.0, 0.0, 0.0), (95.0, 0.0, 0.0), 5.0)])
    assert not any(p.screws for p in plan.pedicles)
    assert any("far was not tested" in note for note in plan.notes)


def test_a_metal_screw_with_its_head_is_found_and_tested():
    _, planned = planned_vertebra(1)
    corridor = planned.plan.pedicles[0].suggestion
    labels = planned.spine.labels
    index = np.stack(np.meshgrid(*[np.arange(n) for n in labels.array.shape], indexing="ij"), -1)
    points = labels.geometry.to_lps_mm(index)
    start, tip = np.array(corridor.entry_lps_mm), np.array(corridor.tip_lps_mm)
    along = unit(tip - start)
    s = (points - start) @ along
    across = np.linalg.norm(points - start - s[..., None] * along, axis=-1)
    shaft = (s >= -6) & (s <= corridor.length_mm) & (across <= 2.5)
    head = (s >= -20) & (s <= -6) & (across <= 6.5)
    rod = (np.abs(s + 14) < 3) & (np.abs((points - start)[..., 0]) < 3)
    image = np.where(labels.array > 0, 300, 0)
    image = np.where(shaft | head | rod, 8000, image).astype(np.float32)
    # The screw itself is not labelled as bone.
    holes = labels.with_array(np.where(shaft, 0, labels.array).astype(np.uint8))
    assert holes.array.any()
    bone = planned.vertebrae[0].bone
    found = find_shafts(Volume(image, labels.geometry), bone)
    assert set(found) == {"left"}
    shaft_found = found["left"]
    forward = shaft_found.line.forward @ bone.field.frame.axes_lps
    assert np.degrees(np.arccos(np.clip(forward @ along, -1, 1))) < 2
    assert shaft_found.diameter_mm == pytest.approx(5.0, abs=0.8)
    end = bone.field.frame.to_lps(shaft_found.line.at(shaft_found.tip_mm))
    assert np.linalg.norm(end - tip) < 2


def test_bone_without_metal_has_no_shaft():
    _, planned = planned_vertebra(1)
    labels = planned.spine.labels
    image = Volume(np.where(labels.array > 0, 900.0, 0.0), labels.geometry)
    assert find_shafts(image, planned.vertebrae[0].bone) == {}


@pytest.mark.slow
def test_a_real_screw_in_the_image_is_found(shared_data: Path):
    _, planned = planned_vertebra(1)
    corridor = planned.plan.pedicles[1].suggestion
    labels = planned.spine.labels
    solid = trimesh.load(shared_data / "pedicle_screws" / "D6L45.stl")
    low, high = solid.bounds
    axis = int(np.argmax(high - low))
    cells = solid.voxelized(0.6).fill().points
    # The tip is the thin end.
    ends = [
        np.ptp(cells[np.abs(cells[:, axis] - end) < 3], axis=0) for end in (low[axis], high[axis])
    ]
    others = [k for k in range(3) if k != axis]
    tip_low = ends[0][others].max() < ends[1][others].max()
    tip = low[axis] if tip_low else high[axis]
    back = (cells[:, axis] - tip) * (1 if tip_low else -1)
    aside = cells[:, others] - (low + high)[others] / 2
    goal, entry = np.array(corridor.tip_lps_mm), np.array(corridor.entry_lps_mm)
    along = unit(entry - goal)
    first = unit(np.cross(along, [0.2, 0.1, 1.0]))
    second = np.cross(along, first)
    places = goal + back[:, None] * along + aside[:, :1] * first + aside[:, 1:] * second
    index = np.rint(labels.geometry.to_index_zyx(places)).astype(int)
    inside = ((index >= 0) & (index < labels.array.shape)).all(axis=1)
    image = np.where(labels.array > 0, 300.0, 0.0)
    image[tuple(index[inside].T)] = 9000.0
    bone = planned.vertebrae[0].bone
    found = find_shafts(Volume(image, labels.geometry), bone)
    assert set(found) == {"right"}
    forward = found["right"].line.forward @ bone.field.frame.axes_lps
    assert np.degrees(np.arccos(np.clip(-forward @ along, -1, 1))) < 3
    assert found["right"].diameter_mm == pytest.approx(6.0, abs=1.2)
