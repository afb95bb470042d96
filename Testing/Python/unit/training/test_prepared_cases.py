"""``spinemamba prepare`` and trainings that use its folders."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from spinemamba.cli.main import main
from spinemamba.common.errors import Code, UserError
from spinemamba.common.processes import process_map
from spinemamba.imaging.write import write_image
from spinemamba.phantom import PhantomOptions, make_phantom
from spinemamba.training.data.case_store import StoredCase
from spinemamba.training.data.gather import CASES, DataOptions, gather_cases

OPTIONS = PhantomOptions(first="L1", last="L2", spacing_mm=(4.0, 4.0, 4.0), tight=True)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the case "a"."""
    folder = tmp_path_factory.mktemp("data")
    phantom = make_phantom(1, OPTIONS)
    write_image(phantom.image, folder / "a_ct.nii.gz")
    write_image(phantom.labels, folder / "a_seg-vert_msk.nii.gz")
    return folder


def prepare(data: Path, out: Path, *more: str) -> int:
    return main(["prepare", str(data), str(out), "--networks", "coarse", "--workers", "1", *more])


@pytest.fixture(scope="module")
def prepared(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("prepared")
    assert prepare(data, out) == 0
    return out


def gathered(folder: Path, *prepared: Path, **changes: object) -> list[StoredCase]:
    folders = tuple(path / "coarse" for path in prepared)
    options = replace(DataOptions(folder, phantoms=0, prepared=folders), **changes)
    return gather_cases(options, 4.0, lambda text: None)[0]


def test_a_second_preparation_makes_nothing(prepared: Path, data: Path, capsys):
    before = {path: path.stat().st_mtime_ns for path in prepared.rglob("*")}
    assert prepare(data, prepared) == 0
    text = capsys.readouterr().out
    assert "checked" not in text
    assert f"1 cases are in {prepared / 'coarse'}" in text
    after = {path: path.stat().st_mtime_ns for path in prepared.rglob("*") if path.is_file()}
    assert after.items() <= before.items()


def test_prepared_cases_are_used_from_their_folder(prepared: Path, data: Path, tmp_path: Path):
    (case,) = gathered(tmp_path / "run", prepared)
    assert case.path.parent == prepared / "coarse" / CASES
    assert not (tmp_path / "run").exists()
    made = gathered(tmp_path / "own", user=data)[0].opened()
    assert case.opened().target.equal(made.target)


def test_equal_names_of_two_folders_are_told_apart(prepared: Path, tmp_path: Path):
    other = tmp_path / "other"
    other.mkdir()
    phantom = make_phantom(2, OPTIONS)
    write_image(phantom.image, other / "a_ct.nii.gz")
    write_image(phantom.labels, other / "a_seg-vert_msk.nii.gz")
    assert prepare(other, tmp_path / "second") == 0
    names = [case.name for case in gathered(tmp_path / "run", prepared, tmp_path / "second")]
    assert names == [f"{prepared.name}/a", "a"]


def test_a_folder_without_prepared_cases_is_refused(prepared: Path, tmp_path: Path):
    with pytest.raises(UserError, match="does not hold whole prepared cases") as caught:
        gathered(tmp_path / "run", tmp_path)
    assert "spinemamba prepare" in caught.value.remedy
    with pytest.raises(UserError, match=r"voxels of 4 mm; this network needs 1\.5 mm"):
        gather_cases(DataOptions(tmp_path, prepared=(prepared / "coarse",)), 1.5, str)


def test_a_damaged_prepared_case_is_refused(data: Path, tmp_path: Path):
    assert prepare(data, tmp_path / "prepared") == 0
    (case,) = gathered(tmp_path / "run", tmp_path / "prepared")
    case.path.write_bytes(case.path.read_bytes()[:-1])
    with pytest.raises(UserError, match="is damaged"):
        gathered(tmp_path / "run", tmp_path / "prepared")
    assert prepare(data, tmp_path / "prepared") == 0
    assert gathered(tmp_path / "run", tmp_path / "prepared") == [case]


def test_a_missing_folder_of_cases_is_refused_and_nothing_written(tmp_path: Path, capsys):
    assert prepare(tmp_path / "nothing", tmp_path / "out") == 2
    assert "There is no" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def refuse(item: int) -> int:
    raise UserError(f"{item} is wrong.", "Correct it.", Code.MODEL_BAD)


def test_an_error_in_a_worker_keeps_its_message_remedy_and_code():
    with pytest.raises(UserError) as caught, process_map(2) as each:
        list(each(refuse, [7]))
    assert (caught.value.message, caught.value.remedy) == ("7 is wrong.", "Correct it.")
    assert caught.value.code == Code.MODEL_BAD
