"""Data lists: what is refused, attributions, and the patches that a list leads to."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from public_cases import public_cases
from tiny_body import body_volumes

from spinemamba.cli import train
from spinemamba.cli.main import main
from spinemamba.common.errors import Code, UserError
from spinemamba.imaging.write import write_image
from spinemamba.phantom import PhantomOptions, make_phantom
from spinemamba.training.data.data_list import read_data_list
from spinemamba.training.data.dataset import IGNORE_INDEX
from spinemamba.training.data.gather import DataOptions, draw_weights, gather_cases
from spinemamba.training.data.listed_cases import load_listed_cases
from spinemamba.training.data.origin import attributions
from spinemamba.training.data.patches import PatchOptions, draw_patch
from spinemamba.training.folder import read_metadata
from spinemamba.training.synthesis.paint import paint

LIST: dict[str, Any] = {
    "schema": 1,
    "sources": {"one": {"title": "One", "licence": "CC BY 4.0", "credit": "A et al."}},
    "training": [
        {"name": "a", "source": "one", "image": "a_ct.nii.gz", "label": "a_seg.nii.gz"},
        {"name": "m", "source": "one", "label": "a_seg.nii.gz"},
    ],
    "testing": [{"name": "t", "source": "one", "image": "t.nii.gz", "modality": "MR"}],
    "vertebra_shapes": [{"case": "m", "first": "L1", "last": "L3"}],
}

Change = Callable[[dict[str, Any]], object]

WRONG: dict[str, tuple[Change, str]] = {
    "a newer schema": (lambda d: d.update(schema=2), "schema 2; this version reads 1"),
    "no schema": (lambda d: d.pop("schema"), "schema null"),
    "an unknown section": (lambda d: d.update(validation=[]), "unknown entries: validation"),
    "no training cases": (lambda d: d.update(training=[]), "section training is empty"),
    "a section that is no list": (lambda d: d.update(testing={}), "testing must be a list"),
    "an entry that is no object": (
        lambda d: d["training"].append(3),
        r"training\[2\] must be a table",
    ),
    "an unknown field": (
        lambda d: d["training"][0].update(seg="x"),
        r"training\[0\] has unknown entries: seg",
    ),
    "a missing field": (
        lambda d: d["training"][0].pop("name"),
        r"training\[0\] has missing entries: name",
    ),
    "a number for a path": (
        lambda d: d["training"][0].update(image=3),
        r"training\[0\]\.image must be a text, got 3",
    ),
    "a number for a truth value": (
        lambda d: d["training"][0].update(complete=1),
        "complete must be true or false, got 1",
    ),
    "a truth value for a weight": (
        lambda d: d["training"][0].update(weight=True),
        "weight must be a number, got true",
    ),
    "a weight of zero": (lambda d: d["training"][0].update(weight=0), "weight 0 is not above 0"),
    "a weight that is not finite": (
        lambda d: d["training"][0].update(weight=float("nan")),
        "NaN is not a number",
    ),
    "a licence that is missing": (
        lambda d: d["sources"]["one"].pop("licence"),
        "sources.one has missing entries: licence",
    ),
    "a source that is not listed": (
        lambda d: d["training"][0].update(source="two"),
        "a: the source two",
    ),
    "one name twice": (lambda d: d["training"][1].update(name="a"), "the name a occurs twice"),
    "a test case to train on": (lambda d: d["testing"][0].update(name="a"), "a occurs twice"),
    "the name of a phantom": (lambda d: d["training"][0].update(name="phantom3"), "is reserved"),
    "no label": (lambda d: d["training"][0].pop("label"), "a: a training case needs a label"),
    "no file": (lambda d: d["testing"][0].pop("image"), "t: it has no file"),
    "MR to train on": (lambda d: d["training"][0].update(modality="MR"), "must be CT, not MR"),
    "a threshold without an image": (
        lambda d: d["training"][1].update(known_above_hu=200.0, structures="a_structures.nii.gz"),
        "m: known_above_hu needs an image and structures",
    ),
    "a threshold without structures": (
        lambda d: d["training"][0].update(known_above_hu=200.0),
        "a: known_above_hu needs an image and structures",
    ),
    "other bones of a painted body": (
        lambda d: d["training"][1].update(structures="a_structures.nii.gz", other_bones=[3]),
        "m: other_bones needs structures and a complete image",
    ),
    "other bones without structures": (
        lambda d: d["training"][0].update(other_bones=[3]),
        "a: other_bones needs structures and a complete image",
    ),
    "another modality": (
        lambda d: d["testing"][0].update(modality="PET"),
        "modality must be one of CT, MR",
    ),
    "a donor that is not trained on": (
        lambda d: d["vertebra_shapes"][0].update(case="t"),
        "t is not a training case",
    ),
    "a donor with an unknown level": (
        lambda d: d["vertebra_shapes"][0].update(first="X1"),
        "X1 is not a level",
    ),
    "a donor upside down": (
        lambda d: d["vertebra_shapes"][0].update(first="L4"),
        "L4 is below L3",
    ),
}


def written(folder: Path, content: object) -> Path:
    path = folder / "list.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


@pytest.mark.parametrize("kind", WRONG)
def test_a_wrong_data_list_is_refused(kind: str, tmp_path: Path):
    change, message = WRONG[kind]
    content = deepcopy(LIST)
    change(content)
    with pytest.raises(UserError, match=message) as caught:
        read_data_list(written(tmp_path, content))
    assert caught.value.code == Code.INPUT_BAD
    assert "list.json" in caught.value.message


@pytest.mark.parametrize("text", ["", "[]", "{", "[" * 100_000, "\udc80"])
def test_a_damaged_data_list_is_refused(text: str, tmp_path: Path):
    path = tmp_path / "list.json"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(UserError, match="is not a data list"):
        read_data_list(path)


def test_a_data_list_with_a_key_twice_is_refused(tmp_path: Path):
    path = written(tmp_path, LIST)
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace('"source": "one"', '"source": "one", "source": "two"', 1))
    with pytest.raises(UserError, match="'source' occurs twice"):
        read_data_list(path)


def test_a_missing_data_list_is_refused(tmp_path: Path):
    with pytest.raises(UserError, match=r"list\.json is not a data list: No such file"):
        read_data_list(tmp_path / "list.json")


def test_a_data_list_without_errors_is_read(tmp_path: Path):
    data = read_data_list(written(tmp_path, LIST))
    assert data.root == tmp_path
    assert [case.kind for case in data.training] == ["part", "mask"]
    assert data.image("a") == tmp_path / "a_ct.nii.gz"
    assert data.label("t") is None
    assert data.origin(data.training[0]).source == "One, CC BY 4.0 (A et al.)"
    assert data.shapes_source() == "synthetic spines composed of vertebrae of One (CC BY 4.0)"
    assert read_data_list(data.path, Path("elsewhere")).label("m") == Path("elsewhere/a_seg.nii.gz")


def test_a_data_root_without_a_list_is_refused(tmp_path: Path, capsys):
    words = ["train", "coarse", "--out", str(tmp_path / "out"), "--data-root", str(tmp_path)]
    assert main(words) != 0
    assert "there is no list" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.fixture(scope="module")
def phantom_list(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A list with an image and label map, and with the label map alone."""
    folder = tmp_path_factory.mktemp("list")
    options = PhantomOptions(first="L1", last="L3", spacing_mm=(4.0, 4.0, 4.0), tight=True)
    phantom = make_phantom(1, options)
    write_image(phantom.image, folder / "a_ct.nii.gz")
    write_image(phantom.labels, folder / "a_seg.nii.gz")
    return written(folder, LIST)


