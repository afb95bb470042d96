"""Relabelling a finished run with pinned levels."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from spinemamba.anatomy.labels import BY_NAME, NETWORK_LEVELS
from spinemamba.cli.main import main
from spinemamba.common.errors import UserError
from spinemamba.editing.relabel import new_values, relabel
from spinemamba.imaging.read import read_volume
from spinemamba.imaging.volume import Geometry, Volume
from spinemamba.imaging.write import write_image
from spinemamba.levels.pins import Pin, match_pins, parse_pin
from spinemamba.protocol.flags import Flag
from spinemamba.protocol.job import JOB, SegmentJob, read_job
from spinemamba.protocol.level_doubt import LEVELS_DIFFER
from spinemamba.protocol.result import (
    InstanceResult,
    LabelingResult,
    LevelsFrom,
    Result,
    read_result,
)

SHAPE = (8, 8, 8)
STEP_MM = 33.0
PIXEL_MM = (40_000 / 64 / STEP_MM) ** 0.5
"""Pixel size that gives a vertebra of one slice 40 mL."""

GRID = Geometry(
    SHAPE,
    (STEP_MM, PIXEL_MM, PIXEL_MM),
    (-3.5 * PIXEL_MM, -3.5 * PIXEL_MM, -6 * STEP_MM),
    np.eye(3),
)
WRONG = ("T12", "L1", "L2", "L3", "L4")
RIGHT = ("L1", "L2", "L3", "L4", "L5")


def level_evidence(name: str) -> tuple[float, ...]:
    values = np.full(len(NETWORK_LEVELS), 0.005)
    values[NETWORK_LEVELS.index(name)] = 0.8
    return tuple(values / values.sum())


def instance(number: int, name: str) -> InstanceResult:
    return InstanceResult(
        id=number,
        label=BY_NAME[name].value,
        name=name,
        posterior=0.7,
        alternatives=(),
        level_probabilities=level_evidence(name),
        centroid_lps_mm=(0.0, 0.0, -STEP_MM * number),
        volume_ml=40.0,
        complete=True,
        cut_sides=(),
        flags=(),
    )


@pytest.fixture
def shifted() -> Result:
    """A lumbar spine with evidence that is shifted by one level."""
    return Result(
        run_id="r",
        model_name="m",
        model_version="1",
        model_hash="h",
        package_version="0",
        device="cpu",
        scan_backend="torch-chunked",
        modality="ct",
        seconds={},
        shape=SHAPE,
        spacing_mm=GRID.spacing_mm,
        origin_lps_mm=GRID.origin_lps_mm,
        direction_lps=tuple(np.eye(3).ravel()),
        instances=tuple(instance(k, name) for k, name in enumerate(WRONG, start=1)),
        labelings=(LabelingResult(WRONG, 0.7),),
        ambiguous=False,
        warnings=("MR is experimental.",),
    )


def names(result: Result) -> tuple[str, ...]:
    return tuple(item.name for item in result.instances)


def test_without_a_pin_the_levels_stay(shifted: Result):
    assert names(relabel(shifted, {})) == WRONG


def test_one_pin_sets_all_levels_and_keeps_instance_numbers(shifted: Result):
    after = relabel(shifted, {5: "L5"})
    assert names(after) == RIGHT
    assert [item.id for item in after.instances] == [1, 2, 3, 4, 5]
    assert after.instances[4].posterior == pytest.approx(1.0)
    assert after.fixed_levels == ((5, "L5"),)
    assert after.warnings[0] == "MR is experimental."


def test_removing_a_pin_restores_the_levels(shifted: Result):
    assert names(relabel(relabel(shifted, {5: "L5"}), {})) == WRONG


def test_shape_flags_stay_and_level_flags_are_recomputed(shifted: Result):
    hole = Flag("hole", 0.02, "Has a hole (2 % of its volume).")
    old = Flag("level_uncertain", 0.5, "Level uncertain (50 %).")
    first = replace(shifted.instances[0], flags=(old, hole))
    before = replace(shifted, instances=(first, *shifted.instances[1:]))
    assert relabel(before, {5: "L5"}).instances[0].flags == (hole,)


def test_removing_a_pinned_sacrum_restores_the_levels(shifted: Result):
    after = relabel(shifted, {5: "Sacrum"})
    assert names(after)[-1] == "Sacrum"
    assert names(relabel(after, {})) == WRONG


def test_pins_in_an_impossible_order_are_refused(shifted: Result):
    with pytest.raises(UserError, match="No spine can have these levels: L4 for vertebra 2"):
        relabel(shifted, {2: "L4", 4: "L2"})


def test_relabelled_voxels_follow_the_new_levels(shifted: Result):
    after = relabel(shifted, {5: "L5"})
    old, new = ([BY_NAME[name].value for name in names] for names in (WRONG, RIGHT))
    assert new_values(shifted, after) == dict(zip(old, new, strict=True))


@pytest.mark.parametrize(
    ("text", "pin"),
    [
        ("L5#3", Pin("L5", number=3)),
        ("l5@1,-2.5,3e1", Pin("L5", place_lps_mm=(1.0, -2.5, 30.0))),
        ("sacrum#9", Pin("Sacrum", number=9)),
    ],
)
def test_a_pin_is_given_by_an_instance_number_or_a_position(text: str, pin: Pin):
    assert parse_pin(text) == pin


@pytest.mark.parametrize("text", ["L5", "L5@1,2", "L5@a,b,c", "L9#1", "Coccyx#1", "L5@nan,0,0", ""])
def test_an_invalid_pin_is_refused(text: str):
    with pytest.raises(UserError, match=r"is not a (pin|level)"):
        parse_pin(text)


def test_a_pinned_position_selects_the_nearest_vertebra(shifted: Result):
    pins = [Pin("L2", place_lps_mm=(5.0, 0.0, -70.0)), Pin("L1", number=1)]
    assert match_pins(pins, shifted.instances) == {2: "L2", 1: "L1"}


@pytest.mark.parametrize(
    ("pins", "says"),
    [
        ([Pin("L2", place_lps_mm=(500.0, 0.0, 0.0))], "No vertebra is near 500, 0, 0"),
        ([Pin("L2", number=9)], "There is no vertebra 9"),
        ([Pin("L2", number=1), Pin("L3", number=1)], "pinned as L2 and as L3"),
    ],
)
def test_pins_without_a_vertebra_or_on_the_same_one_are_refused(shifted: Result, pins, says: str):
    with pytest.raises(UserError, match=says):
        match_pins(pins, shifted.instances)


def test_pins_are_unchanged_after_writing_and_reading_a_job(tmp_path: Path):
    job = SegmentJob(tmp_path / "a.nrrd", tmp_path / "b.nrrd", fixed_levels=("L5@1,2,3",))
    JOB.write(job, tmp_path / "job.json")
    assert read_job(tmp_path / "job.json") == job


@pytest.fixture
def files(shifted: Result, tmp_path: Path) -> tuple[str, str]:
    array = np.zeros(SHAPE, np.uint8)
    array[1:6] = np.array([BY_NAME[n].value for n in WRONG], np.uint8)[::-1, None, None]
    write_image(Volume(array, GRID), tmp_path / "a.nrrd")
    shifted.write(tmp_path / "a_result.json")
    return str(tmp_path / "a_result.json"), str(tmp_path / "a.nrrd")


def test_the_command_writes_labels_and_result_with_the_pin(files, tmp_path: Path, capsys):
    new = tmp_path / "b.seg.nrrd"
    assert main(["relabel", *files, str(new), "--pin", "L5#5"]) == 0
    assert names(read_result(tmp_path / "b_result.json")) == RIGHT
    values = np.unique(read_volume(new).array).tolist()
    assert values == [0, *(BY_NAME[name].value for name in RIGHT)]
    assert "L5" in capsys.readouterr().out
    # Earlier pins still apply.
    again = [str(tmp_path / "b_result.json"), str(new), str(tmp_path / "c.nrrd")]
    assert main(["relabel", *again]) == 0
    assert read_result(tmp_path / "c_result.json").fixed_levels == ((5, "L5"),)


def test_the_command_refuses_the_labels_of_another_run(files, shifted, tmp_path: Path, capsys):
    replace(shifted, shape=(9, 9, 9)).write(tmp_path / "other_result.json")
    words = ["relabel", str(tmp_path / "other_result.json"), files[1], str(tmp_path / "b.nrrd")]
    assert main(words) == 2
    assert "do not belong to this result.json" in capsys.readouterr().err
    assert not (tmp_path / "b.nrrd").exists()


def test_the_command_does_not_overwrite_the_files_of_the_run(files, capsys):
    assert main(["relabel", *files, files[1]]) == 2
    assert "belongs to the run itself" in capsys.readouterr().err


def test_the_command_names_files_that_keep_the_earlier_levels(files, tmp_path: Path, capsys):
    (tmp_path / "b_report.png").touch()
    call = ["relabel", *files, str(tmp_path / "b.nrrd"), "--pin", "L5#5", "--overwrite"]
    assert main(call) == 0
    assert "Not renamed" not in capsys.readouterr().out
    assert main(call) == 0
    assert f"Not renamed: {tmp_path / 'b_report.png'} was made" in capsys.readouterr().out


def test_the_difference_from_another_scan_is_stated_for_the_new_levels(shifted):
    found = LevelsFrom(
        *("before.seg.nrrd", "shape", "found"),
        fixed=False,
        offset=0,
        score_mm=1.0,
        levels=tuple(enumerate(RIGHT, start=1)),
        second_levels=(),
        second_score_mm=None,
    )
    result = replace(
        shifted, levels_from=found, warnings=(f"{LEVELS_DIFFER}before: L9 instead of L1.", "Look.")
    )
    wrong = relabel(result, {5: "L4"}).warnings
    (text,) = [text for text in wrong if text.startswith(LEVELS_DIFFER)]
    assert "before.seg.nrrd: T12 instead of L1, L1 instead of L2" in text
    assert "Look." in wrong
    right = relabel(result, {5: "L5"}).warnings
    assert not any(text.startswith(LEVELS_DIFFER) for text in right)
