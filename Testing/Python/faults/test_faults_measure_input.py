"""Invalid input of measurements: images as labels, other grids, results of other runs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from curved_spine import flipped, measure_values, run_command, two_levels, upright, values
from scipy.spatial.transform import Rotation

from spinemamba.anatomy.labels import BY_NAME
from spinemamba.imaging.volume import Volume
from spinemamba.imaging.write import write_image
from spinemamba.labelmaps.same_run import extents
from spinemamba.protocol.level_doubt import level_warning
from spinemamba.protocol.measurements import read_measurements
from spinemamba.protocol.result import InstanceResult, LabelingResult, Result

pytestmark = pytest.mark.faults


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Labels, a CT of them, and an MR in few values."""
    folder, labels = tmp_path_factory.mktemp("measure"), two_levels()
    rng = np.random.default_rng(1)
    bone = labels.array > 0
    ct = rng.normal(np.where(bone, 300, 40), 40).astype(np.int16)
    few = np.clip(np.rint(rng.normal(np.where(bone, 6, 3), 1.2)), 0, 12).astype(np.uint8)
    arrays = {"labels": labels.array, "ct": ct, "shifted": ct + 1024, "few": few}
    for name, array in arrays.items():
        write_image(labels.with_array(array), folder / f"{name}.nii.gz")
    return folder


@pytest.mark.parametrize("image", ["ct", "shifted", "few"])
def test_an_image_in_place_of_labels_is_refused(image, folder, tmp_path, capsys, outcome):
    out = tmp_path / "out"
    command = ["measure", str(folder / f"{image}.nii.gz"), "--out", str(out)]
    code, output, error = run_command(command, capsys)
    assert (code, output) == (2, "")
    assert f"{image}.nii.gz holds values that are not labels" in error
    assert not out.exists()
    outcome("given to measure", "refused")


def test_a_mask_of_all_bone_is_refused(tmp_path, capsys, outcome):
    array = np.ones_like(upright().array)
    array[0, 0, 0] = 0
    write_image(upright().with_array(array), tmp_path / "bone.nii.gz")
    code, _, error = run_command(["measure", str(tmp_path / "bone.nii.gz")], capsys)
    assert code == 2
    assert "more than a vertebra can have" in error
    outcome("given to measure", "refused")


@pytest.mark.parametrize("numbers", ["the same", "others"])
def test_labels_in_place_of_the_image_are_refused(numbers, folder, tmp_path, capsys, outcome):
    array = upright().array.astype(np.int16) + (100 if numbers == "others" else 0)
    array[upright().array == 0] = 0
    write_image(upright().with_array(array), tmp_path / "again.nii.gz")
    command = ["measure", str(folder / "labels.nii.gz"), "--image", str(tmp_path / "again.nii.gz")]
    code, output, error = run_command(command, capsys)
    assert (code, output) == (2, "")
    assert "again.nii.gz is a label map, not a CT or MR" in error
    outcome("given to measure", "refused")


GRIDS = {
    "size": {"shape": None},
    "spacing": {"spacing_mm": (2.1, 2.0, 2.0)},
    "origin": {"origin_lps_mm": (0.0, 0.0, 500.0)},
    "direction": {"direction_lps": Rotation.from_euler("x", 5, degrees=True).as_matrix()},
}


DIFFERENCES = {
    "size": " voxels. ",
    "spacing": "voxels of 2 x 2 x 2.1 and 2 x 2 x 2 mm",
    "origin": "first voxels at 0, 0, 500 and at ",
    "direction": "axes rotated by 5 degrees",
}


@pytest.mark.parametrize("what", GRIDS)
def test_an_image_on_another_grid_is_refused_with_the_difference(
    what, folder, tmp_path, capsys, outcome
):
    array = np.random.default_rng(0).normal(0, 200, upright().array.shape).astype(np.int16)
    changes = dict(GRIDS[what])
    if what == "size":
        array = array[:-2]
        changes["shape"] = array.shape
    image = Volume(np.ascontiguousarray(array), replace(upright().geometry, **changes))
    write_image(image, tmp_path / "ct.nii.gz")
    command = ["measure", str(folder / "labels.nii.gz"), "--image", str(tmp_path / "ct.nii.gz")]
    code, _, error = run_command(command, capsys)
    assert code == 2
    assert "Image and labels have different grids: " in error
    assert DIFFERENCES[what] in error
    outcome("given to measure", "refused")


def test_an_image_with_another_axis_order_gives_the_same_measurements(outcome):
    image = upright().with_array(np.full(upright().array.shape, 120, np.int16))
    measured = measure_values(upright(), flipped(image, (0, 2)), "ct")
    assert values(measured, "vertebra", "L3")["trabecular_hu"] == pytest.approx(120)
    outcome("given to measure", "right")


