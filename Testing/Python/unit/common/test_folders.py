"""A folder is replaced whole, and a lock file says whether a process works."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from spinemamba.common.errors import Code, UserError
from spinemamba.common.folders import replace_folder
from spinemamba.common.locks import FileLock
from spinemamba.common.scratch import REPLACED, scratch, sweep


def folder(path: Path, text: str) -> Path:
    """Make a folder with a file."""
    path.mkdir(parents=True)
    (path / "file").write_text(text, encoding="utf-8")
    return path


def test_a_folder_appears_where_none_was(tmp_path: Path):
    with scratch(tmp_path) as hidden:
        replace_folder(folder(hidden / "new", "n"), tmp_path / "to", hidden)
    assert (tmp_path / "to" / "file").read_text(encoding="utf-8") == "n"
    assert [path.name for path in tmp_path.iterdir()] == ["to"]


def test_an_older_folder_is_moved_away(tmp_path: Path):
    folder(tmp_path / "to", "o")
    with scratch(tmp_path) as hidden:
        replace_folder(folder(hidden / "new", "n"), tmp_path / "to", hidden)
        assert (tmp_path / "to" / "file").read_text(encoding="utf-8") == "n"
        assert (hidden / f"{REPLACED}-0" / "file").read_text(encoding="utf-8") == "o"
    assert [path.name for path in tmp_path.iterdir()] == ["to"]


def test_a_folder_that_another_process_puts_there_is_moved_away_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    rename, others = Path.rename, iter("ab")

    def disturbed(self: Path, target: Path) -> Path:
        if self.name == "new" and (text := next(others, "")):
            folder(target, text)
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", disturbed)
    with scratch(tmp_path) as hidden:
        replace_folder(folder(hidden / "new", "n"), tmp_path / "to", hidden)
    assert (tmp_path / "to" / "file").read_text(encoding="utf-8") == "n"


class Stopped(BaseException):
    """Stands for Ctrl+C."""


@pytest.mark.parametrize("step", [1, 2, 3])
def test_a_folder_is_old_or_new_if_the_process_is_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
):
    rename, steps = Path.rename, iter(range(1, 9))

    def stopped(self: Path, target: Path) -> Path:
        if next(steps) == step:
            raise Stopped
        return rename(self, target)

    folder(tmp_path / "to", "o")
    monkeypatch.setattr(Path, "rename", stopped)
    with pytest.raises(Stopped), scratch(tmp_path) as hidden:
        replace_folder(folder(hidden / "new", "n"), tmp_path / "to", hidden)
    assert (tmp_path / "to" / "file").read_text(encoding="utf-8") == ("n" if step == 3 else "o")
    assert [path.name for path in tmp_path.iterdir()] == ["to"]


def test_what_a_killed_process_was_replacing_is_put_back(tmp_path: Path):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    with scratch(tmp_path) as hidden:
        hidden.rename(hidden.with_name(hidden.name.replace(f"-{os.getpid()}-", f"-{ended.pid}-")))
    (left,) = tmp_path.iterdir()
    folder(left / REPLACED / "to", "o")
    sweep(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["to"]
    assert (tmp_path / "to" / "file").read_text(encoding="utf-8") == "o"


def test_a_folder_that_cannot_be_renamed_is_an_error(tmp_path: Path):
    new = folder(tmp_path / "new", "n")
    with pytest.raises(UserError) as caught:
        replace_folder(new, tmp_path / "missing" / "to", tmp_path)
    assert caught.value.code is Code.OUTPUT_BAD


def test_a_lock_is_held_once_and_leaves_no_file(tmp_path: Path):
    path = tmp_path / "a.lock"
    lock = FileLock.take(path)
    assert FileLock.take(path) is None
    lock.release()
    assert not path.exists()
    again = FileLock.take(path)
    assert again is not None
    again.release()


def test_a_lock_file_of_a_killed_process_is_free(tmp_path: Path):
    path = tmp_path / "a.lock"
    path.write_text("process 1 on somewhere", encoding="utf-8")
    lock = FileLock.take(path)
    assert lock is not None
    lock.release()


def test_the_peak_of_memory_covers_a_large_block():
    # In a process of its own: in a large one, the block may reuse memory that was freed.
    code = (
        "from spinemamba.common.process_tuning import peak_memory_mb, reset_peak_memory\n"
        "reset_peak_memory()\n"
        "before = peak_memory_mb()\n"
        "block = bytearray(b'1') * (64 << 20)\n"
        "assert peak_memory_mb() >= before + 40, (before, peak_memory_mb())\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
