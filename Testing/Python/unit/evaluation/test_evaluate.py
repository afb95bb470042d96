"""Evaluation of cases: pairing of files, tables and the HTML page."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest

from spinemamba.cli.main import main
from spinemamba.common.errors import UserError
from spinemamba.evaluation.cases import case_name, find_cases
from spinemamba.evaluation.cohort import Spread, spread, summarize
from spinemamba.imaging.read import read_labels
from spinemamba.imaging.volume import Geometry, Volume
from spinemamba.imaging.write import write_image

L1, L2, L3 = 20, 21, 22
SHAPE = (12, 8, 8)
GEOMETRY = Geometry(SHAPE, (3.0, 1.0, 1.0), (0.0, 0.0, 0.0), np.eye(3))


def write(path: Path, *values: int) -> Path:
    """Write a label image: blocks of two slices, from the bottom, with a slice between."""
    array = np.zeros(SHAPE, np.uint8)
    for k, value in enumerate(values):
        array[1 + 3 * k : 3 + 3 * k, 2:6, 2:6] = value
    path.parent.mkdir(exist_ok=True)
    write_image(Volume(array, GEOMETRY), path)
    return path


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_suffixes_for_masks_and_images_are_not_part_of_the_case_name():
    names = {
        "sub-verse004_dir-ax_seg-vert_msk.nii.gz": "sub-verse004_dir-ax",
        "sub-verse004_dir-ax_ct.nii.gz": "sub-verse004_dir-ax",
        "spine_017.nii.gz": "spine_017",
        "spine_017_0000.nii.gz": "spine_017",
        "a.b.seg.nrrd": "a.b",
        "p_labels.NRRD": "p",
        "_seg.mha": "_seg",
    }
    assert {name: case_name(Path(name)) for name in names} == names


def test_folders_are_paired_by_case_and_images_are_ignored(tmp_path: Path):
    found = [write(tmp_path / "p" / name, L1) for name in ("b.nii.gz", "a_ct.nii.gz")]
    true = [write(tmp_path / "r" / f"{case}_seg-vert_msk.nii.gz", L1) for case in "ba"]
    write(tmp_path / "r" / "a_ct.nii.gz", L1)
    cases = find_cases(tmp_path / "p", tmp_path / "r")
    assert [(c.name, c.predicted, c.reference) for c in cases] == [
        ("a", found[1], true[1]),
        ("b", found[0], true[0]),
    ]


def test_a_duplicate_case_in_a_folder_is_refused(tmp_path: Path):
    for name in ("p/a.nii.gz", "r/a.nii.gz", "r/a.nrrd"):
        write(tmp_path / name, L1)
    with pytest.raises(UserError, match=r"a.nii.gz and a.nrrd in r are the same case"):
        find_cases(tmp_path / "p", tmp_path / "r")


def test_folders_without_a_common_case_are_refused(tmp_path: Path):
    write(tmp_path / "p" / "a.nii.gz", L1), write(tmp_path / "r" / "b.nii.gz", L1)
    with pytest.raises(UserError, match="No file in p has the name of one in r"):
        find_cases(tmp_path / "p", tmp_path / "r")


def test_a_table_names_pairs_relative_to_itself(tmp_path: Path):
    table = tmp_path / "pairs.csv"
    table.write_text("case,predicted,reference\none,p/a.nii.gz,r/b.nii.gz\n,c.nrrd,d.nrrd\n")
    cases = find_cases(table, None)
    assert [case.name for case in cases] == ["one", "c"]
    assert cases[0].reference == tmp_path / "r" / "b.nii.gz"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("predicted,truth\na,b\n", "has predicted, truth"),
        ("predicted,reference\n", "has no row"),
        ("predicted,reference\na,b\na,c\n", "the case a more than once"),
        ("predicted,reference\na,\n", "Row 2 of pairs.csv lacks a path"),
    ],
)
def test_an_incomplete_table_is_refused(tmp_path: Path, text: str, message: str):
    table = tmp_path / "pairs.csv"
    table.write_text(text)
    with pytest.raises(UserError, match=message):
        find_cases(table, None)


def test_paths_of_different_kinds_are_refused(tmp_path: Path):
    file = write(tmp_path / "a.nii.gz", L1)
    with pytest.raises(UserError, match="There is no reference for"):
        find_cases(file, None)
    with pytest.raises(UserError, match="a file and a folder"):
        find_cases(file, tmp_path)
    with pytest.raises(UserError, match="not found"):
        find_cases(file, tmp_path / "b.nii.gz")


def test_an_empty_label_image_is_read_and_a_ct_is_refused(tmp_path: Path):
    assert not read_labels(write(tmp_path / "a.nii.gz")).array.any()
    array = np.full(SHAPE, 0.25, np.float32)
    write_image(Volume(array, GEOMETRY), tmp_path / "b.nii.gz")
    with pytest.raises(UserError, match=r"values that are not labels, such as 0\.25"):
        read_labels(tmp_path / "b.nii.gz")


def test_one_pair_prints_each_vertebra_and_every_number(tmp_path: Path, capsys):
    found = write(tmp_path / "p.nii.gz", L3, L1)
    assert main(["evaluate", str(found), str(write(tmp_path / "r.nii.gz", L2, L1))]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].split() == ["L1", "L1", "1.000", "0.00", "0.00", "1.000", "0.00"]
    assert lines[3].split() == ["L2", "L3", "1.000", "0.00", "0.00", "0.000", "-"]
    assert lines[4:] == [
        "All vertebrae against background: Dice 1.000, HD95 0.00 mm, ASSD 0.00 mm",
        "Per vertebra, matched by overlap: Dice 1.000, HD95 0.00 mm, ASSD 0.00 mm",
        "Per vertebra, by name: Dice 0.500, HD95 0.00 mm, ASSD 0.00 mm",
        "Identification rate (VerSe, 20 mm): 0.500, 1 of 2; localisation distance 0.00 mm",
        "Named right: 1 of 2; missed 0, extra 0",
        "All levels right: 0 of 1 case",
        "Instance F1 1.000, panoptic quality 1.000",
    ]


@pytest.fixture
def cohort(tmp_path: Path) -> Path:
    """Three pairs (correct; L2 missed; one more beyond L1), and an unpaired segmentation."""
    for name, found, true in (
        ("a", (L2, L1), (L2, L1)),
        ("b", (0, L1), (L2, L1)),
        ("c", (L2, L1, 19), (L2, L1)),
    ):
        write(tmp_path / "p" / f"{name}.nii.gz", *found)
        write(tmp_path / "r" / f"{name}.nii.gz", *true)
    write(tmp_path / "p" / "lonely<b>.nii.gz", L1)
    return tmp_path


def evaluate(folder: Path, *options: str) -> int:
    return main(["evaluate", str(folder / "p"), str(folder / "r"), *options])


def test_tables_of_folders_equal_those_calculated_by_hand(cohort: Path, capsys):
    assert evaluate(cohort, "--out", str(cohort / "out"), "--skip-unmatched") == 0
    cases = rows(cohort / "out" / "cases.csv")
    assert [(c["case"], c["all_right"], c["dice_named"]) for c in cases] == [
        ("a", "yes", "1.0000"),
        ("b", "no", "0.5000"),
        ("c", "yes", "1.0000"),
    ]
    assert cases[2]["beyond"] == "T12"
    vertebrae = rows(cohort / "out" / "vertebrae.csv")
    states = [(v["case"], v["level"], v["state"]) for v in vertebrae]
    assert states[3:] == [
        ("b", "L2", "missed"),
        ("c", "L1", "right"),
        ("c", "L2", "right"),
        ("c", "T12", "beyond"),
    ]
    assert vertebrae[3]["hd95_matched_mm"] == vertebrae[3]["found_as"] == ""
    summary = json.loads((cohort / "out" / "evaluation.json").read_text())["summary"]
    assert (summary["cases"], summary["vertebrae"], summary["named_right"]) == (3, 6, 5)
    assert (summary["all_right"], summary["all_right_of"]) == (2, 3)
    # TP 5, FN 1.
    assert summary["f1_pooled"] == pytest.approx(10 / 11, abs=1e-4)
    assert summary["measures"]["dice_named"]["mean"] == pytest.approx(2.5 / 3, abs=1e-4)
    assert capsys.readouterr().err.splitlines() == ["1 of 3  a", "2 of 3  b", "3 of 3  c"]


def test_a_file_without_a_counterpart_is_an_error_of_its_case_only(cohort: Path, capsys):
    assert evaluate(cohort, "--out", str(cohort / "out")) == 2
    cases = rows(cohort / "out" / "cases.csv")
    assert [c["case"] for c in cases] == ["a", "b", "c", "lonely<b>"]
    assert "no reference" in cases[3]["error"]
    out = capsys.readouterr()
    assert "Named right: 5 of 6" in out.out
    assert "lonely<b>: There is no reference for this case." in out.err


def test_the_page_is_self_contained_and_lists_errors(cohort: Path):
    evaluate(cohort, "--out", str(cohort / "out"))
    page = (cohort / "out" / "evaluation.html").read_text(encoding="utf-8")
    assert not re.search(r"<script|<link|<img|src=|@import|url\(http", page)
    assert page.count("<svg") == page.count("</svg>") == 2  # by level, and the names
    assert "5 of 6" in page
    assert '<td class="missed">missed</td>' in page
    assert "lonely&lt;b&gt;" in page
    assert "lonely<b>" not in page
    evaluate(cohort, "--out", str(cohort / "again"))
    assert (cohort / "again" / "evaluation.html").read_text(encoding="utf-8") == page


def test_the_page_has_no_plot_of_distances_if_none_were_measured(cohort: Path):
    options = ("--no-distances", "--skip-unmatched", "--out", str(cohort / "out"))
    assert evaluate(cohort, *options) == 0
    page = (cohort / "out" / "evaluation.html").read_text(encoding="utf-8")
    assert "Dice, matched</text>" in page.replace("\n", "")
    assert "HD95, matched (mm)</text>" not in page


def test_output_files_contain_no_folder_of_the_computer(cohort: Path):
    evaluate(cohort, "--out", str(cohort / "out"))
    for path in (cohort / "out").iterdir():
        assert str(cohort) not in path.read_text(encoding="utf-8"), path.name


def test_a_missing_file_of_the_table_is_an_error(cohort: Path, capsys):
    table = cohort / "pairs.csv"
    table.write_text("predicted,reference\np/a.nii.gz,r/a.nii.gz\np/b.nii.gz,r/x.nii.gz\n")
    assert main(["evaluate", str(table), "--out", str(cohort / "out")]) == 2
    error = "There is no file x.nii.gz. Check the paths in the table."
    assert [c["error"] for c in rows(cohort / "out" / "cases.csv")] == ["", error]
    assert f"b: {error}" in capsys.readouterr().err


def test_an_output_folder_that_cannot_be_written_is_refused_first(cohort: Path, capsys):
    (cohort / "out").write_text("a file")
    assert evaluate(cohort, "--out", str(cohort / "out")) == 2
    assert "is not a folder" in capsys.readouterr().err


def test_an_evaluation_without_cases_does_not_crash():
    summary = summarize([])
    assert (summary.vertebrae, summary.all_right) == (0, (0, 0))
    assert np.isnan(summary.f1)
    assert np.isnan(summary.all_right_interval).all()


def test_a_spread_ignores_nan():
    nan = float("nan")
    assert spread([1.0, nan, 3.0]) == Spread(2.0, pytest.approx(2**0.5), 2.0, 1.0, 3.0, 2)
    assert spread([nan]).count == 0
    assert np.isnan(spread([5.0]).sd)
