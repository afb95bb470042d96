"""The lock of a folder excludes other processes and ends with its process."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from spinemamba.common import locks
from spinemamba.common.errors import Code, UserError
from spinemamba.common.locks import wait_for_lock

HOLD = """
import sys, time
from pathlib import Path
from spinemamba.common.locks import wait_for_lock
with wait_for_lock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the lock of a folder."""
    home = Path(locks.__file__).parents[2]
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(home)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_waiting_too_long_for_a_lock_is_an_error(holder, tmp_path):
    lock = wait_for_lock(tmp_path, 0.2)
    with pytest.raises(UserError, match="Another program is writing into the folder") as caught:
        lock.__enter__()
    assert caught.value.code is Code.OUTPUT_BAD


def test_a_lock_is_freed_when_its_process_ends_and_leaves_no_file(holder, tmp_path):
    holder.kill()
    holder.wait()
    with wait_for_lock(tmp_path, 0.2):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_process_waits_for_the_lock_of_another(tmp_path):
    order = []

    def first() -> None:
        with wait_for_lock(tmp_path):
            order.append("first")
            time.sleep(0.2)
            order.append("first goes")

    thread = threading.Thread(target=first)
    thread.start()
    while not order:
        time.sleep(0.01)
    with wait_for_lock(tmp_path):
        order.append("second")
    thread.join()
    assert order == ["first", "first goes", "second"]


def test_an_error_while_locked_frees_the_lock(tmp_path):
    with pytest.raises(ValueError, match="inside"), wait_for_lock(tmp_path):
        raise ValueError("inside")
    with wait_for_lock(tmp_path, 0.1):
        pass


def test_a_file_system_without_locks_is_used_without_locking(tmp_path, monkeypatch):
    if locks.fcntl is None:
        pytest.skip("Windows locks otherwise")

    def refuse(descriptor: int, how: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(locks.fcntl, "flock", refuse)
    with wait_for_lock(tmp_path, 0.1):
        pass


def test_a_file_is_locked_where_folders_cannot_be_locked(tmp_path, monkeypatch):
    monkeypatch.setattr(locks, "fcntl", None)
    with wait_for_lock(tmp_path):
        assert [path.name for path in tmp_path.iterdir()] == [locks.LOCK]
        with pytest.raises(UserError, match="Another program"), wait_for_lock(tmp_path, 0.1):
            pass
