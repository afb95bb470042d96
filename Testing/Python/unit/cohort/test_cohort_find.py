"""Which images of a folder tree, a table or a pattern are cases, and how they are called."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from fake_method import write_scan
from synthetic_dicom import put, save, write_series

from spinemamba.cohort.find import find_cases
from spinemamba.cohort.found import FoundCase, named
from spinemamba.cohort.image_files import is_dicom
from spinemamba.common.errors import UserError
from spinemamba.imaging.formats.image_file import READERS
from spinemamba.protocol.image_formats import IMAGE_KINDS


def touch(root: Path, *names: str) -> Path:
    """Create files that nobody reads."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return root


def names_of(root: Path | str) -> list[str]:
    return [case.name for case in find_cases(str(root)).cases]


def reasons_of(root: Path) -> dict[str, str]:
    return {skipped.source: skipped.reason for skipped in find_cases(str(root)).skipped}


def test_the_formats_are_those_that_can_be_read():
    assert set(IMAGE_KINDS) == set(READERS)


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("a.nii.gz", "a"),
        ("b/a.nrrd", "b_a"),
        ("b c/d.1.2.mha", "b_c_d_1_2"),
        ("sub-01/anat/sub-01_T2w.nii.gz", "sub-01_T2w"),
        ("rawdata/sub-verse004/sub-verse004_ct.nii.gz", "sub-verse004_ct"),
        ("../x/a.nii", "x_a"),
        ("/data/a.nii", "data_a"),
    ],
)
def test_a_case_is_named_after_its_place(source: str, name: str):
    assert named([FoundCase(source, Path(source), (), "NIfTI")])[0].name == name


def test_cases_of_equal_names_get_hashes_that_do_not_depend_on_others():
    sources = ["a/b.nii.gz", "a_b.nii.gz", "A_B.mha", "c.nii"]
    cases = named([FoundCase(source, Path(source), (), "") for source in sources])
    by_source = {case.source: case.name for case in cases}
    assert len({name.lower() for name in by_source.values()}) == 4
    assert by_source["c.nii"] == "c"
    fewer = named([FoundCase(source, Path(source), (), "") for source in sources[:2]])
    assert {case.name for case in fewer} <= set(by_source.values())


def test_images_of_a_tree_are_cases_and_label_images_are_not(tmp_path: Path):
    touch(
        tmp_path,
        *("a.nii.gz", "deep/er/b.nrrd", "c.mha", "c_seg.nii.gz", "sub-1_seg-vert_msk.nii.gz"),
        *("out.seg.nrrd", "labelsTr/d.nii.gz", "derivatives/e.nii.gz", ".git/f.nii.gz"),
        *("notes.txt", "._g.nii.gz", "segment_me.nii", "d-label.nrrd", "imagesTr/d_0000.nii.gz"),
    )
    (tmp_path / "empty").mkdir()
    assert names_of(tmp_path) == ["a", "c", "deep_er_b", "imagesTr_d_0000", "segment_me"]
    reasons = reasons_of(tmp_path)
    assert set(reasons) == {
        *("c_seg.nii.gz", "sub-1_seg-vert_msk.nii.gz", "out.seg.nrrd", "d-label.nrrd"),
        *("labelsTr", "derivatives", "empty"),
    }
    assert reasons["empty"] == "an empty folder"


def test_only_the_anatomy_of_a_bids_data_set_is_searched(tmp_path: Path):
    touch(
        tmp_path,
        *("dataset_description.json", "sub-1/anat/sub-1_T2w.nii.gz", "sub-1/dwi/sub-1_dwi.nii.gz"),
        *("sub-1/ses-2/anat/sub-1_ses-2_T1w.nii.gz", "derivatives/x/sub-1_T2w.nii.gz"),
    )
    assert names_of(tmp_path) == ["sub-1_T2w", "sub-1_ses-2_T1w"]


def test_the_output_folder_is_not_searched(tmp_path: Path):
    touch(tmp_path, "a.nii.gz", "out/cases/a/a.nii.gz")
    listing = find_cases(str(tmp_path), without=tmp_path / "out")
    assert [case.name for case in listing.cases] == ["a"]


def test_a_detached_header_is_identified_by_its_voxels_too(tmp_path: Path):
    touch(tmp_path, "a.mhd", "a.raw", "ab.raw")
    (case,) = find_cases(str(tmp_path)).cases
    assert [path.name for path in case.files] == ["a.mhd", "a.raw"]


