"""Training data of the user in the layouts of VerSe and nnU-Net."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from spinemamba.anatomy.labels import channel_of_value
from spinemamba.cli.main import main
from spinemamba.common.errors import UserError
from spinemamba.imaging.write import write_image
from spinemamba.phantom import Phantom, PhantomOptions, make_phantom
from spinemamba.training.data.case_store import CaseStore
from spinemamba.training.data.dataset import IGNORE_INDEX
from spinemamba.training.data.read_dataset import check_cases, load_user_cases
from spinemamba.training.layouts.find import find_cases

SPACING_MM = (4.0, 4.0, 4.0)


@pytest.fixture(scope="module")
def phantoms() -> list[Phantom]:
    options = PhantomOptions(first="L1", last="L3", spacing_mm=SPACING_MM, tight=True)
    return [make_phantom(seed, options) for seed in (1, 2)]


@pytest.fixture
def verse(phantoms, tmp_path: Path) -> Path:
    """A folder in the layout of VerSe."""
    for number, phantom in enumerate(phantoms):
        image = tmp_path / "cases" / "rawdata" / f"sub-{number}"
        labels = tmp_path / "cases" / "derivatives" / f"sub-{number}"
        image.mkdir(parents=True)
        labels.mkdir(parents=True)
        write_image(phantom.image, image / f"sub-{number}_ct.nii.gz")
        write_image(phantom.labels, labels / f"sub-{number}_seg-vert_msk.nii.gz")
    return tmp_path / "cases"


@pytest.fixture
def nnunet(phantoms, tmp_path: Path) -> Path:
    """A folder in the layout of nnU-Net, with other values for the levels."""
    folder = tmp_path / "Dataset001"
    for name in ("imagesTr", "labelsTr"):
        (folder / name).mkdir(parents=True)
    lookup = np.zeros(256, np.uint8)
    lookup[[20, 21, 22]] = [3, 2, 1]
    for number, phantom in enumerate(phantoms):
        write_image(phantom.image, folder / "imagesTr" / f"case{number}_0000.nii.gz")
        labels = phantom.labels.with_array(lookup[phantom.labels.array])
        write_image(labels, folder / "labelsTr" / f"case{number}.nii.gz")
    about = {"labels": {"background": 0, "vertebrae_L1": 3, "L2": 2, "Vertebra L3": 1}}
    (folder / "dataset.json").write_text(json.dumps(about))
    return folder


@pytest.mark.parametrize("layout", ["verse", "nnunet"])
def test_both_layouts_give_the_same_levels(layout: str, request: pytest.FixtureRequest):
    cases = find_cases(request.getfixturevalue(layout))
    check_cases(cases, lambda text: None)
    for case in load_user_cases(cases, 4.0, lambda text: None):
        present = set(torch.unique(case.target).tolist()) - {0, IGNORE_INDEX}
        assert present == {channel_of_value()[value] for value in (20, 21, 22)}
        assert case.image is not None


def test_bright_unlabelled_voxels_are_ignored_only_beyond_the_labels(verse: Path):
    (path,) = verse.rglob("sub-0_seg*")
    labels = make_phantom(
        1, PhantomOptions(first="L1", last="L3", spacing_mm=SPACING_MM, tight=True)
    )
    array = labels.labels.array.copy()
    array[array == 22] = 0  # L3 is unlabelled
    write_image(labels.labels.with_array(array), path)
    first = next(load_user_cases(find_cases(verse), 4.0, lambda text: None))
    rows = ((first.target > 0) & (first.target != IGNORE_INDEX)).any(dim=(1, 2)).nonzero()
    assert (first.target[: int(rows[0])] == IGNORE_INDEX).any()
    assert not (first.target[int(rows[0]) : int(rows[-1]) + 1] == IGNORE_INDEX).any()


def test_every_problem_is_listed_with_its_file(verse: Path, phantoms):
    masks = sorted(verse.rglob("*_seg-vert_msk.nii.gz"))
    masks[0].write_bytes(b"no image")
    strange = phantoms[1].labels.with_array(phantoms[1].labels.array + np.uint8(100))
    write_image(strange, masks[1])
    with pytest.raises(UserError) as caught:
        check_cases(find_cases(verse), lambda text: None)
    assert "2 files cannot be used" in str(caught.value)
    assert masks[0].name in str(caught.value)
    assert f"{masks[1].name} holds the values 100, 120" in str(caught.value)


def test_images_and_labels_without_a_counterpart_are_listed(verse: Path):
    next(verse.rglob("sub-0_ct*")).unlink()
    next(verse.rglob("sub-1_seg*")).unlink()
    with pytest.raises(UserError) as caught:
        find_cases(verse)
    assert "sub-0_seg-vert_msk.nii.gz: no image beside it" in str(caught.value)
    assert "sub-1_ct.nii.gz: no labels beside it" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [("{}", "labels"), ("no json", "does not define the labels"), ('{"labels": [1]}', "labels")],
)
def test_a_damaged_dataset_json_is_refused(nnunet: Path, text: str, says: str):
    (nnunet / "dataset.json").write_text(text)
    with pytest.raises(UserError, match=says):
        find_cases(nnunet)


@pytest.mark.parametrize("name", ["empty", "missing"])
def test_a_folder_without_cases_is_refused(tmp_path: Path, name: str):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"no labelled cases|no folder"):
        find_cases(tmp_path / name)


@pytest.mark.slow
def test_the_command_continues_from_bundled_weights_with_user_cases(verse: Path, tmp_path: Path):
    out = tmp_path / "run"
    words = ["train", "coarse", "--out", str(out), "--data", str(verse), "--phantoms", "0"]
    assert main([*words, "--start-from", "starter", "--steps", "2", "--threads", "1"]) == 0
    cases = CaseStore(out / "cases", 4.0).read(pytest.fail)
    assert {case.name for case in cases} == {"sub-0", "sub-1"}
    sources = json.loads((out / "training.json").read_text())["sources"]
    assert any("VerSe" in sentence for sentence in sources)
    assert any("2 cases of the user's own" in sentence for sentence in sources)
