"""The token store with a real keyring of the system: GNOME's, in a D-Bus session of its own."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

_SCRIPT = """
import subprocess, sys
from pathlib import Path
from types import ModuleType
for name in ("slicer", "slicer.i18n"):
    sys.modules[name] = ModuleType(name)
sys.modules["slicer.i18n"].tr = lambda text: text

def unlock():
    command = ["gnome-keyring-daemon", "--replace", "--unlock", "--components=secrets"]
    subprocess.run(command, input=b"pw", stdout=subprocess.DEVNULL, check=True)

def lock():
    import secretstorage
    secretstorage.get_default_collection(secretstorage.dbus_init()).lock()

from spinemamba.common.errors import UserError
from SpineMambaSegmentLib.Setup.TokenStore import TokenStore
store, address = TokenStore(Path(sys.argv[1])), "https://gpu.example:8642"
say = lambda *words: print("said", *words)
place = lambda: "keyring" if store.fileOf(address) is None else "file"
"""

_WORKING = """
unlock()
store.keep(address, "first")
say(store.token(address), place(), store.token("https://other.example"))
store.keep(address, "second")
say(TokenStore(Path(sys.argv[1])).token(address), place())
store.keep(address, "")
say(store.token(address) or "none", place())
store.keep(address, "")
"""

_LOCKED = """
unlock()
store.keep(address, "old")
lock()
say(store.token(address) or "none")
try:
    store.keep(address, "")
except UserError as error:
    say(error.remedy)
store.keep(address, "new")
say(store.token(address), place())
unlock()
say(store.token(address), place())
store.keep(address, "newest")
say(store.token(address), place())
store.keep(address, "")
say(store.token(address) or "none")
"""

_MISSING = """
store.keep(address, "only")
say(store.token(address), place())
"""


@pytest.fixture
def run(repository: Path, tmp_path: Path):
    """Run a script in a session without a screen; return the words that it prints."""
    for tool in ("dbus-run-session", "gnome-keyring-daemon"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
    for package in ("keyring", "secretstorage"):
        pytest.importorskip(package)
    kept = {k: v for k, v in os.environ.items() if k not in ("DISPLAY", "WAYLAND_DISPLAY")}
    kept.pop("DBUS_SESSION_BUS_ADDRESS", None)
    own = {"HOME": tmp_path, "XDG_DATA_HOME": tmp_path / "data", "XDG_RUNTIME_DIR": tmp_path}
    path = os.pathsep.join([str(repository / "SpineMambaSegment"), *filter(None, sys.path)])

    def words(script: str, *, session: bool = True) -> list[list[str]]:
        prefix = ["dbus-run-session", "--"] if session else []
        done = subprocess.run(
            [*prefix, sys.executable, "-c", _SCRIPT + script, str(tmp_path / "tokens")],
            env={**kept, **{k: str(v) for k, v in own.items()}, "PYTHONPATH": path},
            capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return [line.split()[1:] for line in done.stdout.splitlines() if line.startswith("said ")]

    return words


def test_a_token_is_stored_read_and_removed_in_the_keyring(run, tmp_path: Path):
    assert run(_WORKING) == [["first", "keyring"], ["second", "keyring"], ["none", "keyring"]]
    assert not (tmp_path / "tokens").exists()


def test_a_locked_keyring_is_replaced_by_a_private_file(run, tmp_path: Path):
    assert run(_LOCKED) == [
        ["none"],
        ["Unlock", "the", "keyring,", "and", "try", "again."],
        ["new", "file"],
        ["new", "file"],
        ["newest", "keyring"],
        ["none"],
    ]


def test_a_missing_keyring_is_replaced_by_a_private_file(run, tmp_path: Path):
    assert run(_MISSING, session=False) == [["only", "file"]]
    (path,) = (tmp_path / "tokens").iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