def test_licences_and_weights_travel_with_the_cached_cases(phantom_list: Path, tmp_path: Path):
    listed = read_data_list(phantom_list)
    first, weights = gather_cases(DataOptions(tmp_path, listed=listed, phantoms=2), 8.0, str)
    again, same = gather_cases(DataOptions(tmp_path, phantoms=2), 8.0, str)
    assert [case.origin for case in again] == [case.origin for case in first]
    assert [case.name for case in first] == ["a", "m", "phantom0", "composed1"]
    assert weights == same == draw_weights(again)
    assert attributions((case.name, case.origin) for case in again) == (
        "One, CC BY 4.0 (A et al.): a, m.",
        "synthetic spines of this package, Apache-2.0.",
        "synthetic spines composed of vertebrae of One (CC BY 4.0).",
    )


def test_phantoms_do_not_show_the_shapes_of_a_case_left_out(phantom_list: Path, tmp_path: Path):
    listed = read_data_list(phantom_list)
    options = DataOptions(tmp_path, listed=listed, phantoms=2, leave_out=("m",))
    cases, _ = gather_cases(options, 8.0, str)
    assert [case.name for case in cases] == ["a", "phantom0", "phantom1"]


def test_a_changed_entry_is_read_again(phantom_list: Path, tmp_path: Path):
    gather_cases(DataOptions(tmp_path, listed=read_data_list(phantom_list), phantoms=0), 8.0, str)
    content = deepcopy(LIST)
    content["training"][0]["complete"] = True
    changed = tmp_path / "changed.json"
    changed.write_text(json.dumps(content), encoding="utf-8")
    said: list[str] = []
    listed = read_data_list(changed, phantom_list.parent)
    cases, _ = gather_cases(DataOptions(tmp_path, listed=listed, phantoms=0), 8.0, said.append)
    changed_text = "a: its files or its entry have changed since the last call; read again"
    assert said == [changed_text, "a (1 of 1)"]
    assert cases[0].origin.kind == "complete"