def result_of(labels: Volume, **changes: object) -> Result:
    """Return the result of a run with these labels and levels in doubt."""
    instances = tuple(
        InstanceResult(
            id=k,
            label=BY_NAME[level.name].value,
            name=level.name,
            posterior=0.6,
            alternatives=(),
            level_probabilities=(0.04,) * 25,
            centroid_lps_mm=tuple(map(float, level.centroid_lps_mm)),
            volume_ml=level.volume_ml,
            complete=True,
            cut_sides=(),
            flags=(),
        )
        for k, level in enumerate(sorted(extents(labels), key=lambda x: -x.centroid_lps_mm[2]), 1)
    )
    names = tuple(item.name for item in instances)
    place = labels.geometry
    made = Result(
        run_id="r",
        model_name="m",
        model_version="1",
        model_hash="0" * 16,
        package_version="1",
        device="cpu",
        scan_backend="loop",
        modality="ct",
        seconds={},
        shape=place.shape,
        spacing_mm=place.spacing_mm,
        origin_lps_mm=place.origin_lps_mm,
        direction_lps=tuple(map(float, np.ravel(place.direction_lps))),
        instances=instances,
        labelings=(LabelingResult(names, 0.6), LabelingResult(("L3", *names[:-1]), 0.4)),
        ambiguous=True,
        warnings=(),
    )
    return replace(made, **changes)


IN_DOUBT = (
    "Check one level: L4 to L5 (60 %) or L3 to L4 (40 %). "
    "An image that shows the sacrum would decide."
)


def first_lines(out: Path, output: str) -> tuple[str, str, str, str]:
    """Return the alerts on the terminal, in JSON, in CSV, and on the page."""
    measured = read_measurements(out / "labels_measurements.json")
    row = (out / "labels_measurements.csv").read_text("utf-8").splitlines()[1]
    page = (out / "labels_report.html").read_text("utf-8").split("</header>")[1]
    return output.splitlines()[0], measured.alerts[0], row, page.split("</p>")[0]


def measured_with(labels: Volume, result: Result | str | None, folder: Path, capsys) -> tuple:
    write_image(labels, folder / "labels.nii.gz")
    if isinstance(result, Result):
        result.write(folder / "labels_result.json")
    elif result is not None:
        (folder / "labels_result.json").write_text(result, encoding="utf-8")
    command = ["measure", str(folder / "labels.nii.gz"), "--out", str(folder / "out")]
    code, output, _ = run_command(command, capsys)
    assert code == 0
    return first_lines(folder / "out", output)


def test_levels_in_doubt_give_an_alert(tmp_path, capsys, outcome):
    result = result_of(two_levels())
    assert level_warning(result.labelings, result.doubt) == IN_DOUBT
    for text in measured_with(two_levels(), result, tmp_path, capsys):
        assert IN_DOUBT in text
    outcome("result of the run", "right")


def test_certain_levels_give_no_alert(tmp_path, capsys, outcome):
    write_image(two_levels(), tmp_path / "labels.nii.gz")
    result_of(two_levels(), ambiguous=False).write(tmp_path / "labels_result.json")
    code, output, _ = run_command(["measure", str(tmp_path / "labels.nii.gz")], capsys)
    assert code == 0
    assert output.startswith("vertebra ")
    outcome("result of the run", "right")


def test_labels_without_a_result_are_called_not_verified(tmp_path, capsys, outcome):
    for text in measured_with(two_levels(), None, tmp_path, capsys):
        assert "Levels not verified: no result of a run is known for these labels." in text
    outcome("result of the run", "right")


OTHERS = {
    "grid": ("the run had another grid", lambda labels: {"shape": (9, 9, 9)}),
    "place": ("the run had another grid", lambda labels: {"origin_lps_mm": (5.0, 5.0, 5.0)}),
    "names": (
        "the run found no L5",
        lambda labels: {"instances": result_of(labels).instances[:-1]},
    ),
    "volumes": (
        "L4 has",
        lambda labels: {
            "instances": tuple(
                replace(item, volume_ml=1.2 * item.volume_ml)
                for item in result_of(labels).instances
            )
        },
    ),
    "places": (
        "L4 lies 50 mm away from where the run",
        lambda labels: {
            "instances": tuple(
                replace(item, centroid_lps_mm=tuple(np.add(item.centroid_lps_mm, (50, 0, 0))))
                for item in result_of(labels).instances
            )
        },
    ),
}


@pytest.mark.parametrize("what", OTHERS)
def test_a_result_of_other_labels_is_ignored_if_found_refused_if_given(
    what, tmp_path, capsys, outcome
):
    why, change = OTHERS[what]
    write_image(two_levels(), tmp_path / "labels.nii.gz")
    result_of(two_levels(), **change(two_levels())).write(tmp_path / "labels_result.json")
    command = ["measure", str(tmp_path / "labels.nii.gz")]
    code, output, _ = run_command(command, capsys)
    unverified, doubt = output.splitlines()[:2]
    said = "Levels not verified: labels_result.json is not the result of these labels ("
    assert code == 0
    assert unverified.startswith(said + why)
    assert doubt.startswith("Check one level")
    code, output, error = run_command(
        [*command, "--result", str(tmp_path / "labels_result.json")], capsys
    )
    assert (code, output) == (2, "")
    assert why in error
    outcome("result of the run", "refused")


def test_a_damaged_result_beside_the_labels_is_ignored(tmp_path, capsys, outcome):
    for text in measured_with(two_levels(), "{", tmp_path, capsys):
        assert "Levels not verified: labels_result.json is not the result of a run" in text
    outcome("result of the run", "right")
