"""Python packages of the worker: installed at the first use, after asking."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from pathlib import Path
from subprocess import CalledProcessError

import slicer.util
import tomllib
from packaging.requirements import Requirement
from slicer.i18n import tr as _

from spinemamba.common.errors import Code, UserError

_REQUESTER = "SpineMamba Segment"

WITHOUT_METADATA = {"vtk": "vtkmodules"}
"""Packages of Slicer without pip metadata, and a module that shows that they are installed.
Another VTK from pip would replace the one that Slicer uses."""


def missingPackages(pyproject: Path, extra: str | None = None) -> list[Requirement]:
    """Return the requirements of the project, or of one of its extras, that are not met.

    Nothing is imported: installed versions are read from package metadata.
    """
    with pyproject.open("rb") as file:
        project = tomllib.load(file)["project"]
    lines = project["optional-dependencies"][extra] if extra else project["dependencies"]
    return [required for line in lines if not _isMet(required := Requirement(line))]


def ensurePackages(pyproject: Path) -> None:
    """Install missing packages, after asking.

    torch is installed first, by the PyTorch extension, which chooses the build for the graphics
    driver; pip alone does not.

    Raises:
        UserError: If packages are missing and the user declines, or they cannot be installed.
    """
    missing = {required.name: required for required in missingPackages(pyproject)}
    if "torch" in missing:
        _installTorch(missing.pop("torch"))
    if not missing:
        return
    _install([str(required) for required in missing.values()])
    _checkNothingMissing(pyproject)


def ensureFromWheels(pyproject: Path, folder: Path) -> None:
    """Install missing packages, including torch, from wheels in a folder, without a network.

    There is no further question: the user has chosen the folder.

    Raises:
        UserError: If a wheel is missing, or is for another platform.
    """
    missing = [str(required) for required in missingPackages(pyproject)]
    if missing:
        _pip(["--no-index", "--find-links", str(folder), *missing])
    _checkNothingMissing(pyproject)


def ensureKernels(pyproject: Path) -> None:
    """Install the compiled kernels for NVIDIA GPUs on Linux, after asking.

    Raises:
        UserError: If the user declines, or they cannot be installed.
    """
    missing = missingPackages(pyproject, "gpu")
    if missing:
        _install([str(required) for required in missing])


def _install(requirements: list[str]) -> None:
    # slicer.packaging exists since Slicer 5.12; find_spec does not import it.
    if importlib.util.find_spec("slicer.packaging") is not None:
        _installWithSlicer(requirements)
    else:
        _installWithPip(requirements)


def _checkNothingMissing(pyproject: Path) -> None:
    if stillMissing := [required.name for required in missingPackages(pyproject)]:
        raise _missing(stillMissing)


def _isMet(required: Requirement) -> bool:
    if required.marker is not None and not required.marker.evaluate():
        return True
    try:
        version = importlib.metadata.version(required.name)
    except importlib.metadata.PackageNotFoundError:
        module = WITHOUT_METADATA.get(required.name)
        return module is not None and importlib.util.find_spec(module) is not None
    return required.specifier.contains(version, prereleases=True)


def _installTorch(required: Requirement) -> None:
    try:
        import PyTorchUtils
    except ModuleNotFoundError as error:
        raise UserError(
            _("The PyTorch extension is not installed."),
            _("Install it with the Extensions Manager and restart Slicer."),
            Code.DEPENDENCY_MISSING,
        ) from error
    logic = PyTorchUtils.PyTorchUtilsLogic()
    version = str(required.specifier)
    if logic.installTorch(askConfirmation=True, torchVersionRequirement=version) is None:
        raise _missing(["torch"])


def _installWithSlicer(requirements: list[str]) -> None:
    import slicer.packaging

    try:
        slicer.packaging.pip_ensure(requirements, requester=_REQUESTER)
    except RuntimeError as error:  # raised by pip_ensure when the user declines
        raise _missing(requirements) from error
    except CalledProcessError as error:
        raise _pipFailed() from error


def _installWithPip(requirements: list[str]) -> None:
    question = _("{requester} needs Python packages that are not installed. Install them now?")
    agreed = slicer.util.confirmOkCancelDisplay(
        question.format(requester=_REQUESTER), _REQUESTER, detailedText="\n".join(requirements)
    )
    if not agreed:
        raise _missing(requirements)
    _pip(requirements)


def _pip(arguments: list[str]) -> None:
    try:
        slicer.util.pip_install(arguments)
    except CalledProcessError as error:
        raise _pipFailed() from error


def _pipFailed() -> UserError:
    return UserError(
        _("pip could not install the packages."),
        _("See its output in the Python console (View > Python Console)."),
        Code.DEPENDENCY_MISSING,
    )


def _missing(names: list[str]) -> UserError:
    return UserError(
        _("Python packages are missing: {names}.").format(names=", ".join(names)),
        _("Press Segment Spine again and agree to the installation."),
        Code.DEPENDENCY_MISSING,
    )
