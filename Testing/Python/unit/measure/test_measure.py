"""Measurements against vertebrae of known geometry, on oblique grids of many spacings."""

from __future__ import annotations

import json
import re
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from analytic_spine import angle_deg, draw, random_spacing_mm, random_stack, slip_mm, stack
from scipy.spatial.transform import Rotation

from spinemamba.anatomy.labels import BY_NAME
from spinemamba.cli.main import main
from spinemamba.common.errors import UserError
from spinemamba.imaging.volume import Volume
from spinemamba.imaging.write import write_image
from spinemamba.labelmaps.read import read_vertebra_labels
from spinemamba.measure.curves import Tilt, difference_deg, find_curves
from spinemamba.measure.given import Given
from spinemamba.measure.spine import measure
from spinemamba.measure.vertebra import genant_grade, height_loss
from spinemamba.protocol.measurements import KINDS, Measurements, read_measurements
from spinemamba.protocol.quantities import BY_KEY, QUANTITIES

EXACT = Given(draws=0)
HEIGHTS = ("anterior_height_mm", "middle_height_mm", "posterior_height_mm")
NAMES = ("T10", "T11", "T12", "L1", "L2", "L3")
SMALL = {"size": (36.0, 28.0, 22.0)}


def by_name(measured: Measurements, kind: str) -> dict[str, dict[str, float | None]]:
    return {item.name: item.values for item in measured.of(kind)}


# Spines of few voxels; finer ones are in test_measure_coarse.py.
@pytest.fixture(scope="module", params=[4, pytest.param(7, marks=pytest.mark.slow)])
def case(request: pytest.FixtureRequest) -> tuple[list, Measurements]:
    vertebrae, direction = random_stack(request.param)
    labels = draw(vertebrae, random_spacing_mm(request.param, "clinical"), direction)
    return vertebrae, measure(labels, given=EXACT)


def test_heights_are_accurate_to_half_a_millimetre(case):
    vertebrae, measured = case
    found = by_name(measured, "vertebra")
    for vertebra in vertebrae:
        heights = [found[vertebra.name][key] for key in HEIGHTS]
        np.testing.assert_allclose(heights, vertebra.heights(), atol=0.5)


def test_cobb_angles_are_accurate_to_a_degree_in_both_planes(case):
    vertebrae, measured = case
    for axis, view in enumerate(("coronal", "sagittal")):
        angles = [
            angle_deg(upper.normal(1), lower.normal(-1), axis)
            for k, upper in enumerate(vertebrae)
            for lower in vertebrae[k + 2 :]
        ]
        true = max(angles, key=abs)
        found = [item for item in measured.of("curve") if item.view == view]
        assert len(found) == (abs(true) >= 10)
        for item in found:
            value = item.values["cobb_deg"]
            assert abs(value) == pytest.approx(abs(true), abs=1.0)
            if view == "sagittal":
                assert (value > 0) == (true > 0)
            else:
                assert item.words["what"] == f"convex to the {'right' if true > 0 else 'left'}"


def test_slips_are_accurate_to_half_a_millimetre(case):
    vertebrae, measured = case
    found = by_name(measured, "disc")
    for upper, lower in pairwise(vertebrae):
        slip = found[f"{upper.name}-{lower.name}"]["slip_mm"]
        assert slip == pytest.approx(slip_mm(upper, lower), abs=0.5)


@pytest.mark.parametrize("depth_mm", [0.0, 3.0, 6.0])
def test_a_biconcave_body_has_its_heights(depth_mm: float):
    size = (36.0, 28.0, 28.0)
    vertebrae = stack(NAMES[3:], np.zeros((3, 2)), 10.0, size=size)
    direction = Rotation.from_euler("xyz", (12, 7, 5), degrees=True).as_matrix()
    labels = draw(vertebrae, (1.0, 1.0, 1.0), direction)
    voxels = np.argwhere(labels.array == BY_NAME["L2"].value)
    frame = (labels.geometry.to_lps_mm(voxels) - vertebrae[1].centre) @ vertebrae[1].axes.T
    radius = np.hypot(frame[:, 0] / size[0], frame[:, 1] / size[1])
    dish = depth_mm * np.maximum(1 - (radius / 0.45) ** 2, 0)
    lost = (radius < 0.45) & (np.abs(frame[:, 2]) > size[2] / 2 - dish)
    labels.array[tuple(voxels[lost].T)] = 0
    found = by_name(measure(labels, given=EXACT), "vertebra")["L2"]
    middle, end = (size[2] - 2 * depth_mm * (1 - (y / 0.45) ** 2) for y in (0.0, 0.35))
    assert [found[key] for key in HEIGHTS] == pytest.approx([end, middle, end], abs=1.3)


