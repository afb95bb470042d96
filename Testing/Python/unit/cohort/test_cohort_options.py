"""Options of a cohort reach the jobs of its cases, also through a cluster."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import pytest

from spinemamba.cli.cohort import add_arguments
from spinemamba.cli.cohort_arguments import options_of, words_of
from spinemamba.cohort.find import find_cases
from spinemamba.cohort.other_levels import files_with_levels, with_levels_from
from spinemamba.cohort.state import CaseStates, CohortOptions
from spinemamba.common.errors import UserError
from spinemamba.protocol.cohort import Fingerprint
from spinemamba.protocol.job import CohortJob

ALL_OPTIONS = (
    *("--also", "stl", "nifti", "--modality", "mr", "--quality", "fast", "--precision", "float32"),
    *("--no-measurements", "--keep-pieces", "--fine-slices", "--retry-failed", "--overwrite"),
)


def parsed(*words: str) -> argparse.Namespace:
    """Parse arguments of the command."""
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return parser.parse_args(["in", "out", *words])


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    """Folder with files that have the names of images."""
    folder = tmp_path / "in"
    folder.mkdir()
    for name in "abc":
        (folder / f"{name}.nii.gz").write_bytes(name.encode())
    return folder


def test_a_job_of_a_cluster_has_all_options(tmp_path: Path):
    args = parsed(*ALL_OPTIONS, "--levels-from", str(tmp_path / "before"), "--workers", "2")
    again = parsed(*words_of(args)[2:])
    assert again.cases_only
    assert options_of(again) == replace(options_of(args), model=again.model)
    for name in ("levels_from", "retry_failed", "overwrite", "workers", "device"):
        assert getattr(again, name) == getattr(args, name)


def test_a_case_is_segmented_with_the_options_of_segment(tmp_path: Path):
    job = CohortJob(
        tmp_path / "a.nii.gz",
        tmp_path / "cases" / "a",
        case="a",
        source="a.nii.gz",
        fingerprint=Fingerprint("a" * 64, "b" * 64, "c" * 64),
        keep_pieces=True,
        fine_slices=True,
        levels_from=tmp_path / "before",
    )
    alone = job.segment_job(tmp_path)
    assert (alone.keep_pieces, alone.fine_slices) == (True, True)
    assert alone.levels_from == tmp_path / "before"
    assert tmp_path / "before" in job.inputs


@pytest.mark.parametrize(
    ("made", "levels_from"),
    [
        (("cases/b/b.seg.nrrd", "cases/b/b_result.json"), "cases/b"),
        (("b/labels.nii.gz",), "b"),
        (("b_result.json", "b.seg.nrrd"), "b_result.json"),
        (("b.nii.gz",), "b.nii.gz"),
    ],
)
def test_levels_are_found_by_the_name_of_the_case(
    scans: Path, tmp_path: Path, made: tuple[str, ...], levels_from: str
):
    before = tmp_path / "before"
    for name in made:
        (before / name).parent.mkdir(parents=True, exist_ok=True)
        (before / name).touch()
    listing = with_levels_from(find_cases(str(scans)), before)
    assert [c.levels_from for c in listing.cases] == [None, before / levels_from, None]
    assert set(files_with_levels(before / levels_from)) == {before / name for name in made}


def test_a_folder_without_any_of_the_names_is_refused(scans: Path, tmp_path: Path):
    (tmp_path / "before").mkdir()
    with pytest.raises(UserError, match="has no result for any of the cases"):
        with_levels_from(find_cases(str(scans)), tmp_path / "before")


def test_a_table_names_the_other_scan_of_a_case(scans: Path, tmp_path: Path):
    (tmp_path / "old.nii.gz").touch()
    table = tmp_path / "list.csv"
    table.write_text("image,levels_from\nin/a.nii.gz,old.nii.gz\nin/b.nii.gz,\n", encoding="utf-8")
    cases = find_cases(str(table)).cases
    assert [case.levels_from for case in cases] == [tmp_path / "old.nii.gz", None]
    table.write_text("image,levels_from\nin/a.nii.gz,none.nii.gz\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"Row 2 of list\.csv: none\.nii\.gz in"):
        find_cases(str(table))


def test_other_levels_and_options_make_a_result_another_one(scans: Path, tmp_path: Path):
    old = tmp_path / "a.nii.gz"
    old.write_bytes(b"1")
    case = find_cases(str(scans)).cases[0]

    def options_sha256(levels_from: Path | None, **options: bool) -> str:
        states = CaseStates(tmp_path / "out", CohortOptions(**options))
        return states.identify(replace(case, levels_from=levels_from))[0].options_sha256

    plain, with_levels = options_sha256(None), options_sha256(old)
    old.write_bytes(b"2")
    found = [plain, with_levels, options_sha256(old)]
    found += [options_sha256(None, keep_pieces=True), options_sha256(None, fine_slices=True)]
    assert len(set(found)) == 5
    assert options_sha256(None) == plain
