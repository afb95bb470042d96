"""Python packages of the worker: detection and installation after consent."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from subprocess import CalledProcessError
from types import ModuleType

import pytest

util = pytest.importorskip("slicer.util")
pytest.importorskip("tomllib")


from spinemamba.common.errors import Code, UserError  # noqa: E402 - after the skip
from SpineMambaSegmentLib.Runs.PipRun import PipRun  # noqa: E402
from SpineMambaSegmentLib.Setup import Dependencies  # noqa: E402


@pytest.fixture
def pyproject(tmp_path: Path) -> Path:
    """A project that needs one package that is there, one newer, one absent, and one elsewhere."""
    path = tmp_path / "pyproject.toml"
    lines = ["numpy>=1.24", "pytest>=9999", "no-such-package", "numpy>=9999; sys_platform == 'os2'"]
    path.write_text(f"[project]\ndependencies = {lines}\n", encoding="utf-8")
    return path


def test_absent_and_too_old_packages_are_missing(pyproject: Path):
    missing = [str(required) for required in Dependencies.missingPackages(pyproject)]
    assert missing == ["pytest>=9999", "no-such-package"]


def test_packages_of_slicer_without_metadata_are_not_installed_again(
    pyproject: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(Dependencies, "WITHOUT_METADATA", {"no-such-package": "json"})
    missing = [required.name for required in Dependencies.missingPackages(pyproject)]
    assert missing == ["pytest"]
    assert "vtk" in (Path(Dependencies.__file__).parents[2] / "pyproject.toml").read_text("utf-8")


def test_the_module_finds_its_list_of_packages(repository: Path):
    own = repository / "SpineMambaSegment" / "pyproject.toml"
    assert Dependencies.missingPackages(own) == []


def test_nothing_is_installed_without_consent(pyproject: Path, monkeypatch: pytest.MonkeyPatch):
    installed: list[list[str]] = []
    monkeypatch.setattr(util, "confirmOkCancelDisplay", lambda *a, **k: False)
    with pytest.raises(UserError, match="no-such-package") as caught:
        Dependencies.ensurePackages(pyproject, installed.append)
    assert caught.value.code is Code.DEPENDENCY_MISSING
    assert installed == []


def test_after_consent_only_missing_packages_are_installed(
    pyproject: Path, monkeypatch: pytest.MonkeyPatch
):
    installed: list[list[str]] = []
    monkeypatch.setattr(util, "confirmOkCancelDisplay", lambda *a, **k: True)
    # The stand-in installs nothing, so the check afterwards still finds them missing.
    with pytest.raises(UserError, match="missing"):
        Dependencies.ensurePackages(pyproject, installed.append)
    assert installed == [["pytest>=9999", "no-such-package"]]


def test_installed_versions_are_listed_against_the_required_ones(pyproject: Path):
    found = {p.required.name: p for p in Dependencies.packages(pyproject)}
    assert list(found) == ["numpy", "pytest", "no-such-package"]  # the last is for another system
    assert [(p.isMet, p.isTooOld) for p in found.values()] == [
        (True, False),
        (False, True),
        (False, False),
    ]
    assert found["pytest"].version == pytest.__version__
    assert found["no-such-package"].version == ""


def test_kernels_are_built_with_the_torch_that_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = tmp_path / "pyproject.toml"
    path.write_text(
        "[project]\ndependencies = []\n[project.optional-dependencies]\n"
        'gpu = ["no-such-kernels>=2"]\n',
        encoding="utf-8",
    )
    asked: list[str] = []
    monkeypatch.setattr(util, "confirmOkCancelDisplay", lambda text, *a, **k: asked.append(text))
    with pytest.raises(UserError):
        Dependencies.kernelArguments(path)
    assert "many minutes" in asked[0]
    monkeypatch.setattr(util, "confirmOkCancelDisplay", lambda *a, **k: True)
    assert Dependencies.kernelArguments(path) == ["--no-build-isolation", "no-such-kernels>=2"]


@pytest.fixture
def needs_torch(tmp_path: Path) -> Path:
    """A project that needs a torch that does not exist."""
    path = tmp_path / "pyproject.toml"
    path.write_text('[project]\ndependencies = ["torch>=9999"]\n', encoding="utf-8")
    return path


def put_extension(monkeypatch: pytest.MonkeyPatch, answer: object) -> list[dict[str, object]]:
    """Put a PyTorch extension in place that returns or raises the answer; returns its calls."""
    asked: list[dict[str, object]] = []

    class Logic:
        def installTorch(self, **options: object) -> object:  # noqa: N802 - the extension's name
            asked.append(options)
            if isinstance(answer, Exception):
                raise answer
            return answer

    extension = ModuleType("PyTorchUtils")
    extension.PyTorchUtilsLogic = Logic
    monkeypatch.setitem(sys.modules, "PyTorchUtils", extension)
    return asked


def test_torch_is_installed_by_the_pytorch_extension(
    needs_torch: Path, monkeypatch: pytest.MonkeyPatch
):
    with pytest.raises(UserError, match="PyTorch extension"):
        Dependencies.ensurePackages(needs_torch, pytest.fail)
    asked = put_extension(monkeypatch, None)
    with pytest.raises(UserError, match="torch"):
        Dependencies.ensurePackages(needs_torch, pytest.fail)
    assert asked == [{"askConfirmation": True, "torchVersionRequirement": ">=9999"}]


@pytest.mark.parametrize(
    ("answer", "message", "remedy"),
    [
        (None, "missing: torch", "agree"),
        (CalledProcessError(1, "light_the_torch"), "downloaded or installed", "network"),
        (RuntimeError("PythonSlicer executable not found"), "PythonSlicer executable", "Restart"),
        (ImportError("DLL load failed"), "DLL load failed", "uninstall torch"),
        (OSError("libcudart.so: cannot open"), "libcudart", "uninstall torch"),
        (ValueError("no backend cu999"), "cu999", "uninstall torch"),
        (ModuleType("torch"), "9999 is required", "Restart"),
    ],
    ids=[
        "declined",
        "no network",
        "no PythonSlicer",
        "no DLL",
        "no library",
        "no build",
        "too old",
    ],
)
def test_a_failed_installation_of_torch_is_said_with_a_remedy(
    needs_torch: Path, monkeypatch: pytest.MonkeyPatch, answer: object, message: str, remedy: str
):
    put_extension(monkeypatch, answer)
    with pytest.raises(UserError, match=message) as caught:
        Dependencies.ensurePackages(needs_torch, pytest.fail)
    assert remedy in caught.value.remedy
    assert caught.value.code is Code.DEPENDENCY_MISSING


def run_pip(lines: str, returncode: int, monkeypatch: pytest.MonkeyPatch) -> PipRun:
    """Run a stand-in of pip that writes lines and ends."""
    code = f"import sys; print({lines!r}, flush=True); sys.exit({returncode})"

    def start_module(python: str, arguments: list[str], errors: int) -> object:
        options = {"stdin": -1, "stdout": -1, "stderr": errors, "encoding": "utf-8"}
        return subprocess.Popen([sys.executable, "-c", code], **options)

    monkeypatch.setattr("SpineMambaSegmentLib.Runs.PipRun.start_module", start_module)
    return PipRun(["x"])


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("WARNING: Retrying: NewConnectionError: [Errno 101]", "could not reach"),
        ("Temporary failure in name resolution\nERROR: No match", "could not reach"),
        ("Collecting x\nERROR: No space left on device\nnote", "No space left on device"),
        ("Collecting x", "Collecting x"),
        ("", "no message"),
    ],
)
def test_a_failure_of_pip_is_said_with_its_last_error(
    monkeypatch: pytest.MonkeyPatch, lines: str, message: str
):
    with pytest.raises(UserError, match=message) as caught:
        run_pip(lines, 1, monkeypatch).finish()
    assert "Install from wheels" in caught.value.remedy


def test_a_success_of_pip_shows_its_last_line(monkeypatch: pytest.MonkeyPatch):
    run = run_pip("Collecting x\nSuccessfully installed x", 0, monkeypatch)
    run.finish()
    assert run.line() == "Successfully installed x"
    assert not run.isRunning()