def test_a_fractured_vertebra_of_a_real_body_has_its_heights(shared_data):
    path = shared_data / "totalsegmentator" / "s0327_maskonly_seg.nii.gz"
    if not path.is_file():
        pytest.skip("no case s0327")
    found = by_name(measure(read_vertebra_labels(path).volume, given=EXACT), "vertebra")
    middles = [found[name]["middle_height_mm"] for name in ("L2", "L3", "L4")]
    assert middles == pytest.approx([26.0, 19.2, 26.8], abs=1.0)


def test_discs_and_canal_have_their_true_sizes():
    vertebrae = stack(NAMES[:3], np.zeros((3, 2)), 10.0, **SMALL)
    direction = Rotation.from_euler("xyz", (12, 7, 5), degrees=True).as_matrix()
    measured = measure(draw(vertebrae, (1.3, 0.8, 0.8), direction), given=EXACT)
    for disc in measured.of("disc"):
        for place in ("anterior", "middle", "posterior"):
            assert disc.values[f"{place}_disc_mm"] == pytest.approx(10, abs=0.5)
        assert disc.values["disc_angle_deg"] == pytest.approx(0, abs=0.5)
    for vertebra in measured.of("vertebra"):
        assert vertebra.values["canal_depth_mm"] == pytest.approx(16, abs=0.8)
        assert vertebra.values["canal_width_mm"] == pytest.approx(22, abs=0.8)
        assert vertebra.values["width_mm"] == pytest.approx(36, abs=1.5)
        assert vertebra.values["depth_mm"] == pytest.approx(28, abs=0.8)


def test_the_width_of_a_round_canal_is_its_diameter():
    vertebrae = stack(NAMES[:2], np.zeros((2, 2)), 10.0, **SMALL, canal=(16.0, 15.0), rounded=True)
    for vertebra in measure(draw(vertebrae, (1.3, 0.8, 0.8), np.eye(3)), given=EXACT).of(
        "vertebra"
    ):
        assert vertebra.values["canal_width_mm"] == pytest.approx(16, abs=0.8)
        assert vertebra.values["canal_depth_mm"] == pytest.approx(15, abs=0.8)


def test_density_is_measured_in_the_middle_of_the_body_on_ct_only():
    vertebrae = stack(("L1", "L2"), np.zeros((2, 2)))
    labels = draw(vertebrae, (2.0, 1.0, 1.0), np.eye(3))
    image = labels.with_array(
        np.where(labels.array == BY_NAME["L1"].value, 150, 90).astype(np.int16)
    )
    found = by_name(measure(labels, image, "ct"), "vertebra")
    assert found["L1"]["trabecular_hu"] == pytest.approx(150)
    assert found["L2"]["trabecular_hu"] == pytest.approx(90)
    item = measure(labels, image, "mr").of("vertebra")[0]
    assert item.values["trabecular_hu"] is None
    assert item.reasons["trabecular_hu"] == "no CT in Hounsfield units was given"


def test_a_truncated_body_has_no_heights_but_keeps_its_whole_endplate():
    vertebrae = stack(("L1", "L2", "L3"), np.zeros((3, 2)))
    labels = draw(vertebrae, (1.5, 1.0, 1.0), np.eye(3))
    top_mm = vertebrae[0].centre[2] - labels.geometry.origin_lps_mm[2]
    kept = labels.array[: int(top_mm / 1.5)]
    geometry = labels.geometry.__class__(
        kept.shape, labels.spacing_mm, labels.geometry.origin_lps_mm, labels.geometry.direction_lps
    )
    measured = measure(Volume(np.ascontiguousarray(kept), geometry))
    first = measured.of("vertebra")[0]
    assert first.words["cut"] == "superior"
    for key in (*HEIGHTS, "volume_ml"):
        assert first.values[key] is None
        assert first.reasons[key] == "cut by the image"
    assert by_name(measured, "disc")["L1-L2"]["middle_disc_mm"] == pytest.approx(9, abs=0.5)
    lordosis = next(item for item in measured.of("angle") if item.name == "L1-L5")
    assert lordosis.reasons["angle_deg"] == "L1: cut by the image; L5 is not in the labels"


def test_no_disc_is_measured_across_a_missing_level():
    vertebrae = stack(("T12", "L1", "L2"), np.zeros((3, 2)))
    labels = draw([vertebrae[0], vertebrae[2]], (1.5, 1.0, 1.0), np.eye(3))
    assert measure(labels).of("disc") == []


