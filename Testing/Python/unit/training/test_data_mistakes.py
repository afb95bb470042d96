"""Mistakes of those who put a data set together, and what they are told."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from data_sets import phantom, save, write_verse

from spinemamba.cli.main import main
from spinemamba.common.errors import UserError
from spinemamba.training.layouts.bids import subject_in
from spinemamba.training.layouts.find import find_dataset


@pytest.mark.parametrize(("part", "code"), [("03test", 2), ("01training", 0)])
def test_an_image_that_occurs_twice_is_told(part: str, code: int, tmp_path: Path, capsys):
    write_verse(tmp_path)
    source = tmp_path / "dataset-01training"
    for path in list(source.rglob("sub-verse001_*.nii.gz")):
        kind = path.relative_to(source).parts[0]
        place = tmp_path / f"dataset-{part}" / kind / "sub-verse009"
        place.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, place / path.name.replace("verse001", "verse009"))
    assert main(["check-data", str(tmp_path)]) == code
    said = capsys.readouterr()
    text = said.err if code else said.out
    assert "the same image as that of sub-verse009" in text


@pytest.mark.parametrize(
    ("texts", "subject"),
    [
        (("sub-7_T1w",), "sub-7"),
        (("T1w", "scans/sub-7/ses-1/T1w.nii.gz"), "sub-7"),
        (("sub-7_T1w", "sub-8/sub-7_T1w.nii.gz"), "sub-7"),
        (("case", "in/case.nii.gz"), ""),
    ],
)
def test_the_subject_of_bids_is_read_from_names_and_paths(texts: tuple[str, ...], subject: str):
    assert subject_in(*texts) == subject


def test_the_folder_of_cases_of_a_cohort_names_its_parent(tmp_path: Path):
    (tmp_path / "cases" / "one").mkdir(parents=True)
    (tmp_path / "cases" / "one" / "case.json").write_text("{}")
    with pytest.raises(UserError, match="output of a cohort"):
        find_dataset(tmp_path / "cases")


def test_a_file_instead_of_a_folder_is_told(tmp_path: Path):
    path = save(phantom(1).image, tmp_path / "scan.nii.gz")
    with pytest.raises(UserError, match="is a file"):
        find_dataset(path)


def test_files_without_a_partner_beside_pairs_are_named(tmp_path: Path):
    for name in ("one", "one_seg", "two", "two-labels"):
        (tmp_path / f"{name}.nii.gz").touch()
    dataset = find_dataset(tmp_path)
    assert [case.name for case in dataset.cases] == ["one"]
    (note,) = dataset.notes
    assert note.endswith("two-labels.nii.gz, two.nii.gz")