def test_every_dicom_series_is_a_case_wherever_it_lies(tmp_path: Path):
    pytest.importorskip("pydicom")
    write_series(tmp_path / "p1" / "scan")
    write_series(tmp_path / "p2", series="1.2.5")
    write_series(tmp_path / "p2", series="1.2.6", edit=put(SeriesNumber=4))
    write_series(tmp_path / "p2", series="1.2.7", edit=put(Modality="SR"))
    write_series(
        tmp_path / "p2", series="1.2.8", edit=put(ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    )
    few = np.zeros((3, 10, 14), np.uint16)
    write_series(tmp_path / "p3", few, series="1.2.9")
    (tmp_path / "p1" / "scan" / "bad.dcm").write_bytes(b"x")
    listing = find_cases(str(tmp_path))
    assert [(case.kind, len(case.files)) for case in listing.cases] == [("DICOM CT", 12)] * 3
    assert listing.cases[0].name == "p1_scan"
    assert [case.name[:11] for case in listing.cases[1:]] == ["p2_series-3", "p2_series-4"]
    reasons = sorted(skipped.reason for skipped in listing.skipped)
    assert reasons == [
        "1 DICOM file without a readable image",
        "a localizer",
        "not CT or MR but SR",
        "only 3 slices",
    ]
    assert "Made" not in str(listing)


def test_a_copy_of_a_series_is_left_out(tmp_path: Path):
    pytest.importorskip("pydicom")
    write_series(tmp_path / "a")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    assert names_of(tmp_path) == ["a"]
    assert reasons_of(tmp_path) == {"b": "a copy of a"}


def test_a_series_in_several_folders_is_left_out(tmp_path: Path):
    pytest.importorskip("pydicom")
    write_series(tmp_path / "a", np.zeros((20, 10, 14), np.uint16))
    (tmp_path / "b").mkdir()
    for path in sorted((tmp_path / "a").iterdir())[10:]:
        path.rename(tmp_path / "b" / path.name)
    write_series(tmp_path / "c", series="1.2.5")
    assert names_of(tmp_path) == ["c"]
    assert reasons_of(tmp_path) == {"a, b": "one series in several folders; put it into one"}


def test_dicom_is_recognised_without_an_ending(tmp_path: Path):
    pytest.importorskip("pydicom")
    from synthetic_dicom import make_slice, stored_values

    for k, pixels in enumerate(stored_values()):
        save(make_slice(k, pixels), tmp_path / f"1.2.840.{k}")
    touch(tmp_path, "README", "DICOMDIR")
    assert [len(case.files) for case in find_cases(str(tmp_path)).cases] == [12]
    assert not is_dicom(tmp_path / "README")


def test_a_folder_of_damaged_dicom_is_a_case_that_fails_later(tmp_path: Path):
    touch(tmp_path, "s/1.dcm", "s/2.dcm")
    (case,) = find_cases(str(tmp_path)).cases
    assert (case.name, case.path, len(case.files)) == ("s", tmp_path / "s", 2)


def test_a_table_gives_paths_names_and_modalities(tmp_path: Path):
    touch(tmp_path, "x/a_seg.nii.gz", "b.mha")
    table = tmp_path / "list.csv"
    table.write_text("image,case,modality\nx/a_seg.nii.gz,first,CT\nb.mha,,\n", encoding="utf-8")
    first, second = sorted(find_cases(str(table)).cases, key=lambda case: case.source, reverse=True)
    assert (first.name, first.modality, first.path) == ("first", "ct", tmp_path / "x/a_seg.nii.gz")
    assert (second.name, second.modality) == ("b", "auto")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path\na.nii\n", "has path"),
        ("", "has no row"),
        ("image,case\na.nii,one\nb.nii,one\n", "case one more than once"),
        ("image,modality\na.nii,xray\n", "Row 2 .* modality 'xray'"),
        ("image,case\n,one\n", "Row 2 .* no image"),
    ],
)
def test_a_wrong_table_is_refused(tmp_path: Path, text: str, message: str):
    (tmp_path / "t.csv").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=message):
        find_cases(str(tmp_path / "t.csv"))


def test_a_pattern_gives_the_files_that_match(tmp_path: Path):
    touch(tmp_path, "1/ct.nii.gz", "2/ct.nii.gz", "2/mr.nii.gz", "2/ct_seg.nii.gz")
    assert names_of(f"{tmp_path}/**/ct.nii.gz") == ["1_ct", "2_ct"]
    assert names_of(f"{tmp_path}/2/*") == ["ct", "ct_seg", "mr"]
    # The name of a case does not depend on the other ones.
    assert names_of(f"{tmp_path}/*/mr.nii.gz") == ["2_mr"]


def test_a_single_file_is_a_cohort_of_one(tmp_path: Path):
    path = write_scan(tmp_path / "a_seg.nii.gz")
    assert names_of(path) == ["a_seg"]


@pytest.mark.parametrize("name", ["missing", "*.nii.gz", "."])
def test_nothing_found_is_an_error(tmp_path: Path, name: str):
    touch(tmp_path, "a_seg.nii.gz.txt")
    with pytest.raises(UserError, match=r"not found|No image was found"):
        find_cases(str(tmp_path / name))


def test_a_folder_without_images_says_what_was_left_out(tmp_path: Path):
    write_scan(tmp_path / "old" / "a_seg.nii.gz")
    with pytest.raises(UserError, match=r"No image .*; left out: old/a_seg.nii.gz \(.+\)"):
        find_cases(str(tmp_path))
    write_scan(tmp_path / "old" / "b_seg.nii.gz")
    with pytest.raises(UserError, match=r"; left out: 2 entries, such as old/a_seg.nii.gz"):
        find_cases(str(tmp_path))


def test_the_parts_of_a_listing_are_disjoint_and_complete(tmp_path: Path):
    listing = find_cases(str(touch(tmp_path, *(f"{k}.nii" for k in range(7)))))
    parts = [listing.part(k, 3).cases for k in (1, 2, 3)]
    assert sorted(sum(parts, ()), key=lambda case: case.name) == list(listing.cases)
    assert [len(part) for part in parts] == [3, 2, 2]
