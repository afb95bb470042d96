"""Layouts of public data sets: what is read, listed, told and refused."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from data_sets import (
    IGNORE,
    LAYOUTS,
    LEVELS,
    phantom,
    renumbered,
    save,
    write_nnunet,
    write_spider,
    write_spineps,
    write_totalsegmentator,
    write_verse,
)

from spinemamba.anatomy.labels import BY_VALUE, channel_of_value
from spinemamba.cli.main import main
from spinemamba.common.errors import UserError
from spinemamba.imaging.read import read_labels, read_volume
from spinemamba.training.data.dataset import IGNORE_INDEX, MR_UNITS
from spinemamba.training.data.read_dataset import load_user_cases
from spinemamba.training.layouts.check import check_case, levels_text
from spinemamba.training.layouts.find import find_cases, find_dataset
from spinemamba.training.layouts.read_labels import read_case_labels
from spinemamba.training.layouts.splits import folds, parse_fold, select
from spinemamba.training.layouts.user_case import split_named

SPLITS = {
    "VerSe (BIDS)": {"training": 2, "validation": 1, "test": 1},
    "nnU-Net (raw)": {"": 2, "test": 1},
    "TotalSegmentator": {"training": 1, "validation": 1, "test": 1},
    "SPIDER": {"training": 2, "validation": 2},
    "CTSpine1K": {"training": 1, "validation": 1, "test": 1},
    "SPINEPS": {"": 2},
}


def unheard(text: str) -> None:
    """Ignore a message."""


@pytest.mark.parametrize("layout", LAYOUTS)
def test_each_layout_gives_the_same_levels_and_its_splits(layout: str, tmp_path: Path):
    dataset = find_dataset(LAYOUTS[layout](tmp_path), IGNORE.get(layout, ()))
    assert dataset.layout == ("VerSe (BIDS)" if layout == "SPINEPS" else layout)
    assert Counter(case.split for case in dataset.cases) == SPLITS[layout]
    for case in dataset.cases:
        found = check_case(case)
        assert (found.problems, found.warnings) == ((), ())
        assert found.levels == LEVELS
        assert case.modality == ("mr" if layout in ("SPIDER", "SPINEPS") else "ct")
    wanted = {channel_of_value()[value] for value in (20, 21, 22)}
    case = next(load_user_cases(dataset.cases[:1], 4.0, unheard))
    assert set(torch.unique(case.target).tolist()) - {0, IGNORE_INDEX} == wanted


@pytest.mark.parametrize("layout", LAYOUTS)
def test_each_layout_is_listed_by_the_command(layout: str, tmp_path: Path, capsys):
    words = ["check-data", str(LAYOUTS[layout](tmp_path))]
    for name in IGNORE.get(layout, ()):
        words += ["--ignore", name]
    assert main(words) == 0
    out = capsys.readouterr().out
    assert "L1-L3" in out
    assert "cases to train on" in out
    assert "label " in out


def test_the_splits_of_real_folder_names_are_read():
    names = {
        "dataset-01training": "training",
        "dataset-02validation": "validation",
        "dataset-03test": "test",
        "dataset-verse19training": "training",
        "dataset-verse19validation": "validation",
        "train": "training",
        "val": "validation",
        "testing": "test",
        "latest": "",
        "interval": "",
        "sub-verse004": "",
    }
    assert {name: split_named([name]) for name in names} == names


def test_unknown_names_are_refused_until_they_are_ignored(tmp_path: Path):
    write_nnunet(tmp_path)
    with pytest.raises(UserError, match="no levels: spinal_canal") as caught:
        find_dataset(tmp_path)
    assert "--ignore spinal_canal" in str(caught.value)
    words = dict(find_dataset(tmp_path, ("spinal_canal",)).translation)
    assert words == {
        "0 background": "background",
        "3 vertebrae_L1": "L1",
        "2 L02": "L2",
        "1 lumbar_3": "L3",
        "4 spinal_canal": "background",
        "5 ignore": "left out of the loss",
    }
    with pytest.raises(UserError, match="no label rib to ignore"):
        find_dataset(tmp_path, ("rib",))


@pytest.mark.parametrize("layout", [name for name in LAYOUTS if name != "nnU-Net (raw)"])
def test_a_name_to_ignore_that_does_not_exist_is_refused(layout: str, tmp_path: Path):
    with pytest.raises(UserError, match=r"rib"):
        find_dataset(LAYOUTS[layout](tmp_path), ("rib",))


def test_s1_and_the_sacrum_are_one_level(tmp_path: Path):
    write_nnunet(tmp_path)
    labels = {"background": 0, "L1": 3, "L2": 2, "L3": 1, "S1": 4, "sacrum": 5}
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": labels}))
    values = find_cases(tmp_path)[0].values
    assert (values[4], values[5]) == (26, 26)


def test_the_ignore_label_is_left_out_of_the_loss(tmp_path: Path):
    case = find_cases(write_nnunet(tmp_path), ("spinal_canal",))[0]
    labels, left_out = read_case_labels(case)
    assert np.argwhere(left_out).tolist() == [[0, 0, 1]]
    assert labels.array[0, 0, 0] == 0


def test_a_structure_that_looks_like_a_level_but_is_none_is_refused(tmp_path: Path):
    masks = write_totalsegmentator(tmp_path) / "s0002" / "segmentations"
    (masks / "vertebrae_L3.nii.gz").rename(masks / "vertebrae_L9.nii.gz")
    with pytest.raises(UserError, match="s0002/segmentations: vertebrae_L9 is no level"):
        find_dataset(tmp_path)


def test_exchanged_sides_are_found_in_the_masks(tmp_path: Path):
    masks = write_totalsegmentator(tmp_path) / "s0001" / "segmentations"
    (masks / "hip_left.nii.gz").rename(masks / "x.nii.gz")
    (masks / "hip_right.nii.gz").rename(masks / "hip_left.nii.gz")
    (masks / "x.nii.gz").rename(masks / "hip_right.nii.gz")
    (problem,) = check_case(find_cases(tmp_path)[0]).problems
    assert "left and right are exchanged" in problem


MIRRORED = {"left to right": 2, "front to back": 1, "upside down": 0}


@pytest.mark.parametrize("words", MIRRORED)
def test_mirrored_labels_are_found(words: str, tmp_path: Path):
    write_verse(tmp_path)
    case = find_cases(tmp_path)[0]
    image = phantom(1).image
    # An empty margin on one side, as in a scan whose centre is not that of the spine.
    pad = [(0, 0)] * 3
    pad[MIRRORED[words]] = (0, 40)
    grown = np.pad(image.array, pad, constant_values=-1000)
    labels = np.flip(np.pad(phantom(1).labels.array, pad), MIRRORED[words])
    geometry = type(image.geometry)(
        grown.shape, image.spacing_mm, image.geometry.origin_lps_mm, image.geometry.direction_lps
    )
    save(type(image)(grown, geometry), case.image)
    save(type(image)(np.ascontiguousarray(labels), geometry), case.labels)
    problems = check_case(case).problems
    assert any(words in problem for problem in problems), problems


def test_shifted_labels_and_another_grid_are_told(tmp_path: Path):
    cases = find_cases(write_verse(tmp_path))
    labels = phantom(1).labels
    save(
        labels.with_array(np.roll(labels.array, labels.array.shape[1] // 2, axis=1)),
        cases[0].labels,
    )
    found = check_case(cases[0])
    assert "of the labelled voxels" in " ".join((*found.warnings, *found.problems))
    save(phantom(5).labels, cases[1].labels)
    (problem,) = check_case(cases[1]).problems
    assert "its grid is not that of" in problem


def test_a_ct_among_mr_and_mr_among_ct_are_refused(tmp_path: Path):
    mr = find_cases(write_spider(tmp_path / "spider"))[0]
    save(phantom(1).image, mr.image)
    assert any("it is a CT by its values" in text for text in check_case(mr).problems)
    ct = find_cases(write_verse(tmp_path / "verse"))[0]
    save(phantom(1, "mr").image, ct.image)
    assert any("not Hounsfield units" in text for text in check_case(ct).problems)


def test_mr_is_stored_as_the_product_normalises_it(tmp_path: Path):
    case = next(load_user_cases(find_cases(write_spider(tmp_path))[:1], 4.0, unheard))
    assert case.origin.modality == "mr"
    values = case.image.float() / MR_UNITS
    assert float(values.min()) >= -1.001
    assert 0.9 < float(values.max()) <= 1.501
    # SPIDER does not label the sacrum: what lies below L3 is not learned as background.
    assert (case.target[0] == IGNORE_INDEX).all()


def test_sub_regions_alone_are_refused(tmp_path: Path):
    write_spineps(tmp_path)
    dataset = find_dataset(tmp_path)
    assert any("sub-regions" in note for note in dataset.notes)
    case = dataset.cases[0]
    regions = next(tmp_path.rglob("sub-1_*_seg-spine_msk.nii.gz"))
    shutil.copy(regions, case.labels)
    (problem,) = check_case(case).problems
    assert "sub-regions of vertebrae" in problem


def test_numbers_of_instances_are_no_levels(tmp_path: Path):
    write_spineps(tmp_path)
    case = find_cases(tmp_path)[0]
    stored = read_labels(case.labels)
    numbers = {base + 20 + k: base + k + 1 for base in (0, 200) for k in range(3)} | {120: 101}
    save(renumbered(stored, numbers), case.labels)
    (problem,) = check_case(case).problems
    assert "instance numbers" in problem


def test_a_patient_in_two_splits_counts_as_the_protected_one(tmp_path: Path):
    write_verse(tmp_path)
    test = tmp_path / "dataset-03test" / "rawdata" / "sub-verse004"
    for path in (tmp_path / "dataset-03test").rglob("sub-verse004*.nii.gz"):
        path.rename(path.with_name(path.name.replace("sub-verse004_", "sub-verse001_split-x_")))
    assert test.is_dir()
    said: list[str] = []
    chosen = select(find_dataset(tmp_path), said.append)
    assert [case.name for case in chosen.training] == ["sub-verse002"]
    assert said == [
        "sub-verse001: the same patient in test and training; all its cases count as test"
    ]


def test_two_cases_of_one_name_are_both_kept(tmp_path: Path):
    write_verse(tmp_path)
    for path in list((tmp_path / "dataset-03test").rglob("*verse004*.nii.gz")):
        path.rename(path.with_name(path.name.replace("verse004", "verse001")))
    names = [case.name for case in find_cases(tmp_path)]
    assert len(names) == len(set(names)) == 4


def test_folds_keep_patients_together_and_cover_all_cases(tmp_path: Path):
    dataset = find_dataset(write_spider(tmp_path))
    cases = [case for case in dataset.cases]
    parts = folds(cases, 2)
    assert sorted(name for part in parts for name in part) == sorted(c.name for c in cases)
    for part in parts:
        assert len({name.partition("_")[0] for name in part}) == 1
    assert folds(cases[::-1], 2) == parts
    with pytest.raises(UserError, match="2 patients cannot be divided into 5"):
        folds(cases, 5)


def test_folds_of_nnunet_are_used_where_it_states_them(tmp_path: Path):
    write_nnunet(tmp_path)
    stated = [{"train": ["case2"], "val": ["case1"]}, {"train": ["case1"], "val": ["case2"]}]
    (tmp_path / "splits_final.json").write_text(json.dumps(stated))
    dataset = find_dataset(tmp_path, ("spinal_canal",))
    for number, name in ((0, "case1"), (1, "case2")):
        chosen = select(dataset, unheard, fold=parse_fold(f"{number}/2"))
        assert [case.name for case in chosen.validation] == [name]
        assert name not in [case.name for case in chosen.training]
        assert [case.name for case in chosen.unused] == ["case3"]


@pytest.mark.parametrize("text", ["5/5", "1/1", "1", "a/5", "-1/5", "0/99"])
def test_what_is_no_fold_is_refused(text: str):
    with pytest.raises(ValueError, match="is not a fold"):
        parse_fold(text)


def test_a_folder_above_or_inside_of_a_data_set_is_told(tmp_path: Path):
    write_nnunet(tmp_path / "Dataset501_Spine")
    with pytest.raises(UserError, match="Dataset501_Spine"):
        find_dataset(tmp_path)
    with pytest.raises(UserError, match="Give its parent"):
        find_dataset(tmp_path / "Dataset501_Spine" / "imagesTr")


def test_phantoms_are_read_under_their_own_names(tmp_path: Path):
    save(phantom(1).image, tmp_path / "ph.nii.gz")
    save(phantom(1).labels, tmp_path / "ph_labels.nii.gz")
    assert [case.name for case in find_cases(tmp_path)] == ["ph"]


def test_levels_are_listed_as_runs():
    assert levels_text(("T11", "T12", "L1", "L3", "Sacrum")) == "T11-L1, L3, Sacrum"
    assert levels_text(("T12", "T13", "L1")) == "T12-L1"
    assert levels_text(()) == ""


def real_verse(data: Path, folder: Path) -> None:
    for name, part in (("verse005", "training"), ("verse006", "test")):
        for source, ending in (("ct", "ct"), ("seg", "seg-vert_msk")):
            target = folder / part / f"sub-{name}" / f"sub-{name}_{ending}.nii.gz"
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(data / "verse" / f"{name}_{source}.nii.gz", target)


def real_totalsegmentator(data: Path, folder: Path) -> None:
    masks = folder / "s0001" / "segmentations"
    labels = read_labels(data / "totalsegmentator" / "ts_example_seg.nii.gz")
    for value in np.unique(labels.array)[1:]:
        name = BY_VALUE[value].name
        one = labels.with_array((labels.array == value).astype(np.uint8))
        save(one, masks / f"{'sacrum' if name == 'Sacrum' else f'vertebrae_{name}'}.nii.gz")
    source = data / "totalsegmentator" / "ts_example_ct.nii.gz"
    shutil.copy(source, folder / "s0001" / "ct.nii.gz")


def real_ctspine1k(data: Path, folder: Path) -> None:
    for part, source, ending in (("volumes", "ct", ""), ("labels", "seg", "_seg")):
        (folder / part).mkdir(parents=True)
        target = folder / part / f"liver_1{ending}.nii.gz"
        shutil.copy(data / "verse" / f"verse008_{source}.nii.gz", target)


def real_nnunet(data: Path, folder: Path) -> None:
    labels = read_labels(data / "verse" / "verse005_seg.nii.gz")
    values = {20 + k: 5 - k for k in range(5)}
    save(renumbered(labels, values), folder / "labelsTr" / "a.nii.gz")
    (folder / "imagesTr").mkdir()
    shutil.copy(data / "verse" / "verse005_ct.nii.gz", folder / "imagesTr" / "a_0000.nii.gz")
    about = {"background": 0} | {f"L{5 - k}": 1 + k for k in range(5)}
    (folder / "dataset.json").write_text(json.dumps({"labels": about}))


def real_spider(data: Path, folder: Path) -> None:
    # Its numbers run downwards, and are not levels; here they are taken for L3 to L5.
    labels = read_labels(data / "tptbox" / "mr_instance_seg.nii.gz")
    save(renumbered(labels, {5: 3, 6: 2, 7: 1, 105: 202}), folder / "masks" / "1_t2.mha")
    image = read_volume(data / "tptbox" / "mr_t2w.nii.gz")
    save(image, folder / "images" / "1_t2.mha")


REAL = {
    "VerSe (BIDS)": (real_verse, ["L1-L5", "L4-L5"]),
    "TotalSegmentator": (real_totalsegmentator, ["T11-L5, Sacrum"]),
    "CTSpine1K": (real_ctspine1k, ["T12-L5"]),
    "nnU-Net (raw)": (real_nnunet, ["L1-L5"]),
    "SPIDER": (real_spider, ["L3-L5"]),
}


@pytest.mark.parametrize("layout", REAL)
def test_real_images_are_read_in_each_layout(layout: str, shared_data: Path, tmp_path: Path):
    write, levels = REAL[layout]
    write(shared_data, tmp_path)
    dataset = find_dataset(tmp_path)
    assert dataset.layout == layout
    reports = [check_case(case) for case in dataset.cases]
    assert [levels_text(found.levels) for found in reports] == levels
    assert [(found.problems, found.warnings) for found in reports] == [((), ())] * len(levels)


def test_a_real_instance_mask_of_spineps_has_no_levels(shared_data: Path, tmp_path: Path):
    source = shared_data / "tptbox"
    shutil.copy(source / "mr_t2w.nii.gz", tmp_path / "sub-1_T2w.nii.gz")
    shutil.copy(source / "mr_instance_seg.nii.gz", tmp_path / "sub-1_seg-vert_msk.nii.gz")
    (problem,) = check_case(find_cases(tmp_path)[0]).problems
    assert "instance numbers" in problem
