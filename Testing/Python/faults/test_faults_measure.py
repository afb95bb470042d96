"""Measurements of spines with an unusual orientation or unusual levels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from analytic_spine import angle_deg
from curved_spine import (
    NAMES,
    flipped,
    measure_values,
    reference,
    renamed,
    turned,
    upright,
    values,
    vertebrae,
)
from scipy.spatial.transform import Rotation

from spinemamba.anatomy.labels import BY_NAME
from spinemamba.imaging.volume import Volume
from spinemamba.measure.stance import NO_SIDE
from spinemamba.protocol.measurements import Measurements

pytestmark = pytest.mark.faults


def about(axis: str, degrees: float) -> np.ndarray:
    return np.rint(Rotation.from_euler(axis, degrees, degrees=True).as_matrix())


def curves(measured: Measurements) -> dict[str, tuple[float, str]]:
    return {i.view: (i.values["cobb_deg"], i.words["what"]) for i in measured.of("curve")}


def test_an_upright_spine_has_its_true_angles():
    assert reference().alerts == ()
    true = [
        angle_deg(vertebrae()[0].normal(1), vertebrae()[-1].normal(-1), axis) for axis in (0, 1)
    ]
    found = curves(reference())
    assert found["coronal"] == (pytest.approx(abs(true[0]), abs=1.5), "convex to the right")
    assert found["sagittal"] == (pytest.approx(true[1], abs=1.5), "lordosis")
    lordosis = angle_deg(vertebrae()[1].normal(1), vertebrae()[-1].normal(-1), 1)
    angle = values(reference(), "angle", "L1-L5")["angle_deg"]
    assert angle == pytest.approx(lordosis, abs=1.5)
    assert values(reference(), "disc", "L3-L4")["slip_mm"] == pytest.approx(5, abs=1.2)


LIES = {
    "upside down": (about("y", 180), "L5 lies above T12"),
    "upside down and back to front": (about("x", 180), "L5 lies above T12"),
    "upside down by a mirror": (np.diag([1.0, 1.0, -1.0]), "L5 lies above T12"),
    "prone under a supine header": (about("z", 180), "the processes point to the front"),
    "back to front by a mirror": (np.diag([1.0, -1.0, 1.0]), "the processes point to the front"),
    "on its side": (about("z", 90), "the processes point to the right"),
    "along x": (about("y", 90), "L5 lies to the right of T12"),
    "along x, the other way": (about("y", -90), "L5 lies to the left of T12"),
    "along y": (about("x", 90), "L5 lies behind T12"),
    "along y, the other way": (about("x", -90), "L5 lies in front of T12"),
}


@pytest.mark.parametrize("how", LIES)
def test_a_spine_with_a_wrong_orientation_is_measured_in_its_own_planes(how: str, outcome):
    matrix, what = LIES[how]
    measured = measure_values(turned(upright(), matrix))
    assert len(measured.alerts) == 1
    assert f"The orientation in the header contradicts the spine: {what}." in measured.alerts[0]
    for item, true in zip(measured.items, reference().items, strict=True):
        assert (item.kind, item.name, item.view) == (true.kind, true.name, true.view)
        for key, value in true.values.items():
            if key in ("rotation_deg", "lateral_slip_mm", "left_foramen_mm", "right_foramen_mm"):
                assert item.values[key] is None
                assert item.reasons[key] == NO_SIDE
            elif value is None:
                assert item.values[key] is None
            else:
                assert item.values[key] == pytest.approx(value, abs=0.3), (item.name, key)
    assert curves(measured)["coronal"][1] == "side not known"
    assert curves(measured)["sagittal"][1] == "lordosis"
    outcome("how the spine lies", "right")


def test_endplates_are_given_in_the_coordinates_of_the_header():
    matrix = about("y", 180)
    for item, true in zip(
        measure_values(turned(upright(), matrix)).of("vertebra"),
        reference().of("vertebra"),
        strict=True,
    ):
        for place in ("centre_lps_mm", "body_lps_mm"):
            expected = matrix @ np.array(getattr(true, place))
            np.testing.assert_allclose(getattr(item, place), expected, atol=0.1)
        normal = item.plates["superior"].normal_lps
        np.testing.assert_allclose(
            normal, matrix @ np.array(true.plates["superior"].normal_lps), atol=0.01
        )


def test_a_truncated_vertebra_keeps_its_cut_side_in_any_orientation(outcome):
    labels = upright()
    top = np.flatnonzero((labels.array == BY_NAME["T12"].value).any(axis=(1, 2)))[-12]
    geometry = replace(labels.geometry, shape=(int(top), *labels.array.shape[1:]))
    cut = Volume(np.ascontiguousarray(labels.array[:top]), geometry)
    for matrix in (np.eye(3), about("y", 180), about("x", 90), about("y", 90)):
        first = measure_values(turned(cut, matrix)).of("vertebra")[0]
        assert (first.name, first.words["cut"]) == ("T12", "superior")
        assert first.values["volume_ml"] is None
    outcome("how the spine lies", "right")


@pytest.mark.parametrize("flip", [(0,), (1,), (2,), (0, 1, 2)])
def test_left_handed_axes_do_not_change_measurements(flip, outcome):
    measured = measure_values(flipped(upright(), flip))
    assert measured.alerts == ()
    for item, true in zip(measured.items, reference().items, strict=True):
        assert item.values == pytest.approx(true.values, abs=1e-6)
    outcome("how the spine lies", "right")


def test_a_mirrored_scoliosis_curves_to_the_other_side(outcome):
    measured = measure_values(turned(upright(), np.diag([-1.0, 1.0, 1.0])))
    angle = curves(reference())["coronal"][0]
    assert curves(measured)["coronal"] == (pytest.approx(angle, abs=0.3), "convex to the left")
    outcome("how the spine lies", "right")


@pytest.mark.parametrize(("axis", "verb"), [("y", "leans"), ("z", "looks")])
def test_an_oblique_spine_gets_a_note(axis: str, verb: str, outcome):
    matrix = Rotation.from_euler(axis, 30, degrees=True).as_matrix()
    alerts = measure_values(turned(upright(), matrix)).alerts
    assert len(alerts) == 1
    assert alerts[0].startswith(f"The spine {verb} to the side by ")
    outcome("how the spine lies", "right")


NAMED = {
    "neighbours swapped": {"L2": "L3", "L3": "L2"},
    "at the end swapped": {"L4": "L5", "L5": "L4"},
    "far ones swapped": {"T12": "L5", "L5": "T12"},
}


@pytest.mark.parametrize("how", NAMED)
def test_measurements_that_depend_on_swapped_levels_are_left_out(how, outcome):
    measured = measure_values(renamed(upright(), NAMED[how]))
    assert "the levels are not in order" in measured.alerts[0]
    angle = next(item for item in measured.of("angle") if item.name == "L1-L5")
    assert angle.values["angle_deg"] is None
    assert "the levels are not in order" in angle.reasons["angle_deg"]
    assert measured.of("curve") == []
    places = {name: NAMES.index(NAMED[how].get(name, name)) for name in NAMES}
    for disc in measured.of("disc"):
        upper, lower = disc.name.split("-")
        assert disc.values["slip_mm"] is None
        if places[lower] != places[upper] + 1:
            assert disc.values["middle_disc_mm"] is None
            reason = f"{upper} and {lower} are not neighbours in space"
            assert disc.reasons["middle_disc_mm"] == reason
        else:
            assert disc.values["middle_disc_mm"] == pytest.approx(9, abs=1)
    swapped = {new: old for old, new in NAMED[how].items()}
    for vertebra in measured.of("vertebra"):
        true = values(reference(), "vertebra", swapped.get(vertebra.name, vertebra.name))
        expected = pytest.approx(true["middle_height_mm"], abs=0.3)
        assert vertebra.values["middle_height_mm"] == expected
    outcome("names of levels", "right")


def test_two_levels_in_reverse_order_are_reported_with_both_causes(outcome):
    only = dict.fromkeys(("T12", "L1", "L4", "L5"))
    measured = measure_values(renamed(upright(), {**only, "L2": "L3", "L3": "L2"}))
    reason = "L3 lies above L2: either the header or the names are wrong"
    assert f"{reason}." in measured.alerts
    (disc,) = measured.of("disc")
    assert disc.values["middle_disc_mm"] == pytest.approx(9, abs=1)
    assert (disc.values["slip_mm"], disc.reasons["slip_mm"]) == (None, reason)
    outcome("names of levels", "right")


@pytest.mark.parametrize("second", ["L3", "L5"])
def test_a_level_with_two_bodies_has_no_measurements(second: str, outcome):
    measured = measure_values(renamed(upright(), {second: "L2"}))
    assert "The label of L2 contains two bodies." in measured.alerts
    double = next(item for item in measured.of("vertebra") if item.name == "L2")
    assert set(double.values.values()) == {None}
    assert double.reasons["volume_ml"] == "its label contains two bodies"
    for name in ("T12", "L1", "L4"):
        true = values(reference(), "vertebra", name)["middle_height_mm"]
        found = values(measured, "vertebra", name)["middle_height_mm"]
        assert found == pytest.approx(true, abs=0.3)
    outcome("names of levels", "right")


def test_an_unlabelled_vertebra_is_not_measured_as_a_high_disc(outcome):
    measured = measure_values(renamed(upright(), {"L2": None, "L3": "L2", "L4": "L3", "L5": "L4"}))
    assert [a for a in measured.alerts if "L1 and L2 are not neighbours in space" in a]
    disc = next(item for item in measured.of("disc") if item.name == "L1-L2")
    assert set(disc.values.values()) == {None}
    outcome("names of levels", "right")


def test_a_missing_t12_and_additional_t13_and_l6_are_in_order(outcome):
    whole = values(reference(), "angle", "L1-L5")["angle_deg"]
    measured = measure_values(renamed(upright(), {"L3": None}))
    assert measured.alerts == ()
    found = values(measured, "angle", "L1-L5")["angle_deg"]
    assert found == pytest.approx(whole, abs=0.1)
    more = {"T12": "T13"}, {"T12": "L1", "L1": "L2", "L2": "L3", "L3": "L4", "L4": "L5", "L5": "L6"}
    for names in more:
        measured = measure_values(renamed(upright(), names))
        assert measured.alerts == ()
        assert len(measured.of("disc")) == 5
        assert all(i.values["middle_disc_mm"] is not None for i in measured.of("disc"))
    outcome("names of levels", "right")


def test_a_stray_voxel_does_not_change_the_order_of_levels(outcome):
    array = upright().array.copy()
    where = np.argwhere(array == BY_NAME["L4"].value)[0]
    array[tuple(where)] = BY_NAME["T3"].value
    measured = measure_values(upright().with_array(array))
    assert measured.alerts == ()
    assert values(measured, "vertebra", "T3")["middle_height_mm"] is None
    found = values(measured, "angle", "L1-L5")["angle_deg"]
    assert found == pytest.approx(values(reference(), "angle", "L1-L5")["angle_deg"], abs=0.5)
    outcome("names of levels", "right")