def test_images_that_do_not_fit_their_labels_are_refused(phantom_list: Path, tmp_path: Path):
    phantom = make_phantom(1, PhantomOptions(first="L1", last="L2", spacing_mm=(4.0, 4.0, 4.0)))
    write_image(phantom.image, tmp_path / "a_ct.nii.gz")
    (tmp_path / "a_seg.nii.gz").write_bytes((phantom_list.parent / "a_seg.nii.gz").read_bytes())
    listed = read_data_list(phantom_list, tmp_path)
    with pytest.raises(UserError, match=r"a_seg\.nii\.gz: its grid is not that of a_ct\.nii\.gz"):
        list(load_listed_cases(listed, 8.0, ["a"], str))


def test_unknown_label_values_are_refused(phantom_list: Path, tmp_path: Path):
    labels = make_phantom(1, PhantomOptions(first="L1", last="L2", spacing_mm=(4.0,) * 3)).labels
    array = labels.array.astype(np.int16)
    array[array == 20] = 276  # 20 as uint8
    write_image(labels.with_array(array), tmp_path / "a_seg.nii.gz")
    with pytest.raises(UserError, match=r"holds the unknown values \[276\]"):
        list(load_listed_cases(read_data_list(phantom_list, tmp_path), 8.0, ["m"], str))


