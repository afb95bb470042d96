"""Cached training cases are used again only if nothing about them has changed."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from safetensors.torch import save_file

from spinemamba.common.errors import Code, UserError
from spinemamba.imaging.volume import Volume
from spinemamba.imaging.write import write_image
from spinemamba.phantom import Phantom, PhantomOptions, make_phantom
from spinemamba.training.data import gather
from spinemamba.training.data.case_store import INDEX, CaseStore, StoredCase
from spinemamba.training.data.data_list import read_data_list
from spinemamba.training.data.dataset import Case
from spinemamba.training.data.gather import CASES, DataOptions, gather_cases
from spinemamba.training.data.read_dataset import UserCase

CT, SEG = "_ct.nii.gz", "_seg-vert_msk.nii.gz"
L1, L2, L3 = 20, 21, 22


class Calls:
    """Calls of the preparation of a training, with their messages."""

    def __init__(self, folder: Path):
        self.data, self.out = folder / "data", folder / "out"
        self.said: list[str] = []

    def __call__(self, spacing_mm: float = 8.0, **changes: object) -> dict[str, Case]:
        """Prepare again; return the cases by name."""
        options = replace(DataOptions(self.out, user=self.data, phantoms=0), **changes)
        self.said.clear()
        cases, weights = gather_cases(options, spacing_mm, self.said.append)
        assert len(cases) == len(weights) == len({case.name for case in cases})
        # Copied, because some tests damage the files, which are mapped into memory.
        return {case.name: deepcopy(case.opened()) for case in cases}

    def stored(self) -> list[StoredCase]:
        """Return the cases that the index lists."""
        return CaseStore(self.out / CASES, 8.0).read(pytest.fail)

    def checked(self) -> list[str]:
        """Return the cases that the last call has read."""
        return [text.rpartition(": ")[2] for text in self.said if text.startswith("checked")]


@pytest.fixture(scope="module")
def phantoms() -> list[Phantom]:
    options = PhantomOptions(first="L1", last="L3", spacing_mm=(4.0, 4.0, 4.0), tight=True)
    return [make_phantom(seed, options) for seed in (1, 2)]


@pytest.fixture
def calls(phantoms: list[Phantom], tmp_path: Path) -> Calls:
    """A folder with the cases "a" and "b", before any preparation."""
    calls = Calls(tmp_path)
    calls.data.mkdir()
    for name, phantom in zip("ab", phantoms, strict=True):
        write_image(phantom.image, calls.data / f"{name}{CT}")
        write_image(phantom.labels, calls.data / f"{name}{SEG}")
    return calls


def relabelled(phantom: Phantom, old: int, new: int) -> Volume:
    array = phantom.labels.array.copy()
    array[array == old] = new
    return phantom.labels.with_array(array)


def levels(case: Case) -> set[int]:
    return set(torch.unique(case.target).tolist()) - {0, 255}


def equal(one: dict[str, Case], other: dict[str, Case]) -> bool:
    return one.keys() == other.keys() and all(
        torch.equal(one[n].target, other[n].target) and torch.equal(one[n].image, other[n].image)
        for n in one
    )


def test_unchanged_cases_are_not_read_again(calls: Calls):
    first = calls()
    assert calls.checked() == ["a", "b"]
    before = {path: path.stat().st_ino for path in (calls.out / CASES).iterdir()}
    assert len(before) == 3
    assert equal(calls(), first)
    assert calls.said == []
    assert {path: path.stat().st_ino for path in (calls.out / CASES).iterdir()} == before


def test_changed_labels_are_read_again_and_reported(calls: Calls, phantoms: list[Phantom]):
    assert levels(calls()["a"]) == {L1, L2, L3}
    write_image(relabelled(phantoms[0], L3, 23), calls.data / f"a{SEG}")
    again = calls()
    assert list(again) == ["a", "b"]  # their order decides which patches are drawn
    assert levels(again["a"]) == {L1, L2, 23}
    assert calls.checked() == ["a"]
    assert any(text.startswith("a: its files have changed") for text in calls.said)
    calls()
    assert calls.said == []


def test_a_changed_image_is_read_again(calls: Calls, phantoms: list[Phantom]):
    before = calls()["b"]
    image = phantoms[1].image
    write_image(image.with_array(image.array + np.int16(7)), calls.data / f"b{CT}")
    after = calls()["b"]
    assert calls.checked() == ["b"]
    assert (after.image - before.image).float().median() == 7


def test_changed_label_names_in_dataset_json_are_used(tmp_path: Path, phantoms: list[Phantom]):
    calls = Calls(tmp_path)
    for kind, volume in (
        ("imagesTr/a_0000", phantoms[0].image),
        ("labelsTr/a", phantoms[0].labels),
    ):
        (calls.data / kind).parent.mkdir(parents=True)
        write_image(volume, calls.data / f"{kind}.nii.gz")
    names = {"background": 0, "L1": L1, "L2": L2, "L3": L3}
    (calls.data / "dataset.json").write_text(json.dumps({"labels": names}))
    assert levels(calls()["a"]) == {L1, L2, L3}
    names = {"background": 0, "L2": L1, "L3": L2, "L4": L3}
    (calls.data / "dataset.json").write_text(json.dumps({"labels": names}))
    assert levels(calls()["a"]) == {L2, L3, 23}


def test_a_removed_case_is_dropped_and_a_renamed_one_is_kept(calls: Calls):
    first = calls()
    for ending in (CT, SEG):
        (calls.data / f"a{ending}").unlink()
        (calls.data / f"b{ending}").rename(calls.data / f"c{ending}")
    again = calls()
    assert list(again) == ["c"]
    assert torch.equal(again["c"].target, first["b"].target)
    assert calls.checked() == []
    assert any("a: no longer in" in text for text in calls.said)
    assert [case.name for case in calls.stored()] == ["c"]
    assert len(list((calls.out / CASES).glob("*.safetensors"))) == 1


def test_cached_user_cases_are_used_without_their_folder_and_reported(calls: Calls):
    first = calls()
    again = calls(user=None, phantoms=1)
    assert equal({n: again[n] for n in "ab"}, first)
    assert again.keys() == {"a", "b", "phantom0"}
    assert "2 cases of an earlier call's --data are used unchanged" in calls.said
    assert calls().keys() == {"a", "b", "phantom0"}
    assert "1 phantoms of earlier calls are also used" in calls.said


def test_duplicate_cases_are_used_once_and_reported(calls: Calls):
    for ending in (CT, SEG):
        shutil.copy(calls.data / f"a{ending}", calls.data / f"z{ending}")
    assert calls().keys() == {"a", "b"}
    assert "z: the same files as a; they are used once" in calls.said


def test_an_image_with_two_label_maps_is_reported(calls: Calls, phantoms: list[Phantom]):
    shutil.copy(calls.data / f"a{CT}", calls.data / f"z{CT}")
    write_image(relabelled(phantoms[0], L3, 23), calls.data / f"z{SEG}")
    assert calls().keys() == {"a", "b", "z"}
    assert "z: the same image as a, with other labels" in calls.said


def test_cases_of_two_patients_with_one_name_are_both_used(calls: Calls, phantoms: list[Phantom]):
    for number, patient in enumerate(("p1", "p2")):
        (calls.data / patient).mkdir()
        write_image(phantoms[number].image, calls.data / patient / f"scan{CT}")
        labels = relabelled(phantoms[number], L3, 23) if number else phantoms[number].labels
        write_image(labels, calls.data / patient / f"scan{SEG}")
        for ending in (CT, SEG):
            (calls.data / f"{'ab'[number]}{ending}").unlink()
    cases = calls(leave_out=("p2/scan",))
    assert cases.keys() == {"p1/scan"}
    assert levels(cases["p1/scan"]) == {L1, L2, L3}
    assert levels(calls()["p2/scan"]) == {L1, L2, 23}
    assert not torch.equal(calls()["p2/scan"].image, cases["p1/scan"].image)


def test_a_user_case_named_like_a_phantom_is_kept_apart(calls: Calls):
    for ending in (CT, SEG):
        (calls.data / f"b{ending}").rename(calls.data / f"phantom0{ending}")
    cases = calls(phantoms=1)
    assert cases.keys() == {"a", "own/phantom0", "phantom0"}
    assert calls(phantoms=1).keys() == cases.keys()
    assert calls.said == []


def test_a_case_with_a_detached_header_is_read_at_every_call(calls: Calls, phantoms: list[Phantom]):
    header, data = calls.data / "a.mhd", calls.data / "a.raw"
    sitk.WriteImage(sitk.ReadImage(str(calls.data / f"a{SEG}")), str(header))
    (calls.data / f"a{SEG}").unlink()
    header.rename(calls.data / "a_seg-vert_msk.mha")
    assert levels(calls()["a"]) == {L1, L2, L3}
    data.write_bytes(relabelled(phantoms[0], L3, 23).array.tobytes())
    assert levels(calls()["a"]) == {L1, L2, 23}
    assert calls.checked() == ["a"]


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1000] ^= 1
    path.write_bytes(bytes(content))


DAMAGE: dict[str, Callable[[Path], object]] = {
    "truncated": lambda path: os.truncate(path, 1000),
    "the last byte is missing": lambda path: os.truncate(path, path.stat().st_size - 1),
    "empty": lambda path: os.truncate(path, 0),
    "one bit is wrong": flip,
    "text": lambda path: path.write_text("{}"),
    "weights": lambda path: save_file({"w": torch.zeros(3)}, path),
    "a list for a header": lambda path: save_file({"w": torch.zeros(3)}, path, {"about": "[]"}),
    "missing": lambda path: path.unlink(),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_file_of_a_case_is_made_again_and_reported(kind: str, calls: Calls):
    first = calls(phantoms=1)
    path = next(case.path for case in calls.stored() if case.name == "a")
    DAMAGE[kind](path)
    again = calls(phantoms=1)
    assert list(again) == list(first)  # their order decides which patches are drawn
    assert equal(again, first)
    assert calls.checked() == ["a"]
    assert sum(text.startswith(str(path)) for text in calls.said) == 1
    assert calls(phantoms=1).keys() == first.keys()
    assert calls.said == []


def other_version(path: Path) -> None:
    content = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(content | {"dataset_version": 1}), encoding="utf-8")


INDEX_DAMAGE: dict[str, Callable[[Path], object]] = {
    "truncated": lambda path: os.truncate(path, 100),
    "empty": lambda path: os.truncate(path, 0),
    "another format": lambda path: path.write_text("{}"),
    "another version": other_version,
    "missing": lambda path: path.unlink(),
}


@pytest.mark.parametrize("kind", INDEX_DAMAGE)
def test_a_damaged_index_is_written_again_without_reading_images(kind: str, calls: Calls):
    first = calls(phantoms=1)
    path = calls.out / CASES / INDEX
    INDEX_DAMAGE[kind](path)
    again = calls(phantoms=1)
    assert list(again) == list(first)
    assert equal(again, first)
    assert calls.checked() == []
    said = [text for text in calls.said if text.startswith(str(path))]
    assert len(said) == (kind != "missing")
    calls(phantoms=1)
    assert calls.said == []


def test_an_interrupted_preparation_goes_on_with_the_missing_cases(calls: Calls, monkeypatch):
    make, made = gather._make_user, []

    def interrupted(store: CaseStore, entry: UserCase) -> StoredCase:
        if made:
            raise KeyboardInterrupt
        made.append(entry.name)
        return make(store, entry)

    with monkeypatch.context() as patch:
        patch.setattr(gather, "_make_user", interrupted)
        with pytest.raises(KeyboardInterrupt):
            calls()
    assert not (calls.out / CASES / INDEX).exists()
    assert calls().keys() == {"a", "b"}
    assert made == ["a"]
    assert calls.checked() == ["b"]


def test_cases_made_by_several_processes_are_those_made_by_one(calls: Calls, tmp_path: Path):
    one = calls(phantoms=2)
    calls.out = tmp_path / "several"
    several = calls(phantoms=2, workers=2)
    assert list(several) == list(one)
    assert equal(several, one)
    assert calls.checked() == ["a", "b"]


def test_problems_found_by_several_processes_are_all_listed(calls: Calls):
    (calls.data / f"a{SEG}").write_bytes(b"")
    (calls.data / f"b{CT}").write_bytes(b"")
    with pytest.raises(UserError, match="2 files cannot be used"):
        calls(workers=2)
    assert not calls.out.exists()


def test_a_file_of_a_case_that_is_no_longer_used_is_removed(calls: Calls):
    calls()
    foreign = calls.out / CASES / "notes.safetensors"
    foreign.touch()
    (calls.data / f"a{CT}").unlink()
    (calls.data / f"a{SEG}").unlink()
    (kept,) = calls.stored() if calls() else ()
    files = {path for path in (calls.out / CASES).iterdir() if path.name != INDEX}
    assert files == {kept.path, foreign}


def test_the_cache_of_the_other_network_is_refused_and_kept(calls: Calls):
    calls()
    before = {path: path.read_bytes() for path in (calls.out / CASES).iterdir()}
    with pytest.raises(UserError, match=r"voxels of 8 mm; this network needs 4 mm") as caught:
        calls(spacing_mm=4.0)
    assert caught.value.code == Code.INPUT_BAD
    assert str(calls.out / CASES / INDEX) in caught.value.message
    assert {path: path.read_bytes() for path in (calls.out / CASES).iterdir()} == before


def test_a_cache_has_the_permissions_of_any_new_file(calls: Calls, tmp_path: Path):
    calls()
    (tmp_path / "usual").touch()
    modes = {path.stat().st_mode for path in (calls.out / CASES).iterdir()}
    assert modes == {(tmp_path / "usual").stat().st_mode}
    assert not list((calls.out / CASES).glob(".*"))


def test_unusable_files_are_listed_together_and_no_cache_is_written(calls: Calls):
    (calls.data / f"a{SEG}").write_bytes(b"")
    (calls.data / f"b{CT}").unlink()
    (calls.data / f"b{CT}").symlink_to(calls.data / "nothing")
    with pytest.raises(UserError) as caught:
        calls()
    assert "2 files cannot be used" in caught.value.message
    assert "b_ct.nii.gz: Input not found" in caught.value.message
    assert f"a{SEG}: a{SEG} is empty" in caught.value.message
    assert not calls.out.exists()


def test_listed_cases_are_read_again_when_their_files_change(calls: Calls, tmp_path: Path):
    entries = [
        {"name": f"r{k}", "source": "one", "image": f"{name}{CT}", "label": f"{name}{SEG}"}
        for k, name in enumerate("ab", start=1)
    ]
    source = {"title": "One", "licence": "CC BY 4.0", "credit": "A et al."}
    path = tmp_path / "list.json"
    path.write_text(json.dumps({"schema": 1, "sources": {"one": source}, "training": entries}))
    listed = read_data_list(path, calls.data)
    first = calls(user=None, listed=listed)
    assert first.keys() == {"r1", "r2"}
    calls(user=None, listed=listed)
    assert calls.said == []
    labels = sitk.ReadImage(str(calls.data / f"a{SEG}"))
    sitk.WriteImage(sitk.ChangeLabel(labels, {L3: 23}), str(calls.data / f"a{SEG}"))
    again = calls(user=None, listed=listed)
    assert levels(again["r1"]) == {L1, L2, 23}
    assert any(text.startswith("r1: its files or its entry have changed") for text in calls.said)
    (calls.data / f"a{SEG}").unlink()
    with pytest.raises(UserError, match="cannot be read"):
        calls(user=None, listed=listed)
