"""Python packages of the worker: installed at the first use, after asking."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from subprocess import CalledProcessError

import slicer.util
import tomllib
from packaging.requirements import Requirement
from slicer.i18n import tr as _

from spinemamba.common.errors import Code, UserError

_REQUESTER = "SpineMamba Segment"

Pip = Callable[[list[str]], None]
"""Runs ``pip install`` with the arguments, and raises `UserError` if it fails."""

WITHOUT_METADATA = {"vtk": "vtkmodules"}
"""Packages of Slicer without pip metadata, and a module that shows that they are installed.
Another VTK from pip would replace the one that Slicer uses."""


@dataclass(frozen=True)
class Package:
    """A required package, and what is installed of it.

    Attributes:
        required: Name and versions.
        version: Installed version; empty if it is absent, or has no metadata.
        isMet: True if the installed version is one of those that are required.
    """

    required: Requirement
    version: str
    isMet: bool

    @property
    def isTooOld(self) -> bool:
        """True if the package is installed, in a version that does not suffice."""
        return bool(self.version) and not self.isMet


def packages(pyproject: Path, extra: str | None = None) -> list[Package]:
    """Return the packages that the project, or one of its extras, requires on this computer.

    Nothing is imported: installed versions are read from package metadata.
    """
    with pyproject.open("rb") as file:
        project = tomllib.load(file)["project"]
    lines = project["optional-dependencies"][extra] if extra else project["dependencies"]
    every = [Requirement(line) for line in lines]
    here = [required for required in every if _isForThisComputer(required)]
    return [Package(required, _version(required), _isMet(required)) for required in here]


def missingPackages(pyproject: Path, extra: str | None = None) -> list[Requirement]:
    """Return the requirements of the project, or of one of its extras, that are not met."""
    return [package.required for package in packages(pyproject, extra) if not package.isMet]


def ensurePackages(pyproject: Path, pip: Pip) -> None:
    """Install missing packages and upgrade those that are too old, after asking.

    torch is installed first, by the PyTorch extension, which chooses the build for the graphics
    driver; pip alone does not.

    Args:
        pyproject: The pyproject.toml that lists the required packages.
        pip: Installs the other packages in Slicer 5.10; Slicer 5.12 has its own dialog.

    Raises:
        UserError: If packages are missing and the user declines, or they cannot be installed.
    """
    missing = {required.name: required for required in missingPackages(pyproject)}
    if "torch" in missing:
        _installTorch(missing.pop("torch"))
    if not missing:
        return
    requirements = [str(required) for required in missing.values()]
    # slicer.packaging exists since Slicer 5.12; find_spec does not import it.
    if importlib.util.find_spec("slicer.packaging") is not None:
        _installWithSlicer(requirements)
    else:
        _askBefore(requirements)
        pip(requirements)
    _checkNothingMissing(pyproject)


def ensureFromWheels(pyproject: Path, folder: Path, pip: Pip) -> None:
    """Install missing packages, including torch, from wheels in a folder, without a network.

    There is no further question: the user has chosen the folder.

    Raises:
        UserError: If a wheel is missing, or is for another platform.
    """
    missing = [str(required) for required in missingPackages(pyproject)]
    if missing:
        pip(["--no-index", "--find-links", str(folder), *missing])
    _checkNothingMissing(pyproject)


def kernelArguments(pyproject: Path) -> list[str]:
    """Return the arguments of pip for the compiled kernels, after asking; empty if not needed.

    They exist for NVIDIA GPUs on Linux. Their build imports torch, which an isolated build
    environment does not have.

    Raises:
        UserError: If the user declines.
    """
    requirements = [str(required) for required in missingPackages(pyproject, "gpu")]
    if not requirements:
        return []
    _askBefore(
        requirements,
        _("Without a wheel for this computer, they are compiled, which takes many minutes."),
    )
    return ["--no-build-isolation", *requirements]


def _checkNothingMissing(pyproject: Path) -> None:
    if stillMissing := [required.name for required in missingPackages(pyproject)]:
        raise _missing(stillMissing)


def _isForThisComputer(required: Requirement) -> bool:
    return required.marker is None or required.marker.evaluate()


def _version(required: Requirement) -> str:
    """Return the installed version from the package metadata; empty if there is none."""
    try:
        return importlib.metadata.version(required.name)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _isMet(required: Requirement) -> bool:
    if version := _version(required):
        return required.specifier.contains(version, prereleases=True)
    module = WITHOUT_METADATA.get(required.name)
    return module is not None and importlib.util.find_spec(module) is not None


def _installTorch(required: Requirement) -> None:
    """Install torch with the PyTorch extension, which asks first.

    Raises:
        UserError: If the extension is missing, the user declines, the installation fails, or
            afterwards another version is installed than the required one.
    """
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
    try:
        torch = logic.installTorch(askConfirmation=True, torchVersionRequirement=version)
    # RuntimeError: PythonSlicer was not found. ImportError and OSError: a library of torch does
    # not load. ValueError: the extension knows no build for the graphics driver.
    except (CalledProcessError, RuntimeError, ImportError, OSError, ValueError) as error:
        raise _torchFailed(error) from error
    if torch is None:
        raise _missing(["torch"])
    importlib.invalidate_caches()
    if not _isMet(required):
        raise UserError(
            _("torch {version} is installed, and {required} is required.").format(
                version=_version(required) or "?", required=required.specifier
            ),
            _("Restart Slicer, uninstall torch in the module PyTorch Utils, and install it again."),
            Code.DEPENDENCY_MISSING,
        )


def _torchFailed(error: Exception) -> UserError:
    if isinstance(error, CalledProcessError):
        return UserError(
            _("PyTorch could not be downloaded or installed."),
            _(
                "Check the network and the free disk space, or press Install from wheels. The "
                "Python console (View > Python Console) has the output of the installation."
            ),
            Code.DEPENDENCY_MISSING,
        )
    return UserError(
        _("PyTorch could not be installed: {why}.").format(why=str(error).rstrip(".")),
        _("Restart Slicer, uninstall torch in the module PyTorch Utils, and install it again."),
        Code.DEPENDENCY_MISSING,
    )


def _installWithSlicer(requirements: list[str]) -> None:
    import slicer.packaging

    try:
        slicer.packaging.pip_ensure(requirements, requester=_REQUESTER)
    except RuntimeError as error:  # raised by pip_ensure when the user declines
        raise _missing(requirements) from error
    except CalledProcessError as error:
        raise UserError(
            _("pip could not install the packages."),
            _("See its output in the Python console (View > Python Console)."),
            Code.DEPENDENCY_MISSING,
        ) from error


def _askBefore(requirements: list[str], addition: str = "") -> None:
    question = _("{requester} needs Python packages that are not installed. Install them now?")
    agreed = slicer.util.confirmOkCancelDisplay(
        " ".join(filter(None, [question.format(requester=_REQUESTER), addition])),
        _REQUESTER,
        detailedText="\n".join(requirements),
    )
    if not agreed:
        raise _missing(requirements)


def _missing(names: list[str]) -> UserError:
    return UserError(
        _("Python packages are missing: {names}.").format(names=", ".join(names)),
        _("Press Segment Spine again and agree to the installation."),
        Code.DEPENDENCY_MISSING,
    )
