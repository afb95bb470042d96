"""The panel on a test host: real scene, real Qt, real .ui file, real processes; no Slicer."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

HERE = Path(__file__).parent
TRY_VTK = """
import vtk
window = vtk.vtkRenderWindow()
window.SetOffScreenRendering(1)
window.AddRenderer(vtk.vtkRenderer())
window.Render()
assert window.SupportsOpenGL()
"""
TRY_QT = "from PySide6.QtWidgets import QApplication; QApplication([])"


def qt_works() -> bool:
    """Return whether Qt starts without a screen.

    Asked of a process of its own: where a system library is missing (libEGL, libGL, libxkbcommon,
    libfontconfig, libdbus), Qt does not raise, it ends the process.
    """
    if importlib.util.find_spec("PySide6") is None or importlib.util.find_spec("slicer") is None:
        return False
    environment = {**os.environ, "QT_QPA_PLATFORM": "offscreen"}
    command = [sys.executable, "-c", TRY_QT]
    done = subprocess.run(command, env=environment, capture_output=True, check=False, timeout=120)
    return done.returncode == 0


# Tests import the host with pytest.importorskip, which then does not find it.
if qt_works():
    sys.path.insert(0, str(HERE / "host"))


@pytest.fixture(scope="session")
def module(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> ModuleType:
    """The module file, imported as Slicer does, in a running host."""
    host = pytest.importorskip("application")
    host.start(tmp_path_factory.mktemp("slicer"))
    return host.import_module(repository / "SpineMambaSegment" / "SpineMambaSegment.py")


@pytest.fixture
def fake_worker(
    module: ModuleType, repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """Let the panel start the fake worker; returns the folder for temporary files."""
    if sys.platform == "win32":
        pytest.skip("the stand-in is a shell script")
    from run_helpers import put_python_slicer

    command = f'exec "{sys.executable}" "{HERE / "fake_worker.py"}" "$@"'
    put_python_slicer(monkeypatch, tmp_path / "bin", command)
    return _own_temporary_folder(tmp_path, monkeypatch)


@pytest.fixture
def real_worker(module: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let the panel start the real worker; returns the folder for temporary files."""
    return _own_temporary_folder(tmp_path, monkeypatch)


def _own_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    import slicer

    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(slicer.app, "temporaryPath", str(folder))
    return folder


@pytest.fixture
def make_panel(module: ModuleType) -> Iterator[Callable[[], Any]]:
    """Return a function that opens the panel; it is closed, and the scene emptied, at the end."""
    import application
    import slicer

    opened = []

    def make() -> Any:
        widget, frame = application.make_panel(module)
        frame.resize(430, 900)
        frame.show()
        widget.panel.widget, widget.panel.frame = widget, frame
        opened.append(frame)
        return widget.panel

    slicer.app.settings().clear()
    yield make
    for frame in opened:
        application.close_panel(frame)
    slicer.mrmlScene.Clear(1)
    slicer.app.processEvents()


@pytest.fixture
def main_window(make_panel: Callable[[], Any]) -> Iterator[Any]:
    """Slicer's main window; without this fixture Slicer runs as with --no-main-window."""
    import slicer

    yield slicer.app.showMainWindow()
    slicer.app.closeMainWindow()


@pytest.fixture
def answer(main_window: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], list[str]]:
    """Return a function that sets what the user answers to all questions, yes or no.

    It returns the list of questions that are asked from then on.
    """
    import ctk
    import slicer

    def set_answer(agreed: bool) -> list[str]:
        box = ctk.ctkMessageBox
        button = box.StandardButton.Ok if agreed else box.StandardButton.Cancel
        monkeypatch.setattr(slicer.app, "testing", False)
        monkeypatch.setattr(box, "answer", button)
        monkeypatch.setattr(box, "asked", [])
        return box.asked

    return set_answer


@pytest.fixture
def panel(make_panel: Callable[[], Any]) -> Any:
    """The open panel."""
    return make_panel()


@pytest.fixture
def token_store(module: ModuleType, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module TokenStore, which must not write to the keyring of the user."""
    from SpineMambaSegmentLib.Setup import TokenStore

    monkeypatch.setattr(TokenStore, "_keyring", lambda: None)
    return TokenStore


@pytest.fixture
def short_waits(token_store: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the waits of the client in an outage."""
    from server_user import QUICK

    from spinemamba.protocol.remote import remote_worker

    monkeypatch.setattr(remote_worker, "Patience", lambda: QUICK)


@pytest.fixture
def server_user(short_waits: None, panel: Any, volume: Any, pump: Any, real_worker: Path) -> Any:
    """A user of the panel with a server."""
    from server_user import ServerUser

    return ServerUser(panel, volume, pump, real_worker)


@pytest.fixture
def volume(module: ModuleType) -> Any:
    """A volume with a name that must not leave the scene."""
    from scene_helpers import add_volume

    return add_volume(np.arange(24 * 20 * 16, dtype=np.int16).reshape(24, 20, 16), np.eye(4))


@pytest.fixture
def watched(panel: Any, volume: Any, pump: Any, fake_worker: Path, monkeypatch: Any) -> Any:
    """The panel with a volume, ready to start a run that stops where the test wants it."""
    from run_helpers import Watched

    monkeypatch.setenv("HOW", "polite")
    return Watched(panel, volume, pump, fake_worker)


@pytest.fixture(scope="session")
def pump() -> Callable[..., None]:
    """Return a function that runs Qt's event loop until a condition holds."""

    def run(until: Callable[[], bool], seconds: float = 30.0) -> None:
        from PySide6.QtCore import QEventLoop
        from PySide6.QtWidgets import QApplication

        deadline = time.monotonic() + seconds
        while not until():
            if time.monotonic() > deadline:
                raise AssertionError(f"the condition did not hold within {seconds} s")
            QApplication.processEvents(QEventLoop.ProcessEventsFlag.AllEvents, 10)
            time.sleep(0.001)

    return run


@pytest.fixture(scope="session")
def drawing() -> None:
    """Skip where VTK cannot draw; a failed test of it may end the process."""
    done = subprocess.run(
        [sys.executable, "-c", TRY_VTK], capture_output=True, check=False, timeout=120
    )
    if done.returncode:
        pytest.skip("VTK cannot draw without a screen here: libEGL, libGL and Mesa are missing")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where pictures go."""
    given = os.environ.get("SPINEMAMBA_PICTURES")
    return Path(given) if given else tmp_path


@pytest.fixture
def screen(panel: Any, drawing: None, folder: Path, tmp_path: Path) -> Iterator[Any]:
    """The panel and the four views of Slicer's usual layout, open before the run."""
    import slicer
    from screen_helpers import SIZE, VIEWS, Screen
    from views import ClickedSliceView, View3D

    # Emptying the scene after an earlier test took the colours with it.
    slicer.app.applicationLogic().GetColorLogic().AddDefaultColorNodes()
    slices = [ClickedSliceView(name, orientation, SIZE) for name, orientation in VIEWS]
    yield Screen(panel, [*slices, View3D(SIZE)], folder, tmp_path)
    slicer.app.applicationLogic().GetSliceLogics().RemoveAllItems()