@pytest.fixture(scope="module")
def body_list(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A list with a body without an image, and with images of all and of a part of its voxels."""
    folder = tmp_path_factory.mktemp("bodies")
    labels, structures = body_volumes()
    soft = np.random.default_rng(1).integers(-120, 60, labels.array.shape)
    hu = np.where(labels.array > 0, 400, soft).astype(np.int16)
    write_image(labels, folder / "seg.nii.gz")
    write_image(structures, folder / "structures.nii.gz")
    write_image(labels.with_array(hu), folder / "ct.nii.gz")
    write_image(labels.with_array(np.where(hu >= 200, hu, 0)), folder / "bone_ct.nii.gz")
    files = {"source": "one", "label": "seg.nii.gz", "structures": "structures.nii.gz"}
    whole = {"image": "ct.nii.gz", "complete": True}
    part = {"image": "bone_ct.nii.gz", "known_above_hu": 200}
    cases = {"body": {}, "whole": whole, "part": part, "own": whole | {"other_bones": [80]}}
    training = [{"name": name} | files | more for name, more in cases.items()]
    return written(folder, {"schema": 1, "sources": LIST["sources"], "training": training})


def test_bodies_are_painted_and_images_know_their_ribs(body_list: Path):
    data = read_data_list(body_list)
    assert [case.kind for case in data.training] == ["body", "complete", "body", "complete"]
    assert len(data.training[2].files) == 3
    body, whole, part, own = load_listed_cases(data, 3.0, ["body", "whole", "part", "own"], str)
    assert body.image is None
    assert body.other_depth is not None
    assert (part.known_image > 0).float().mean() == pytest.approx(
        float((part.image > 0).float().mean()), abs=0.01
    )
    assert torch.equal(body.beside, whole.beside)
    assert whole.tissues is None
    # The values of other bones are those of the list: here the muscle.
    assert own.beside.sum() > whole.beside.sum()


def test_listed_cases_for_outlines_keep_their_voxels(body_list: Path):
    data = read_data_list(body_list)
    (fine,) = load_listed_cases(data, 1.5, ["whole"], str)
    (coarse,) = load_listed_cases(data, 4.0, ["whole"], str)
    assert fine.spacing_mm == (3.0, 3.0, 3.0)
    assert coarse.spacing_mm == (4.0, 4.0, 4.0)


def test_the_command_trains_on_bodies(body_list: Path, tmp_path: Path):
    words = ["train", "fine", "--out", str(tmp_path), "--data-list", str(body_list)]
    words += ["--phantoms", "0", "--contrast", "ct", "--last-phase", "0.5", "--threads", "1"]
    assert main([*words, "--leave-out", "own", "--steps", "1"]) == 0
    options = read_metadata(tmp_path).options
    assert options["last_phase"]["start"] == 0.5
    assert options["patch"]["spacing_mm"] == 1.5
    assert options["synthesis"]["mr"] == 0
    assert options["loss"]["beside"] > 0


def test_structures_with_unknown_numbers_are_refused(body_list: Path, tmp_path: Path):
    labels, structures = body_volumes()
    structures.array[:3] = 140
    write_image(labels, tmp_path / "seg.nii.gz")
    write_image(structures, tmp_path / "structures.nii.gz")
    data = read_data_list(body_list, tmp_path)
    with pytest.raises(UserError, match=r"holds the value 140; TotalSegmentator 2 has"):
        list(load_listed_cases(data, 4.0, ["body"], str))


def test_the_command_trains_on_a_data_list(phantom_list: Path, tmp_path: Path, monkeypatch):
    said: list[Any] = []
    monkeypatch.setattr(
        train, "_trainer", lambda args, recipe, cases, *_: said.append(cases[0]) or 1 / 0
    )
    words = ["train", "coarse", "--out", str(tmp_path), "--data-list", str(phantom_list)]
    main([*words, "--phantoms", "0"])
    assert [case.name for case in said[0]] == ["a", "m"]


PATCHES = (
    ("ts_example", 646, -0.5462),
    ("verse006", 1577, -0.4619),
    ("verse010", 0, -0.3582),
    ("verse006", 1198, -0.5472),
    ("verse006", 1566, -0.4952),
    ("ts_example", 1687, -0.5560),
    ("verse006", 844, -0.6050),
    ("ts_example", 3, -0.7082),
)
"""Case, voxels of bone and mean of the image of patches drawn with seed 6."""


def test_public_cases_lead_to_the_known_patches(shared_data: Path):
    names = ("verse005", "verse006", "verse010", "ts_example")
    cases = list(load_listed_cases(public_cases(shared_data), 4.0, names, str))
    assert [case.name for case in cases] == ["ts_example", "verse005", "verse006", "verse010"]
    generator, weights = torch.Generator().manual_seed(6), torch.tensor(draw_weights(cases))
    for name, voxels, mean in PATCHES:
        index = int(torch.multinomial(weights, 1, generator=generator))
        patch = draw_patch(cases[index], PatchOptions((16, 16, 16)), generator)
        image = paint(patch, generator)
        bone = (patch.target > 0) & (patch.target < IGNORE_INDEX)
        assert cases[index].name == name
        assert int(bone.sum()) == pytest.approx(voxels, abs=2)
        assert float(image.mean()) == pytest.approx(mean, abs=2e-3)


def test_the_example_in_the_training_page_is_a_data_list(repository: Path, tmp_path: Path):
    page = (repository / "Resources" / "Docs" / "training.md").read_text(encoding="utf-8")
    example, _centres = re.findall(r"```json\n(.*?)```", page, re.DOTALL)
    data = read_data_list(written(tmp_path, json.loads(example)))
    assert [case.kind for case in data.training] == ["complete", "part", "mask", "body"]
