"""Pairing of images and labels, and names of cases."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from spinemamba.common.errors import UserError
from spinemamba.training.layouts.find import find_cases

CT, SEG = "_ct.nii.gz", "_seg-vert_msk.nii.gz"


def lay_out(folder: Path, files: str) -> Path:
    """Create empty files; "+" is replaced by the suffix of an image, "-" by that of labels."""
    for name in files.split():
        path = folder / name.replace("+", CT).replace("-", SEG)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


PAIRED = {
    "one folder": ("a+ a- b+ b-", {"a": "a a", "b": "b b"}),
    "VerSe": (
        "rawdata/sub1/sub1+ derivatives/sub1/sub1-",
        {"sub1": "rawdata/sub1/sub1 derivatives/sub1/sub1"},
    ),
    "one name, two patients": (
        "p1/s+ p1/s- p2/s+ p2/s-",
        {"p1/s": "p1/s p1/s", "p2/s": "p2/s p2/s"},
    ),
    "one name, two patients, as VerSe": (
        "rawdata/p1/s+ rawdata/p2/s+ derivatives/p1/s- derivatives/p2/s-",
        {"p1/s": "rawdata/p1/s derivatives/p1/s", "p2/s": "rawdata/p2/s derivatives/p2/s"},
    ),
    "one name, images and labels inside of each patient": (
        "p1/ct/s+ p1/seg/s- p2/ct/s+ p2/seg/s-",
        {"p1/s": "p1/ct/s p1/seg/s", "p2/s": "p2/ct/s p2/seg/s"},
    ),
    "one name, folders with both in their name": (
        "p1_ct/s+ p1_seg/s- p2_ct/s+ p2_seg/s-",
        {"p1/s": "p1_ct/s p1_seg/s", "p2/s": "p2_ct/s p2_seg/s"},
    ),
    "sessions": (
        "p/2019/s+ p/2019/s- p/2020/s+ p/2020/s-",
        {"p/2019/s": "p/2019/s p/2019/s", "p/2020/s": "p/2020/s p/2020/s"},
    ),
    "one name in folders that name no patient": (
        "ct/s+ ct/s- raw/s+ raw/s-",
        {"ct/s": "ct/s ct/s", "raw/s": "raw/s raw/s"},
    ),
    "one of the names is there twice": (
        "p1/s+ p1/s- p2/s+ p2/s- p2/t+ p2/t-",
        {"p1/s": "p1/s p1/s", "p2/s": "p2/s p2/s", "t": "p2/t p2/t"},
    ),
    "all labels in one folder": (
        "p1/a+ p2/b+ Bob/a- Bob/b-",
        {"a": "p1/a Bob/a", "b": "p2/b Bob/b"},
    ),
    "folders of other words": (
        "2020/a+ 2020/b+ Bob/a- Bob/b-",
        {"a": "2020/a Bob/a", "b": "2020/b Bob/b"},
    ),
    "labels below the images": ("a+ Bob/a-", {"a": "a Bob/a"}),
    "hidden copies that another system made": ("a+ a- ._a+ ._a-", {"a": "a a"}),
}


@pytest.mark.parametrize("layout", PAIRED)
def test_files_are_paired_within_their_patient_and_names_are_unique(layout: str, tmp_path: Path):
    files, expected = PAIRED[layout]
    cases = find_cases(lay_out(tmp_path, files))
    found = {
        case.name: " ".join(
            str(path.relative_to(tmp_path)).removesuffix(ending)
            for path, ending in ((case.image, CT), (case.labels, SEG))
        )
        for case in cases
    }
    assert found == expected
    assert [case.name for case in cases] == sorted(expected)


REFUSED = {
    "the second patient has no labels": ("p1/s+ p1/s- p2/s+", ["p2/s_ct.nii.gz: no labels"]),
    "the first patient has no image": ("p1/s- p2/s+ p2/s-", ["p1/s_seg-vert_msk.nii.gz: no image"]),
    "an image of one patient and labels of another": (
        "p1/s- p2/s+",
        [
            "p1/s_seg-vert_msk.nii.gz: no image beside it (elsewhere: p2/s_ct.nii.gz)",
            "p2/s_ct.nii.gz: no labels beside it (elsewhere: p1/s_seg-vert_msk.nii.gz)",
        ],
    ),
    "the same among whole patients": (
        "p1/s- p2/s+ p3/s+ p3/s-",
        ["p1/s_seg-vert_msk.nii.gz: no image", "p2/s_ct.nii.gz: no labels"],
    ),
    "two images for one label image": (
        "p1/s+ p2/s+ s-",
        ["the same name twice: p1/s_ct.nii.gz, p2/s_ct.nii.gz", "s_seg-vert_msk.nii.gz: no image"],
    ),
    "two label images for one image": (
        "s+ Ann/s- Bob/s-",
        ["the same name twice: Ann/s_seg-vert_msk.nii.gz, Bob/s_seg-vert_msk.nii.gz"],
    ),
    "another version of the labels": ("s+ s- old/s-", ["old/s_seg-vert_msk.nii.gz: no image"]),
    "one image in two formats": (
        "s+ s_ct.nrrd s-",
        ["the same name twice: s_ct.nii.gz, s_ct.nrrd"],
    ),
}


@pytest.mark.parametrize("layout", REFUSED)
def test_ambiguous_pairs_are_listed_with_their_folder(layout: str, tmp_path: Path):
    files, says = REFUSED[layout]
    with pytest.raises(UserError) as caught:
        find_cases(lay_out(tmp_path, files))
    for text in says:
        assert text in caught.value.message


def test_a_duplicate_name_is_refused_in_the_nnunet_layout(tmp_path: Path):
    lay_out(tmp_path, "imagesTr/a_0000.nii.gz imagesTr/a_0000.mha labelsTr/a.nii.gz")
    (tmp_path / "dataset.json").write_text('{"labels": {"background": 0, "L1": 1}}')
    with pytest.raises(UserError, match=r"same name twice: imagesTr/a_0000\.mha"):
        find_cases(tmp_path)


LABELS = {
    "label beyond 16 bits": ('{"background": 0, "L1": 1099511627776}', "not one from 0 to 65535"),
    "negative label": ('{"L1": -1}', "not one from 0"),
    "fractional label": ('{"L1": 1.5}', "has the value 1.5"),
    "infinite label": ('{"L1": Infinity}', "Infinity is not a number"),
    "true for a label": ('{"L1": true}', "has the value true"),
    "no label": ('{"L1": null}', "does not define the labels"),
    "a region": ('{"L1": [1, 2]}', "does not define the labels"),
    "one value, two names": ('{"L1": 1, "L2": 1}', "one value to several labels: L1, L2"),
    "one level, two values": ('{"L1": 1, "vertebrae_L1": 2}', "one level to several labels"),
    "nested without end": ("[" * 100_000, "does not define the labels"),
}


@pytest.mark.parametrize("kind", LABELS)
def test_invalid_labels_in_dataset_json_are_refused(kind: str, tmp_path: Path):
    labels, says = LABELS[kind]
    lay_out(tmp_path, "imagesTr/a_0000.nii.gz labelsTr/a.nii.gz")
    (tmp_path / "dataset.json").write_text(f'{{"labels": {labels}}}')
    with pytest.raises(UserError, match=says):
        find_cases(tmp_path)


def test_label_values_may_be_text_and_be_keys_or_values(tmp_path: Path):
    lay_out(tmp_path, "imagesTr/a_0000.nii.gz labelsTr/a.nii.gz")
    for labels in ({"0": "background", "7": "L1"}, {"background": "0", "L1": "7"}, {"L1": 7.0}):
        (tmp_path / "dataset.json").write_text(json.dumps({"labels": labels}))
        (case,) = find_cases(tmp_path)
        assert case.values is not None
        assert case.values[7] == 20


def test_links_to_folders_are_followed_without_cycles(tmp_path: Path):
    lay_out(tmp_path / "elsewhere", "s+ s-")
    (tmp_path / "cases").mkdir()
    (tmp_path / "cases" / "p1").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    (tmp_path / "elsewhere" / "up").symlink_to(tmp_path / "cases", target_is_directory=True)
    assert [case.name for case in find_cases(tmp_path / "cases")] == ["s"]


def test_a_folder_that_cannot_be_read_is_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    lay_out(tmp_path, "p1/s+ p1/s- p2/s+ p2/s-")
    scandir = os.scandir

    def denied(path: str) -> object:
        if str(path).endswith("p2"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", denied)
    with pytest.raises(UserError, match=r"p2: the folder cannot be read \(Permission denied\)"):
        find_cases(tmp_path)


def test_a_file_name_that_is_not_utf8_is_refused(tmp_path: Path):
    try:
        lay_out(tmp_path, os.fsdecode(b"b\xff+ b\xff-"))
    except OSError:
        pytest.skip("this file system takes no such name")
    with pytest.raises(UserError, match="is not UTF-8") as caught:
        find_cases(tmp_path)
    str(caught.value).encode("utf-8")