def test_a_height_loss_has_a_type_and_a_grade():
    def heights(*values: float) -> dict[str, float]:
        return dict(zip(HEIGHTS, values, strict=True))

    whole = "L1", heights(20, 20, 20)
    assert height_loss(heights(14, 18, 20), [whole]) == (pytest.approx(30), "wedge")
    assert height_loss(heights(19, 15, 20), [whole]) == (pytest.approx(25), "biconcave")
    assert height_loss(heights(11, 11, 10), [whole, whole]) == (pytest.approx(50), "crush")
    assert height_loss(heights(25, 24, 22), [whole])[0] == 0
    assert height_loss({}, [whole]) is None
    assert [genant_grade(loss) for loss in (19.9, 20, 24.9, 25, 39.9, 40)] == [0, 1, 1, 2, 2, 3]


def test_an_s_shaped_spine_has_two_curves_that_share_an_end_vertebra():
    tilts = [0, 8, 16, 20, 12, 2, -8, -16, -10, 0]
    ends = [Tilt(f"V{k}", sign, tilt + sign) for k, tilt in enumerate(tilts) for sign in (1, -1)]
    found = find_curves(ends)
    assert [(c.upper.name, c.lower.name) for c in found] == [
        ("V0", "V3"),
        ("V3", "V7"),
        ("V7", "V9"),
    ]
    assert [round(c.deg) for c in found] == [18, -38, 14]


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [(10, 4, 6), (170, -170, -20), (-175, 175, 10), (-160, 200, 0), (350, -350, -20)],
)
def test_differences_of_angles_stay_within_180_degrees(one, other, expected):
    assert difference_deg(one, other) == pytest.approx(expected)


def test_a_curve_across_180_degrees_has_its_true_size():
    tilts = [160, 172, -176, -164]
    found = find_curves([Tilt(f"V{k}", s, t) for k, t in enumerate(tilts) for s in (1, -1)])
    assert [round(curve.deg) for curve in found] == [36]


def test_labels_without_a_vertebra_are_refused():
    empty = draw(stack(("L1",), np.zeros((1, 2))), (4.0, 4.0, 4.0), np.eye(3))
    with pytest.raises(UserError, match="no vertebra"):
        measure(empty.with_array(np.zeros_like(empty.array)))


def test_every_quantity_has_a_definition_a_unit_and_conditions():
    assert len(BY_KEY) == len(QUANTITIES)
    for quantity in QUANTITIES:
        assert quantity.kind in KINDS
        assert quantity.how.endswith(".")
        assert quantity.missing
        if quantity.key != "genant_grade":
            assert quantity.unit


def test_the_command_writes_files_that_can_be_read_again(tmp_path: Path, capsys):
    tilts = [(10.0, 8.0), (4.0, 14.0)]
    labels = draw(stack(("L1", "L2"), np.array(tilts)), (2.0, 1.5, 1.5), np.eye(3))
    write_image(labels, tmp_path / "doe.nii.gz")
    out = tmp_path / "out"
    assert main(["measure", str(tmp_path / "doe.nii.gz"), "--out", str(out), "--name", "case"]) == 0
    measured = read_measurements(out / "case_measurements.json")
    assert Measurements.from_json(json.loads(json.dumps(measured.to_json()))) == measured
    assert by_name(measured, "vertebra")["L2"]["middle_height_mm"] == pytest.approx(26, abs=0.5)
    rows = (out / "case_measurements.csv").read_text("utf-8").splitlines()
    numbers = sum(q.kind == k.kind for k in measured.items for q in QUANTITIES)
    assert len(rows) == 1 + len(measured.alerts) + numbers
    page = re.sub(r'src="[^"]*"', "", (out / "case_report.html").read_text("utf-8"))
    assert "doe" not in page
    assert "Not for clinical use" in page
    assert "L1-L2" in capsys.readouterr().out


@pytest.mark.parametrize("damage", [{"schema": 9}, {"items": 3}, {"more": 1}])
def test_a_damaged_file_is_refused(tmp_path: Path, damage: dict):
    measured = measure(draw(stack(("L1",), np.zeros((1, 2))), (2.0, 2.0, 2.0), np.eye(3)))
    path = tmp_path / "measurements.json"
    path.write_text(json.dumps(measured.to_json() | damage), encoding="utf-8")
    with pytest.raises(UserError, match=r"measurements\.json"):
        read_measurements(path)
