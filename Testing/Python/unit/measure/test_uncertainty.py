"""Uncertainties: they cover true values, void values are left out, names change nothing."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from analytic_spine import draw, random_spacing_mm, random_stack, slip_mm, stack

from spinemamba.anatomy.labels import BY_NAME
from spinemamba.common.errors import UserError
from spinemamba.imaging.read import read_labels
from spinemamba.imaging.volume import Geometry, Volume
from spinemamba.measure.calibration import Calibration, read_calibration
from spinemamba.measure.follow_up.comparison import differences
from spinemamba.measure.given import Given
from spinemamba.measure.pelvis import NUMBERS, hip_centres
from spinemamba.measure.spine import measure
from spinemamba.measure.uncertainty import with_uncertainties
from spinemamba.measure.vertebra import height_loss
from spinemamba.protocol.measurements import Item, Measurements, read_measurements

HEIGHTS = ("anterior_height_mm", "middle_height_mm", "posterior_height_mm")


@pytest.fixture(scope="module")
def case() -> tuple[list, Volume, Measurements]:
    """Return a random spine, its labels with 2.5 mm slices, and their measurements."""
    vertebrae, direction = random_stack(5)
    labels = draw(vertebrae, (2.5, 1.5, 1.5), direction)
    return vertebrae, labels, measure(labels)


def test_uncertainties_cover_the_true_values(case):
    vertebrae, _, measured = case
    items = {item.name: item for item in measured.items if item.kind in ("vertebra", "disc")}
    inside = []
    for vertebra in vertebrae:
        item = items[vertebra.name]
        for key, true in zip(HEIGHTS, vertebra.heights(), strict=True):
            inside.append(abs(item.values[key] - true) <= item.uncertainties[key])
            assert item.uncertainties[key] < 3
    for upper, lower in pairwise(vertebrae):
        item = items[f"{upper.name}-{lower.name}"]
        if item.values["slip_mm"] is not None:
            off = abs(item.values["slip_mm"] - slip_mm(upper, lower))
            inside.append(off <= item.uncertainties["slip_mm"])
    assert np.mean(inside) >= 0.95


def test_every_value_has_an_uncertainty_and_every_missing_one_a_reason(case):
    for item in case[2].items:
        for key, value in item.values.items():
            assert (value is None) == (key in item.reasons), (item.name, key)
            assert (value is None) == (key not in item.uncertainties), (item.name, key)
            assert "mm" not in key or value is None or "slip" in key or value > 0


@pytest.mark.slow
def test_another_name_changes_no_number(case):
    _, labels, measured = case
    names = ("T10", "T11", "T12", "L1", "L2", "L3")
    array = np.zeros_like(labels.array)
    for old, new in zip(names, ("T11", "T12", "L1", "L2", "L3", "L4"), strict=True):
        array[labels.array == BY_NAME[old].value] = BY_NAME[new].value
    renamed = measure(labels.with_array(array))
    for kind in ("vertebra", "disc", "curve"):
        for item, other in zip(measured.of(kind), renamed.of(kind), strict=True):
            for key, value in item.values.items():
                if key not in ("height_loss_percent", "genant_grade"):
                    assert other.values[key] == pytest.approx(value, abs=1e-6), (item.name, key)
                    if value is not None:
                        width = other.uncertainties[key]
                        assert width == pytest.approx(item.uncertainties[key], abs=1e-6)


@pytest.mark.parametrize(
    ("value", "drawn", "reason"),
    [
        (5.0, [5.4, 4.6, 5.5, 4.5], ""),
        (1.0, [2.0, 0.0, 2.2, -0.2], "not larger than its uncertainty of 2.8 mm"),
        (15.0, [19.0, 11.0, 18.0, 12.0], "uncertain by 8.8 mm"),
        (5.0, [None, None, None, 5.0], "not stable: half a voxel decides"),
    ],
    ids=["small", "below its uncertainty", "too uncertain", "lost in most draws"],
)
def test_a_void_value_is_replaced_by_a_reason(value, drawn, reason):
    item = Item("disc", "L1-L2", {"middle_disc_mm": value})
    draws = [[replace(item, values={"middle_disc_mm": v})] for v in drawn]
    (found,) = with_uncertainties([item], draws)
    assert (found.values["middle_disc_mm"] is None) == bool(reason)
    assert found.reasons.get("middle_disc_mm", "").startswith(reason)
    assert bool(found.uncertainties) == (not reason)


def test_cut_levels_are_less_certain():
    item = Item("vertebra", "L1", {"middle_height_mm": 25.0})
    draws = [[replace(item, values={"middle_height_mm": 25.0 + k})] for k in (-0.5, 0.5)]
    (usual,), (cut,) = with_uncertainties([item], draws), with_uncertainties([item], draws, {"L1"})
    widths = [found.uncertainties["middle_height_mm"] for found in (usual, cut)]
    assert widths[1] == pytest.approx(1.5 * widths[0])


def test_the_calibration_adds_its_own_uncertainty():
    item = Item("vertebra", "L1", {"trabecular_mg_ml": 120.0})
    draws = [[replace(item, values={"trabecular_mg_ml": 120.0 + k})] for k in (-1, 1)]
    (found,) = with_uncertainties([item], draws, known={"trabecular_mg_ml": 6.0})
    own = with_uncertainties([item], draws)[0].uncertainties["trabecular_mg_ml"]
    assert found.uncertainties["trabecular_mg_ml"] == pytest.approx(np.hypot(own, 6.0))


def test_a_curve_that_ends_beside_a_cut_is_not_given():
    tilts = np.stack([np.linspace(20, -20, 5), np.zeros(5)], axis=1)
    labels = draw(stack(("T12", "L1", "L2", "L3", "L4"), tilts), (2.0, 2.0, 2.0), np.eye(3))
    values = Given(draws=0)
    whole = measure(labels, given=values)
    assert [item.name for item in whole.of("curve")] == ["T12-L4"]
    cut = measure(labels, known_cuts={"T12": ("superior",)}, given=values)
    assert cut.of("curve") == []
    assert any("coronal curve L1-L4 is not given" in note for note in cut.notes)


def test_foramina_have_their_true_height():
    vertebrae = stack(("L1", "L2"), np.zeros((2, 2)), size=(36.0, 28.0, 22.0))
    (disc,) = measure(draw(vertebrae, (1.0, 0.8, 0.8), np.eye(3)), given=Given(draws=0)).of("disc")
    # Pedicles are half as high as bodies: 22 mm body, 9 mm disc.
    for side in ("left", "right"):
        assert disc.values[f"{side}_foramen_mm"] == pytest.approx(20.0, abs=0.6)


def test_densities_follow_the_calibration_line(tmp_path: Path):
    labels = draw(stack(("L1",), np.zeros((1, 2))), (2.0, 1.5, 1.5), np.eye(3))
    image = labels.with_array(np.full(labels.array.shape, 150, np.int16))
    given = Given(Calibration(0.8, 5.0), draws=0)
    assert measure(labels, image, "ct", given=given).items[0].values["trabecular_mg_ml"] == 125
    none = measure(labels, image, "ct", given=Given(draws=0)).items[0]
    assert none.reasons["trabecular_mg_ml"] == "no calibration is given"
    assert read_calibration("0.8,5") == Calibration(0.8, 5.0)
    path = tmp_path / "line.json"
    path.write_text('{"schema": 1, "slope_mg_ml_per_hu": 0.8, "offset_mg_ml": 5}', "utf-8")
    assert read_calibration(str(path)) == Calibration(0.8, 5.0)
    for wrong in ("0.8", "a,b", "-1,0", "nan,0"):
        with pytest.raises(UserError, match=r"calibration|file"):
            read_calibration(wrong)


@pytest.mark.parametrize(
    ("level", "front", "grade_of"),
    [("L5", 25.0, (0, 0)), ("L5", 19.0, (20, 30)), ("T7", 18.6, (0, 0)), ("T7", 14.0, (20, 30))],
)
def test_height_losses_refer_to_the_usual_shape_of_the_level(level, front, grade_of):
    back = 20.0
    loss, _ = height_loss(dict(zip(HEIGHTS, (front, 21.5, back), strict=True)), [], level)
    assert grade_of[0] <= loss <= grade_of[1] + 0.5


def test_hips_give_the_pelvic_parameters():
    grid = np.indices((60, 80, 110)).transpose(1, 2, 3, 0) * 2.0
    array = np.zeros(grid.shape[:3], np.int16)
    for side, x in (("left", 170.0), ("right", 50.0)):
        off = np.linalg.norm(grid - (60.0, 80.0, x), axis=-1)
        array[(off > 27) & (off < 40) & (grid[..., 0] > 60)] = NUMBERS[f"hip_{side}"]
        array[off <= 24] = NUMBERS[f"femur_{side}"]
    geometry = Geometry(array.shape, (2.0, 2.0, 2.0), (0.0, 0.0, 0.0), np.eye(3))
    centres = hip_centres(Volume(array, geometry))
    np.testing.assert_allclose(centres, [(170, 80, 60), (50, 80, 60)], atol=1.0)
    with pytest.raises(UserError, match="left femur"):
        hip_centres(Volume(np.where(array == NUMBERS["hip_left"], 0, array), geometry))


def test_pelvic_incidence_is_the_sum_of_slope_and_tilt(shared_data):
    folder = shared_data / "totalsegmentator"
    labels = read_labels(folder / "ts_example_seg.nii.gz")
    numbers = {"femur_left": 1, "femur_right": 2, "hip_left": 3, "hip_right": 4}
    hips = hip_centres(read_labels(folder / "ts_example_structures.nii.gz"), numbers)
    given = Given(hips_lps_mm=hips, draws=0)
    angles = {i.name: i.values["angle_deg"] for i in measure(labels, given=given).of("angle")}
    slope, tilt, incidence = (
        angles[f"{n}"] for n in ("Sacral slope", "Pelvic tilt", "Pelvic incidence")
    )
    assert incidence == pytest.approx(slope + tilt)
    assert 20 < slope < 60
    assert -10 < tilt < 35
    assert 30 < incidence < 85


def test_a_file_without_uncertainties_is_still_read(tmp_path: Path, case):
    values = case[2].to_json()
    for item in values["items"]:
        del item["uncertainties"]
    path = tmp_path / "old.json"
    path.write_text(json.dumps(values), "utf-8")
    assert read_measurements(path).items[0].uncertainties == {}


@pytest.mark.slow
def test_numbers_of_perturbed_labels_agree_within_their_uncertainties(case):
    vertebrae, labels, measured = case
    # The same spine on another grid: the voxels differ, the spine does not.
    direction = np.asarray(labels.geometry.direction_lps)
    other = measure(draw(vertebrae, random_spacing_mm(5, "clinical"), direction))
    found = list(differences(measured, other))
    assert len(found) > 80
    assert np.mean([not difference.is_beyond for difference in found]) >= 0.95
