"""Files are written completely or not at all, and output names are checked early."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from spinemamba.anatomy.terminology import segment_info
from spinemamba.common import atomic_files
from spinemamba.common.atomic_files import all_or_none, check_place, whole_or_nothing
from spinemamba.common.errors import Code, UserError
from spinemamba.common.scratch import SCRATCH, scratch
from spinemamba.imaging.read import read_labels
from spinemamba.imaging.seg_nrrd import write_labels
from spinemamba.imaging.volume import Geometry, Volume
from spinemamba.imaging.write import check_output, save, write_image
from spinemamba.inference.model import save_weights

posix = pytest.mark.skipif(sys.platform == "win32", reason="links, pipes and modes are POSIX")

SPINE = "\u810a"
"""Three bytes of UTF-8."""

WORKS = [
    "X.NII.GZ",
    "X.NRRD",
    "X.Nrrd",
    "X.SEG.NRRD",
    "a.img.nii.gz",
    "a.hdr.nii.gz",
    "a.img.mha",
    "a.hdr.seg.nrrd",
    "a.nii.gz.nrrd",
    ".nii.gz",
    "two words & \u0141\u00f3d\u017a.nii.gz",
    "new/folder.img/a.mha",
    SPINE * 82 + ".nii.gz",
    "x" * (255 - len(".seg.nrrd")) + ".seg.nrrd",
]

REFUSED = {
    "X.MHA": "do not read the ending .MHA",
    "X.Nii.Gz": "do not read the ending .Nii.Gz",
    "a.stl": "unknown format",
    "a": "unknown format",
    SPINE * 85 + ".nii.gz": "File name too long",
    "x" * 300 + ".nrrd": "File name too long",
    "x" * 300 + "/a.nrrd": "File name too long",
    "file.txt/a.nrrd": "is not a folder",
    "folder.nrrd": "it is a folder",
    "there.nrrd": "already exists",
}


def labels() -> Volume:
    """Four vertebrae, oblique."""
    turn = np.array([[0.8, -0.6, 0.0], [0.6, 0.8, 0.0], [0.0, 0.0, 1.0]])
    values = np.random.default_rng(0).integers(0, 5, (9, 10, 11)) * 5
    geometry = Geometry(values.shape, (2.5, 0.7, 1.1), (-12.5, 3.25, 700.0), turn)
    return Volume(values.astype(np.uint8), geometry)


def every_file(folder: Path) -> set[str]:
    """Return the paths of all files below a folder, hidden ones too."""
    found = (path for path in folder.rglob("*") if not path.is_dir())
    return {path.relative_to(folder).as_posix() for path in found}


@pytest.fixture
def new_mode() -> Iterator[int]:
    """Set the umask 027; give the mode of new files."""
    before = os.umask(0o027)
    yield 0o640
    os.umask(before)


@pytest.mark.parametrize("name", WORKS)
def test_a_file_with_an_unusual_name_is_written_and_read_back(tmp_path: Path, name: str):
    path = tmp_path / name
    check_output(path)
    assert every_file(tmp_path) == set()
    write_labels(labels(), path, [segment_info(v) for v in (5, 10, 15, 20)])
    assert every_file(tmp_path) == {name}
    again = read_labels(path)
    np.testing.assert_array_equal(again.array, labels().array)
    assert again.geometry.matches(labels().geometry)


@pytest.mark.parametrize("name", REFUSED)
def test_an_unwritable_name_is_refused_before_the_work(tmp_path: Path, name: str):
    (tmp_path / "folder.nrrd").mkdir()
    (tmp_path / "file.txt").touch()
    (tmp_path / "there.nrrd").touch()
    with pytest.raises(UserError) as caught:
        check_output(tmp_path / name)
    assert REFUSED[name] in caught.value.message
    assert caught.value.code is Code.OUTPUT_BAD
    assert every_file(tmp_path) == {"file.txt", "there.nrrd"}


@posix
def test_a_name_that_is_not_utf_8_is_refused_before_itk_aborts(tmp_path: Path):
    for path in (tmp_path / os.fsdecode(b"\xff.nrrd"), tmp_path / os.fsdecode(b"\xfe") / "a.nrrd"):
        with pytest.raises(UserError, match="not valid UTF-8"):
            check_output(path)
    # Files written by Python allow any name.
    with whole_or_nothing(tmp_path / os.fsdecode(b"\xff.json")) as partial:
        partial.touch()
    assert [os.fsencode(path.name) for path in tmp_path.iterdir()] == [b"\xff.json"]


@posix
def test_links_are_followed_and_devices_and_pipes_are_kept(tmp_path: Path):
    (tmp_path / "target").write_text("old")
    (tmp_path / "link").symlink_to("target")
    (tmp_path / "dangling").symlink_to("new/file")
    (tmp_path / "loop").symlink_to("loop")
    os.mkfifo(tmp_path / "pipe")
    for name in ("link", "dangling"):
        with whole_or_nothing(tmp_path / name) as partial:
            partial.write_text("new")
        assert (tmp_path / name).is_symlink()
    assert (tmp_path / "target").read_text() == "new"
    assert (tmp_path / "new" / "file").read_text() == "new"
    for path, why in ((tmp_path / "pipe", "a pipe"), (Path(os.devnull), "a device")):
        with pytest.raises(UserError, match=why):
            check_place(path, overwrite=True)
    with pytest.raises(UserError, match="symbolic links"):
        check_place(tmp_path / "loop", overwrite=True)
    with pytest.raises(UserError, match="a pipe"), whole_or_nothing(tmp_path / "pipe"):
        pass
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


def test_existing_files_are_replaced_only_with_overwrite(tmp_path: Path):
    path = tmp_path / "a.nrrd"
    path.write_text("corrected by hand")
    with pytest.raises(UserError, match=r"a.nrrd already exists\. .* \(--overwrite\)"):
        check_output(path)
    check_output(path, overwrite=True)
    assert path.read_text() == "corrected by hand"


def test_a_file_that_appears_during_the_work_is_not_overwritten(tmp_path: Path):
    path = tmp_path / "a"

    def write() -> None:
        with whole_or_nothing(path, overwrite=False) as partial:
            partial.write_text("mine")
            path.write_text("of another run")

    with pytest.raises(UserError, match="already exists"):
        write()
    assert path.read_text() == "of another run"
    assert every_file(tmp_path) == {"a"}


def test_created_folders_are_removed_if_writing_fails(tmp_path: Path):
    (tmp_path / "old").mkdir()
    paths = [tmp_path / "old" / "new" / "a", tmp_path / "x" / "y" / "b"]
    for path in paths:
        check_place(path)
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["old"]

    def write() -> None:
        with all_or_none(paths) as partial:
            partial[paths[0]].touch()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write()
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["old"]


@pytest.mark.parametrize("fails_at", range(3))
def test_a_failed_rename_restores_all_earlier_files(tmp_path, monkeypatch, fails_at):
    paths = [tmp_path / name for name in "abc"]
    paths[0].write_text("old a")
    paths[2].write_text("old c")
    replace, calls = Path.replace, iter(range(10))

    def fails(self: Path, target: Path) -> Path:
        if next(calls) == fails_at:
            raise PermissionError(errno.EACCES, "Permission denied", str(self))
        return replace(self, target)

    def write() -> None:
        with all_or_none(paths) as partial:
            for path in paths:
                partial[path].write_text("new")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", fails)
        with pytest.raises(UserError, match=f"Cannot write {'abc'[fails_at]}: Permission denied"):
            write()
    assert every_file(tmp_path) == {"a", "c"}
    assert [paths[0].read_text(), paths[2].read_text()] == ["old a", "old c"]
    write()
    assert [path.read_text() for path in paths] == ["new"] * 3


def test_an_error_about_another_file_is_not_reported_as_a_write_error(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match="no log"), whole_or_nothing(tmp_path / "a"):
        (tmp_path / "no log").read_bytes()
    assert every_file(tmp_path) == set()


@posix
def test_every_file_has_the_mode_of_the_umask(tmp_path: Path, new_mode: int):
    save_weights({"w": torch.zeros(3)}, tmp_path / "w.safetensors")
    write_image(labels(), tmp_path / "a.nii.gz")
    with whole_or_nothing(tmp_path / "private") as partial:
        partial.touch(0o600)
    atomic_files.write_together({tmp_path / "b": b"1", tmp_path / "c": b"2"})
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes == dict.fromkeys(["w.safetensors", "a.nii.gz", "private", "b", "c"], new_mode)


def test_a_failing_library_is_not_reported_as_a_full_disk(tmp_path, monkeypatch):
    def fails(image: sitk.Image, name: str, **options: object) -> None:
        for ending in (".mhd", ".zraw"):
            Path(name).with_suffix(ending).touch()
        raise RuntimeError("no such codec")

    monkeypatch.setattr(sitk, "WriteImage", fails)
    with pytest.raises(UserError, match=r"Cannot write a.mha: the image library failed") as caught:
        write_image(labels(), tmp_path / "a.mha")
    assert caught.value.code is Code.OUTPUT_BAD
    assert every_file(tmp_path) == set()


def test_a_file_that_reads_back_differently_is_deleted(tmp_path, monkeypatch):
    read = sitk.ReadImage
    monkeypatch.setattr(sitk, "ReadImage", lambda name: read(name) + 1)
    with pytest.raises(UserError, match=r"a.nrrd: the written file does not read back the same"):
        write_image(labels(), tmp_path / "a.nrrd")
    assert every_file(tmp_path) == set()


@pytest.mark.parametrize(
    ("number", "code", "remedy"),
    [
        (errno.ENOSPC, Code.DISK_FULL, "Free some disk space."),
        (errno.EDQUOT, Code.DISK_FULL, "Free some disk space."),
        (errno.EFBIG, Code.DISK_FULL, "Raise the limit on the size of files"),
        (errno.EROFS, Code.OUTPUT_BAD, "Choose a folder that you may write to."),
        (errno.EACCES, Code.OUTPUT_BAD, "Choose a folder that you may write to."),
    ],
)
def test_a_write_error_has_its_cause_and_the_final_file_name(
    tmp_path, monkeypatch, number, code, remedy
):
    def fails(image: sitk.Image, name: str, **options: object) -> None:
        raise RuntimeError("ITK does not say why")

    def refuse(self: Path, *args: object, **more: object) -> None:
        raise OSError(number, os.strerror(number), str(self))

    monkeypatch.setattr(sitk, "WriteImage", fails)

    def write(*paths: Path) -> None:
        with all_or_none(paths) as partial:
            partial[paths[0]].touch()
            monkeypatch.setattr(Path, "open", refuse)
            write_image(labels(), partial[paths[1]])

    with pytest.raises(UserError) as caught:
        write(tmp_path / "x.json", tmp_path / "spine.nrrd")
    assert caught.value.message == f"Cannot write spine.nrrd: {os.strerror(number)}."
    assert caught.value.remedy.startswith(remedy)
    assert caught.value.code is code


def test_too_little_memory_in_a_writer_is_reported_as_memory(tmp_path, monkeypatch):
    def fails(image: sitk.Image, name: str, **options: object) -> None:
        raise RuntimeError("Failed to allocate memory for image.")

    monkeypatch.setattr(sitk, "WriteImage", fails)
    with pytest.raises(UserError, match="too little free memory"):
        save(sitk.Image(9, 9, 9, sitk.sitkUInt8), tmp_path / "a.nrrd")
    assert every_file(tmp_path) == set()


@posix
def test_partial_files_of_a_killed_process_are_removed_at_the_next_write(tmp_path: Path):
    code = (
        "import os, sys\nfrom pathlib import Path\n"
        "from spinemamba.common.atomic_files import all_or_none\n"
        "with all_or_none([Path(sys.argv[1])]) as partial:\n"
        "    next(iter(partial.values())).write_text('half'); os.kill(os.getpid(), 9)"
    )
    package = str(Path(atomic_files.__file__).parents[2])
    dead = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "a")],
        env={**os.environ, "PYTHONPATH": package},
        check=False,
    )
    assert dead.returncode == -9
    (left,) = tmp_path.iterdir()
    of_another_computer = tmp_path / f"{SCRATCH}000000-1-abcdefgh"
    of_another_computer.mkdir()
    with scratch(tmp_path) as of_this_process:
        check_place(tmp_path / "a")
        assert set(tmp_path.iterdir()) == {of_another_computer, of_this_process}
    assert left.name.startswith(SCRATCH)
