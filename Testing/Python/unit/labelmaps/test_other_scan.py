"""Another scan with named vertebrae: results with labels, folders, and labels of any kind."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from synthetic_labels import Part, masks, numbers_of, result_of, spine, write_numbers, write_parts

from spinemamba.anatomy.labels import BY_NAME
from spinemamba.cli.main import main
from spinemamba.common.errors import UserError
from spinemamba.imaging.write import write_image
from spinemamba.labelmaps.other_scan import read_other_scan
from spinemamba.levels.scan_match import match_scans
from spinemamba.protocol.result import read_result

NAMES = ("T11", "T12", "L1", "L2", "L3")
OTHER_NAMES = ("T12", "L1", "L2", "L3", "L4")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the labels and the result of a run."""
    run = tmp_path / "run"
    run.mkdir()
    write_image(spine(*NAMES), run / "a.nii.gz")
    result_of(spine(*NAMES), NAMES).write(run / "a_result.json")
    return run


@pytest.mark.parametrize("name", ["", "a.nii.gz", "a_result.json"])
def test_a_result_is_read_with_its_labels(folder: Path, name: str):
    scan = read_other_scan(folder / name)
    assert tuple(outline.level for outline in scan.outlines) == NAMES
    assert {outline.certainty for outline in scan.outlines} == {0.7}
    assert scan.source == (name or "run")


@pytest.mark.parametrize("kind", ["named segments", "other numbers"])
def test_labels_of_other_software_are_read_without_a_result(kind: str, tmp_path: Path):
    volume = spine(*NAMES)
    if kind == "named segments":
        pairs = enumerate(zip(NAMES, masks(volume, NAMES), strict=True), start=1)
        parts = [Part(name, mask, value) for value, (name, mask) in pairs]
        path = write_parts(tmp_path / "a.seg.nrrd", volume, parts)
    else:
        numbers = numbers_of("totalsegmentator", NAMES)
        path = write_numbers(tmp_path / "a.nii.gz", volume, numbers)
    scan = read_other_scan(path)
    assert tuple(outline.level for outline in scan.outlines) == NAMES
    assert not scan.in_doubt


def test_doubt_and_frame_of_reference_are_those_of_the_result(folder: Path):
    result = replace(read_result(folder / "a_result.json"), level_doubt="likely")
    replace(result, frame_of_reference="f").write(folder / "a_result.json")
    scan = read_other_scan(folder)
    assert (scan.in_doubt, scan.frame) == (True, "f")


def two_results(folder: Path) -> Path:
    shutil.copy(folder / "a_result.json", folder / "b_result.json")
    return folder


def no_labels(folder: Path) -> Path:
    (folder / "a.nii.gz").unlink()
    return folder / "a_result.json"


def other_labels(folder: Path) -> Path:
    write_image(spine(*OTHER_NAMES), folder / "a.nii.gz")
    return folder / "a_result.json"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (two_results, "run has 2 results"),
        (no_labels, "The labels of a_result.json are not beside it"),
        (other_labels, "a.nii.gz does not belong to a_result.json"),
    ],
)
def test_a_result_without_its_labels_is_refused(folder: Path, change, message: str):
    with pytest.raises(UserError, match=message):
        read_other_scan(change(folder))


def test_labels_beside_the_result_of_another_run_are_read_alone(folder: Path):
    scan = read_other_scan(other_labels(folder).with_name("a.nii.gz"))
    assert tuple(outline.level for outline in scan.outlines) == OTHER_NAMES
    assert {outline.certainty for outline in scan.outlines} == {1.0}


def test_relabel_takes_the_levels_from_another_scan(folder: Path, tmp_path: Path, capsys):
    volume = spine(*NAMES)
    old = dict(zip(NAMES, (BY_NAME[name].value for name in OTHER_NAMES), strict=True))
    other = write_numbers(tmp_path / "old.nii.gz", volume, old)
    files = [str(folder / "a_result.json"), str(folder / "a.nii.gz"), str(tmp_path / "b.nii.gz")]
    assert main(["relabel", *files, "--levels-from", str(other)]) == 0
    result = read_result(tmp_path / "b_result.json")
    assert tuple(item.name for item in result.instances) == OTHER_NAMES
    assert result.levels_from.source == "old.nii.gz"
    assert result.levels_from.fixed
    assert dict(result.fixed_levels) == dict(enumerate(OTHER_NAMES, start=1))
    assert "L4" in capsys.readouterr().out


def test_relabel_refuses_a_scan_without_a_common_vertebra(folder: Path, tmp_path: Path, capsys):
    other = tmp_path / "old.nii.gz"
    write_image(spine("C3", "C4"), other)
    files = [str(folder / "a_result.json"), str(folder / "a.nii.gz"), str(tmp_path / "b.nii.gz")]
    assert main(["relabel", *files, "--levels-from", str(other)]) == 2
    assert "old.nii.gz" in capsys.readouterr().err
    assert not (tmp_path / "b.nii.gz").exists()


def test_the_labels_of_a_run_are_matched_with_themselves(folder: Path):
    scan = read_other_scan(folder)
    match = match_scans(scan.outlines, scan)
    assert match.levels == {BY_NAME[name].value: name for name in NAMES}
