"""Python packages of the worker: detection and installation after consent."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest

util = pytest.importorskip("slicer.util")
pytest.importorskip("tomllib")


from spinemamba.common.errors import Code, UserError  # noqa: E402 - after the skip
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
    monkeypatch.setattr(util, "pip_install", installed.append)
    monkeypatch.setattr(util, "confirmOkCancelDisplay", lambda *a, **k: False)
    with pytest.raises(UserError, match="no-such-package") as caught:
        Dependencies.ensurePackages(pyproject)
    assert caught.value.code is Code.DEPENDENCY_MISSING
    assert installed == []


def test_after_consent_only_missing_packages_are_installed(
    pyproject: Path, monkeypatch: pytest.MonkeyPatch
):
    installed: list[list[str]] = []
    monkeypatch.setattr(util, "pip_install", installed.append)
    monkeypatch.setattr(util, "confirmOkCancelDisplay", lambda *a, **k: True)
    # The stand-in installs nothing, so the check afterwards still finds them missing.
    with pytest.raises(UserError, match="missing"):
        Dependencies.ensurePackages(pyproject)
    assert installed == [["pytest>=9999", "no-such-package"]]


def test_torch_is_installed_by_the_pytorch_extension(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = tmp_path / "pyproject.toml"
    path.write_text('[project]\ndependencies = ["torch>=9999"]\n', encoding="utf-8")
    with pytest.raises(UserError, match="PyTorch extension"):
        Dependencies.ensurePackages(path)
    asked: list[dict[str, object]] = []

    class Logic:
        def installTorch(self, **options: object) -> None:  # noqa: N802 - the extension's name
            asked.append(options)

    extension = ModuleType("PyTorchUtils")
    extension.PyTorchUtilsLogic = Logic
    monkeypatch.setitem(sys.modules, "PyTorchUtils", extension)
    with pytest.raises(UserError, match="torch"):
        Dependencies.ensurePackages(path)
    assert asked == [{"askConfirmation": True, "torchVersionRequirement": ">=9999"}]
